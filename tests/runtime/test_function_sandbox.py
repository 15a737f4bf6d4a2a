"""What a function can't reach, and what is left of it when somebody ends."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tule.runtime import rungs

LOOK = """
import os
def handler(event, context):
    try:
        if event["do"] == "read":
            return open(event["path"], "rb").read(10).decode("latin1")
        if event["do"] == "list":
            return os.listdir(event["path"])
        if event["do"] == "write":
            open(event["path"], "w").write("x")
            return "written"
        return eval(event["do"])
    except OSError as error:
        return type(error).__name__
"""

REFUSED = {"PermissionError", "FileNotFoundError", "OSError"}


@pytest.fixture(params=["best", "bare"])
def any_bench(request, make_bench):
    """The best rung, and the one without namespaces."""
    return make_bench(bare=request.param == "bare")


def ask(bench, version, **event):
    outcome = bench.invoke(version, json.dumps(event).encode())
    assert outcome.error is None, outcome.payload
    return json.loads(outcome.payload)


def test_a_function_reaches_neither_tules_home_nor_other_code(any_bench):
    bench = any_bench
    secret = bench.home / "admin-token"
    secret.write_text("secret")
    version = bench.version({"app.py": LOOK, "own.txt": "mine"})
    other = bench.package({"other.py": "theirs = 1"})
    root = ask(bench, version, do="os.environ['LAMBDA_TASK_ROOT']")
    assert ask(bench, version, do="read", path=f"{root}/own.txt") == "mine"
    for path in (str(secret), str(bench.home / "packages" / other / "other.py"), "/tule/packages", "/root/.bashrc"):
        assert ask(bench, version, do="read", path=path) in REFUSED
    assert ask(bench, version, do="list", path=str(bench.home)) in REFUSED
    assert ask(bench, version, do="list", path=str(bench.home / "packages")) in REFUSED


def test_a_functions_code_and_the_system_are_read_only(any_bench):
    bench = any_bench
    version = bench.version({"app.py": LOOK})
    root = ask(bench, version, do="os.environ['LAMBDA_TASK_ROOT']")
    for path in (f"{root}/new.txt", f"{root}/app.py", "/usr/new.txt", "/etc/new.txt"):
        assert ask(bench, version, do="write", path=path) in REFUSED


def test_temporary_files_are_an_instances_own(any_bench):
    bench = any_bench
    first, second = (bench.version({"app.py": LOOK}, name=name) for name in ("one", "two"))
    folder = ask(bench, first, do="os.environ.get('TMPDIR', '/tmp')")
    assert ask(bench, first, do="write", path=f"{folder}/kept.txt") == "written"
    assert ask(bench, first, do="read", path=f"{folder}/kept.txt") == "x"
    assert ask(bench, second, do="read", path=f"{folder}/kept.txt") in REFUSED


def test_a_function_has_no_privileges(any_bench):
    bench = any_bench
    version = bench.version({"app.py": LOOK})
    text = ask(bench, version, do="open('/proc/self/status').read()")
    status = dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert ask(bench, version, do="os.getpgid(0) == os.getpid()")
    assert ask(bench, version, do="os.nice(0)") == 19
    links = "[(fd, os.path.realpath(f'/proc/self/fd/{fd}')) for fd in os.listdir('/proc/self/fd') if int(fd) > 2]"
    kept = ask(bench, version, do=links)
    assert [link for _, link in kept if "socket:" not in link and not link.startswith("/proc")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has users to give")
def test_every_instance_has_a_user_of_its_own(make_bench):
    bench = make_bench()
    if "own user" not in bench.functions.rung():
        pytest.skip("namespaces are not to be had here")
    versions = [bench.version({"app.py": LOOK}, name=name) for name in ("one", "two")]
    users = [ask(bench, version, do="os.getuid()") for version in versions]
    assert min(users) >= 200_000
    assert users[0] != users[1]


def test_what_confines_functions_is_said_before_and_while_they_run(bench):
    before = rungs.look().text
    bench.invoke(bench.version({"app.py": LOOK}), b'{"do": "1"}')
    assert bench.functions.rung() == before


def descendants(pid: int) -> set[int]:
    """Every process below `pid`."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        for task in Path(f"/proc/{current}/task").glob("*/children"):
            children = {int(child) for child in task.read_text().split()}
            waiting += children - found
            found |= children
    return found


def program(pid: int) -> bytes:
    """What a process runs, b"" when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
    except OSError:
        return b""


async def gone(pids: set[int]) -> None:
    """Until none of them lives."""

    def alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    try:
        async with asyncio.timeout(10):
            while any(alive(pid) for pid in pids):  # noqa: ASYNC110 - other people's children send no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        left = sorted(filter(alive, pids))
        raise AssertionError(f"Waited 10 s in vain for processes to end; {left} still live.") from None


SPAWNS = """
import os, subprocess
def handler(event, context):
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return "started"
"""


def is_busy(bench):
    return any(one.state == "busy" for one in bench.functions.instances())


def test_a_killed_runner_leaves_nothing_and_the_next_request_gets_another(make_bench):
    bench = make_bench()
    version = bench.version({"app.py": SPAWNS})
    bench.invoke(version)
    runner = bench.functions.supply.runner_pid
    below = descendants(runner)
    assert below

    async def kill_while_running():
        slow = bench.version_soon
        running = asyncio.ensure_future(bench.invoke_soon(slow))
        async with asyncio.timeout(30):  # for the function to be running
            while not is_busy(bench):  # noqa: ASYNC110 - a look from outside at what the runtime shows
                await asyncio.sleep(0.005)
        os.kill(runner, signal.SIGKILL)
        return await running

    bench.version_soon = bench.version(
        {"app.py": "import time\ndef handler(e, c): time.sleep(60)"}, name="slow", timeout_s=60
    )
    outcome = bench.wait(kill_while_running())
    assert json.loads(outcome.payload)["errorType"] == "Runtime.ExitError"
    bench.wait(gone(below))
    assert bench.invoke(version).payload == b'"started"'
    assert bench.functions.supply.runner_pid != runner


def test_stopping_leaves_nothing(make_bench):
    bench = make_bench()
    bench.invoke(bench.version({"app.py": SPAWNS}))
    below = descendants(bench.functions.supply.runner_pid) | {bench.functions.supply.runner_pid}
    bench.wait(bench.functions.stop())
    bench.wait(gone(below))


def test_children_of_an_instance_end_with_it(make_bench):
    bench = make_bench()
    version = bench.version({"app.py": SPAWNS})
    bench.invoke(version)
    runner = bench.functions.supply.runner_pid

    async def asleep():
        """Its program is loaded at the pace that the function's part of the cores allows."""
        async with asyncio.timeout(10):
            while not (found := {pid for pid in descendants(runner) if program(pid) == b"sleep"}):  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            return found

    sleeping = bench.wait(asleep())
    bench.wait(bench.functions.retire(version.arn))
    bench.wait(gone(sleeping))
