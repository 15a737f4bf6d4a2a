"""What a command says when it is used wrongly, interrupted or met by a machine that lacks something."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tule.app import _database
from tule.testing.server import Tule

PROGRAM = [sys.executable, "-m", "tule.cli.main"]


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TULE_", "AWS_"))}
    return {**kept, "TULE_DIR": str(home), **more}


def tule_command(*arguments: str, home: Path, **environment: str):
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env=clean_environment(home, **environment),
        check=False,
    )


@pytest.fixture(scope="module")
def running():
    with Tule() as started:
        yield started


@pytest.mark.parametrize("arguments", [["status"], ["aws", "sqs", "list-queues"], ["up"]])
def test_a_port_that_is_none_is_wrong_usage(tmp_path: Path, arguments: list[str]):
    done = tule_command(*arguments, home=tmp_path, TULE_PORT="seven")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "port" in done.stderr.lower()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["traces", "--limit", "0"], "from 1 to 1000"),
        (["ledger", "--rows", "-1"], "from 1 to 1000"),
        (["clock", "advance", "soon"], "15m"),
    ],
)
def test_what_the_admin_api_can_not_read_is_wrong_usage(running: Tule, arguments: list[str], says: str):
    done = tule_command(*arguments, home=running.directory)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize("arguments", [["logs", "--limit", "0"], ["down", "--timeout", "-1"]])
def test_numbers_have_bounds(running: Tule, arguments: list[str]):
    done = tule_command(*arguments, home=running.directory)
    assert done.returncode == 2
    assert "is not in the range" in done.stderr


@pytest.mark.parametrize("arguments", [["status", "--nonsense", "--json"], ["traces", "--limit", "x", "--json"]])
def test_wrong_usage_is_json_when_json_is_asked_for(tmp_path: Path, arguments: list[str]):
    done = tule_command(*arguments, home=tmp_path)
    assert done.returncode == 2
    error = json.loads(done.stderr)["error"]
    assert error["message"]
    assert "--help" in error["fix"]


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--port", "99999"], 2, "port must be between"),
        (["--memory", "--store", "postgresql://x/y"], 2, "exclude each other"),
        (["--public-url", "nonsense"], 2, "http://"),
        (["--host", "203.0.113.5"], 1, "--host"),
    ],
)
@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_up_refuses_alike_in_front_and_detached(
    tmp_path: Path, flags: list[str], code: int, says: str, detach: list[str]
):
    given = flags if "--port" in flags else [*flags, "--port", "0"]
    done = tule_command("up", *given, *detach, home=tmp_path)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.count("tule:") == 1


def test_a_port_that_is_taken_is_named(tmp_path: Path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        done = tule_command("up", "--memory", "--port", port, home=tmp_path)
        looked = tule_command("doctor", "--port", port, home=tmp_path)
    assert done.returncode == 1
    assert port in done.stderr
    assert "--port" in done.stderr
    assert looked.returncode == 1
    assert f"port {port} is taken" in looked.stdout


def test_doctor_says_what_will_confine_functions(running: Tule):
    findings = json.loads(tule_command("doctor", "--json", home=running.directory).stdout)["findings"]
    assert running.status["sandbox"] in [finding["what"].removeprefix("sandbox: ") for finding in findings]
    assert any(running.url in finding["what"] for finding in findings)


def test_the_ledger_names_traces_as_traces_takes_them(running: Tule):
    sqs = running.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
    live = sqs.create_queue(QueueName="live", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})[
        "QueueUrl"
    ]
    sqs.send_message(QueueUrl=live, MessageBody="x")
    while sqs.receive_message(QueueUrl=live).get("Messages"):
        pass
    rows = json.loads(tule_command("ledger", "--json", home=running.directory).stdout)["abnormal"]
    assert [row["fate"] for row in rows] == ["dead-lettered"]
    assert tule_command("traces", rows[0]["trace"], home=running.directory).returncode == 0


@pytest.mark.parametrize("program", [["true"], ["cat"]], ids=["a zombie", "another program"])
def test_the_note_of_a_tule_that_crashed_misleads_nobody(tmp_path: Path, program: list[str]):
    with subprocess.Popen(program, stdin=subprocess.PIPE) as child:
        if program == ["true"]:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its number is still taken
        note = {"url": "http://localhost:1", "pid": child.pid, "port": 1, "region": "us-east-1", "started_ms": 0}
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "1.json").write_text(json.dumps({**note, "token_file": str(tmp_path / "admin-token")}))
        done = tule_command("status", home=tmp_path)
        assert child.stdin is not None
        child.stdin.close()
    assert done.returncode == 3
    assert "nothing runs from" in done.stderr


@pytest.mark.parametrize("columns", ["80", "120", "250"])
def test_a_waterfall_fits_the_terminal(running: Tule, columns: str):
    sqs = running.client("sqs")
    url = sqs.create_queue(QueueName="q" * 80)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    newest = json.loads(tule_command("traces", "--json", home=running.directory).stdout)["traces"][0]
    assert newest["name"] == f"sqs:SendMessage {'q' * 80}"
    shown = tule_command("traces", newest["trace"], home=running.directory, COLUMNS=columns).stdout
    hops = [line for line in shown.splitlines() if "|" in line]
    assert hops
    assert all(len(line) <= max(int(columns), 108) for line in hops)
    assert "sqs.requests 1: $0.0000004" in hops[0]


def test_the_banner_says_how_others_reach_this_tule():
    with Tule(host="127.0.0.1", public_url="https://tule.example") as started:
        shown = tule_command("status", home=started.directory).stdout
    assert "https://tule.example" in shown
    assert re.search(r"listens on +127\.0\.0\.1\n", shown)


def test_the_banner_names_the_database_and_not_its_password():
    assert _database("postgresql://u:secret@db.example:5432/tule") == "PostgreSQL, database tule at db.example"
    assert _database("postgresql:///tule?host=/run/pg&user=u") == "PostgreSQL, database tule at /run/pg"


def in_a_terminal(arguments: list[str], home: Path, until: str) -> tuple[int, str]:
    """Run a command in a terminal of its own and press Ctrl-C once it has printed `until`."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*PROGRAM, *arguments], clean_environment(home))
    printed, pressed = b"", False
    while True:
        if not select.select([terminal], [], [], 60)[0]:
            os.kill(pid, signal.SIGKILL)
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        printed += piece
        if not pressed and until.encode() in printed:
            os.write(terminal, b"\x03")
            pressed = True
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return code, printed.decode()


def test_ctrl_c_ends_up_cleanly(tmp_path: Path):
    code, printed = in_a_terminal(["up", "--memory", "--port", "0"], tmp_path, "tule env")
    assert code == 0
    assert "Traceback" not in printed
    assert tule_command("status", home=tmp_path).returncode == 3
    assert not list(tmp_path.glob("memory-*"))


def test_ctrl_c_ends_followed_logs(running: Tule):
    logs = running.client("logs")
    logs.create_log_group(logGroupName="/aws/lambda/endless")
    logs.create_log_stream(logGroupName="/aws/lambda/endless", logStreamName="s")
    event = {"timestamp": running.admin("clock")["now_ms"], "message": "hello"}
    logs.put_log_events(logGroupName="/aws/lambda/endless", logStreamName="s", logEvents=[event])
    code, printed = in_a_terminal(["logs", "endless", "--follow"], running.directory, "hello")
    assert code == 130
    assert "Traceback" not in printed


def test_ctrl_c_while_a_package_is_built_touches_nothing(running: Tule, tmp_path: Path):
    template = tmp_path / "stopped" / "template.yaml"
    template.parent.mkdir()
    template.write_text(
        "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n"
        "    Properties: {Runtime: python3.12, Handler: a.b, CodeUri: code}\n"
    )
    (template.parent / "code").mkdir()
    # Building from this source waits: a pipe that nobody writes to.
    os.mkfifo(template.parent / "requirements.pipe")
    (template.parent / "code" / "requirements.txt").write_text("-r ../requirements.pipe\n")
    code, printed = in_a_terminal(["deploy", str(template)], running.directory, "Installing")
    assert code == 130
    assert "Stack stopped was not touched" in printed
    assert "Traceback" not in printed
