"""The command line as people use it: processes, exit codes, text and JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tule.testing.server import Tule

PROGRAM = [sys.executable, "-m", "tule.cli.main"]


def tule_command(*arguments: str, home: Path | None = None, stdin: str | None = None, **environment: str):
    """Run `tule ARGUMENTS`; nothing of the tester's own environment points it anywhere."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("TULE_", "AWS_"))}
    if home is not None:
        variables["TULE_DIR"] = str(home)
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=120,
        env={**variables, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def running():
    with Tule() as started:
        yield started


COMMANDS = ["status", "down", "ledger", "traces", "env", "reset", "invoke", "logs", "clock"]


@pytest.mark.parametrize("command", ["status", "down", "ledger", "traces", "env"])
def test_nothing_runs(tmp_path: Path, command: str):
    done = tule_command(command, home=tmp_path)
    assert done.returncode == 3
    assert "not running" in done.stderr
    assert "tule up" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str):
    done = tule_command(command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout or command == "clock"


def test_an_error_is_json_when_json_is_asked_for(tmp_path: Path):
    done = tule_command("status", "--json", home=tmp_path)
    assert done.returncode == 3
    assert "tule up" in json.loads(done.stderr)["error"]["fix"]


@pytest.mark.parametrize("arguments", [["nonsense"], ["status", "--nonsense"], ["clock", "advance"], ["invoke"]])
def test_wrong_usage(arguments: list[str]):
    assert tule_command(*arguments).returncode == 2


def test_status(running: Tule):
    done = tule_command("status", home=running.directory)
    assert done.returncode == 0
    assert running.url in done.stdout
    assert "not durable" in done.stdout
    as_json = json.loads(tule_command("status", "--json", home=running.directory).stdout)
    assert as_json["pid"] == running.process.pid
    assert as_json["permissions"] == "off (no policy engine yet)"


def test_env_is_what_a_shell_evaluates(running: Tule):
    done = tule_command("env", home=running.directory)
    shell = subprocess.run(
        ["sh", "-c", f'{done.stdout}\nprintf %s "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout == f"{running.url} {running.root_keys()['aws_access_key_id']}"


def test_the_aws_cli_against_this_tule(running: Tule):
    made = tule_command("aws", "sqs", "create-queue", "--queue-name", "by-cli", home=running.directory)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["QueueUrl"].endswith("/000000000000/by-cli")
    missing = tule_command("aws", "sqs", "get-queue-url", "--queue-name", "nowhere", home=running.directory)
    assert missing.returncode != 0
    assert "NonExistentQueue" in missing.stderr


def test_the_clock(running: Tule):
    paused = json.loads(tule_command("clock", "pause", "--json", home=running.directory).stdout)
    assert paused["paused"]
    ahead = json.loads(tule_command("clock", "advance", "15d", "--json", home=running.directory).stdout)
    assert ahead["now_ms"] - paused["now_ms"] == 15 * 86_400_000
    shown = tule_command("clock", "show", home=running.directory)
    assert "paused" in shown.stdout
    resumed = tule_command("clock", "resume", home=running.directory)
    assert "running" in resumed.stdout
    wrong = tule_command("clock", "advance", "soon", home=running.directory)
    assert wrong.returncode == 2
    assert "15m" in wrong.stderr


def test_ledger_and_traces(running: Tule):
    client = running.client("sqs")
    url = client.create_queue(QueueName="counted")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="x")
    ledger = tule_command("ledger", home=running.directory)
    assert ledger.returncode == 0
    assert "accepted 1" in ledger.stdout
    listed = tule_command("traces", home=running.directory)
    assert "sqs:SendMessage counted" in listed.stdout
    latest = tule_command("traces", "latest", home=running.directory)
    assert "$0.0000004" in latest.stdout
    assert "Price of this trace" in latest.stdout
    unknown = tule_command("traces", "1-00000000-none", home=running.directory)
    assert unknown.returncode == 1


def test_invoke_of_a_function_that_is_not_there(running: Tule):
    done = tule_command("invoke", "nobody", home=running.directory)
    assert done.returncode == 1
    assert "ResourceNotFoundException" in done.stderr
    nonsense = tule_command("invoke", "nobody", "{", home=running.directory)
    assert nonsense.returncode == 2
    assert "not JSON" in nonsense.stderr


def test_logs(running: Tule):
    nothing = tule_command("logs", "nobody", home=running.directory)
    assert nothing.returncode == 1
    assert "Has" in nothing.stderr
    logs = running.client("logs")
    logs.create_log_group(logGroupName="/aws/lambda/noisy")
    logs.create_log_stream(logGroupName="/aws/lambda/noisy", logStreamName="s")
    now_ms = running.admin("clock")["now_ms"]
    logs.put_log_events(
        logGroupName="/aws/lambda/noisy", logStreamName="s", logEvents=[{"timestamp": now_ms, "message": "hello"}]
    )
    one = tule_command("logs", "noisy", home=running.directory)
    assert one.stdout.strip().endswith("hello")
    every = tule_command("logs", "--json", home=running.directory)
    assert json.loads(every.stdout.splitlines()[0])["message"] == "hello"


def test_doctor(running: Tule):
    done = tule_command("doctor", "--json", home=running.directory)
    assert done.returncode == 0
    assert any(running.url in finding["what"] for finding in json.loads(done.stdout)["findings"])
    running.directory.chmod(0o755)
    try:
        bad = tule_command("doctor", home=running.directory)
        assert bad.returncode == 1
        assert "chmod 700" in bad.stdout
    finally:
        running.directory.chmod(0o700)


def test_up_detached_reset_and_down(tmp_path: Path):
    up = tule_command("up", "--detach", "--port", "0", "--dir", str(tmp_path))
    assert up.returncode == 0, up.stderr
    assert "durable" in up.stdout
    assert "no policy engine yet" in up.stdout
    try:
        made = tule_command("aws", "sqs", "create-queue", "--queue-name", "q", home=tmp_path)
        assert made.returncode == 0, made.stderr
        unasked = tule_command("reset", home=tmp_path, stdin="n\n")
        assert unasked.returncode == 1
        assert "QueueUrls" in tule_command("aws", "sqs", "list-queues", home=tmp_path).stdout
        assert tule_command("reset", "--yes", home=tmp_path).returncode == 0
        after = tule_command("aws", "sqs", "list-queues", home=tmp_path)
        assert after.returncode == 0, after.stderr
        assert "QueueUrls" not in after.stdout
    finally:
        down = tule_command("down", home=tmp_path)
    assert down.returncode == 0
    assert tule_command("status", home=tmp_path).returncode == 3


def test_a_second_tule_on_one_directory_names_the_first(tmp_path: Path):
    with Tule(tmp_path) as first:
        second = tule_command("up", "--port", "0", "--dir", str(tmp_path))
        assert second.returncode == 1
        assert str(first.process.pid) in second.stderr
        same_port = tule_command("up", "--port", str(first.port), "--dir", str(tmp_path))
        assert same_port.returncode == 1
        assert str(first.process.pid) in same_port.stderr
        detached = tule_command("up", "--detach", "--port", "0", "--dir", str(tmp_path))
        assert detached.returncode == 1
        assert str(first.process.pid) in detached.stderr


def test_a_port_that_is_taken(tmp_path: Path, running: Tule):
    done = tule_command("up", "--port", str(running.port), "--dir", str(tmp_path))
    assert done.returncode == 1
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--production"], "no policy engine"),
        (["--port", "70000"], "port must be"),
        (["--store", "mysql://x"], "postgresql://"),
        (["--memory", "--store", "postgresql://x"], "exclude each other"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, arguments: list[str], text: str):
    done = tule_command("up", "--dir", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert text in done.stderr


def test_a_settings_file_is_read_and_flags_count_more(tmp_path: Path):
    (tmp_path / "tule.toml").write_text('memory = true\nport = 1\nregion = "eu-north-1"\n')
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TULE_")}
    with subprocess.Popen(
        [*PROGRAM, "up", "--port", "0", "--json", "--dir", str(tmp_path / "home")],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=variables,
    ) as process:
        assert process.stdout is not None
        status = json.loads(process.stdout.readline())
        process.terminate()
    assert status["region"] == "eu-north-1"
    assert status["store"] == "memory"
    assert process.returncode == 0


def test_several_tules_of_one_home_are_told_apart_by_port(tmp_path: Path):
    with Tule(tmp_path, memory=True) as one, Tule(tmp_path, memory=True) as two:
        unsure = tule_command("status", home=tmp_path)
        assert unsure.returncode == 2
        assert "--port" in unsure.stderr
        for each in (one, two):
            told = json.loads(tule_command("status", "--json", "--port", str(each.port), home=tmp_path).stdout)
            assert told["url"] == each.url
