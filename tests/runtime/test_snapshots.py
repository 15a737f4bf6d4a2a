"""SnapStart: what instances made of a snapshot share, what they don't, and what stands in a snapshot's way."""

import asyncio
import json

import pytest

from tule.runtime import snapshots
from tule.runtime.contract import RestoreFailedError, RestoreTimeoutError

COUNTING = """
import os, random, ssl, time, uuid
from numpy import random as numpy_random

AT = time.time()
with open(os.environ.get("TMPDIR", "/tmp") + "/made", "w") as file:
    file.write("init")
served = 0

def handler(event, context):
    global served
    served += 1
    time.sleep(event.get("sleep", 0))
    with open(os.environ.get("TMPDIR", "/tmp") + "/own", "a") as file:
        file.write("x")
    return {
        "at": AT, "served": served, "pid": os.getpid(), "random": random.random(), "uuid": str(uuid.uuid4()),
        "ssl": ssl.RAND_bytes(8).hex(), "numpy": numpy_random.state, "env": dict(os.environ),
        "own": os.path.getsize(os.environ.get("TMPDIR", "/tmp") + "/own"), "log": context.log_stream_name,
        "tmp": sorted(os.listdir(os.environ.get("TMPDIR", "/tmp"))),
    }
"""
NUMPY = {
    "numpy/__init__.py": "",
    "numpy/random.py": """
import os
state = 'made in init'
def seed():
    global state
    state = os.urandom(8).hex()
""",
}


def published(bench, source, files=None, **fields):
    return bench.version({"app.py": source, **(files or {})}, snap_start=True, version="1", **fields)


def snapshot(bench, version):
    return bench.wait(bench.functions.snapshot(version))


def answers(bench, version, payloads):
    """What instances say that run at the same time, so that each is another one."""

    async def together():
        return await asyncio.gather(*(bench.invoke_soon(version, payload) for payload in payloads))

    outcomes = bench.wait(together())
    assert [outcome.error for outcome in outcomes] == [None] * len(payloads), [one.payload for one in outcomes]
    return outcomes, [json.loads(outcome.payload) for outcome in outcomes]


def ended(bench, arn):
    """Wait until no process of a function is left."""

    async def wait():
        async with asyncio.timeout(10):
            while any(one.function_arn == arn for one in bench.functions.instances()):  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(0.01)

    bench.wait(wait())


@pytest.mark.parametrize("bare", [False, True])
def test_instances_share_the_init_and_nothing_since(make_bench, bare):
    bench = make_bench(bare=bare)
    version = published(bench, COUNTING, NUMPY)
    assert snapshot(bench, version).reason == ""
    outcomes, told = answers(bench, version, [b'{"sleep": 0.3}'] * 4)
    assert len({one["at"] for one in told}) == 1
    for different in ("pid", "random", "uuid", "ssl", "numpy"):
        assert len({one[different] for one in told}) == 4, different
    assert [one["served"] for one in told] == [1] * 4
    assert [one["own"] for one in told] == [1] * 4, "each has a /tmp of its own"
    if not bare:
        assert [one["tmp"] for one in told] == [["made", "own"]] * 4, "with what init left there"
    for outcome in outcomes:
        assert outcome.cold
        assert outcome.init_ms is None
        assert "Restore Duration: " in outcome.log_tail.decode()
        assert "Billed Restore Duration: " in outcome.log_tail.decode()
        assert "Init Duration" not in outcome.log_tail.decode()
    again = bench.invoke(version)
    assert not again.cold
    assert "Restore" not in again.log_tail.decode()
    assert json.loads(again.payload)["served"] == 2


def test_the_environment_is_a_snapshots(bench):
    credentials = iter(range(100))

    def session():
        from tule.runtime.contract import RoleSession

        return RoleSession("ASIATEST", "secret", f"token {next(credentials)}", 1 << 52)

    version = published(bench, COUNTING, NUMPY, credentials=session)
    snapshot(bench, version)
    _, told = answers(bench, version, [b'{"sleep": 0.2}'] * 2)
    assert told[0]["env"]["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    assert "AWS_LAMBDA_LOG_STREAM_NAME" not in told[0]["env"]
    assert "AWS_LAMBDA_LOG_GROUP_NAME" not in told[0]["env"]
    assert told[0]["log"] is None
    assert {one["env"]["AWS_SESSION_TOKEN"] for one in told} == {"token 1", "token 2"}, "not those of the snapshot"


THREAD = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True, name="poller").start()
"""
CONNECTION = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(listener.getsockname())
"""
OBSTACLES = {
    "thread": (THREAD, "1 thread(s) run after init (poller)"),
    "child": ("import subprocess\nc = subprocess.Popen(['sleep', '60'])", "1 child process(es) run after init ("),
    "socket": ("import socket\na, b = socket.socketpair()", "open after init: a local socket, a local socket"),
    "connection": (CONNECTION, "open after init: "),
    "loop": ("import asyncio\nloop = asyncio.new_event_loop()", "open after init: an event loop"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_must_not_be_forked_runs_its_own_init_and_says_why(bench, name):
    source, reason = OBSTACLES[name]
    version = published(bench, f"{source}\ndef handler(event, context): return 1")
    outcome = snapshot(bench, version)
    assert reason in outcome.reason
    assert outcome.error_type == ""
    invoked = bench.invoke(version)
    assert invoked.payload == b"1"
    assert invoked.init_ms > 0
    assert f"SnapStart is off: {outcome.reason}" in invoked.log_tail.decode()
    (kept,) = bench.functions.cold_starts(version.arn, "1")
    assert kept.starts[-1].kind == "plain init"
    assert kept.starts[-1].note == outcome.reason


def test_a_thread_that_has_ended_is_no_obstacle(bench):
    source = (
        "import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\ndef handler(event, context): return 1"
    )
    version = published(bench, source)
    assert snapshot(bench, version).reason == ""
    assert bench.invoke(version).payload == b"1"


HOOKS = """
import json
from snapshot_restore_py import register_after_restore, register_before_snapshot

said = []

@register_before_snapshot
def first(): said.append("before 1")

register_before_snapshot(said.append, "before 2")
register_after_restore(said.append, "after 1")

@register_after_restore
def last():
    said.append("after 2")
    print("restoring")

def handler(event, context): return said
"""


def test_hooks_run_in_awss_order(bench):
    version = published(bench, HOOKS)
    snapshot(bench, version)
    outcome = bench.invoke(version)
    assert json.loads(outcome.payload) == ["before 2", "before 1", "after 1", "after 2"]
    lines = outcome.log_tail.decode().split("\n")
    assert lines[0] == "restoring"
    assert lines[1] == "RESTORE_START"
    plain = bench.version({"app.py": HOOKS})
    assert json.loads(bench.invoke(plain).payload) == [], "without SnapStart they are registered and not called"


def test_the_packages_own_hooks_module_counts(bench):
    own = """
calls = []
def register_before_snapshot(func, *args, **kwargs): calls.append((func, args, kwargs)); return func
def register_after_restore(func, *args, **kwargs): return func
def get_before_snapshot(): return calls
def get_after_restore(): return []
WHOSE = "mine"
"""
    source = HOOKS.replace(
        "def handler(event, context): return said",
        "import snapshot_restore_py\ndef handler(event, context): return [snapshot_restore_py.WHOSE, *said]",
    )
    version = published(bench, source, {"snapshot_restore_py.py": own})
    snapshot(bench, version)
    assert json.loads(bench.invoke(version).payload) == ["mine", "before 2", "before 1"]


FAILING = """
import snapshot_restore_py

@snapshot_restore_py.register_{when}
def fail(): raise ValueError("no")

def handler(event, context): return 1
"""


def test_a_failing_hook_before_the_snapshot_fails_the_init(bench):
    source = FAILING.format(when="before_snapshot")
    version = published(bench, source)
    outcome = snapshot(bench, version)
    assert outcome.error_type == "FunctionError.RuntimeInitError"
    assert outcome.error_message == "An error occurred during function initialization."
    assert outcome.reason == "Runtime.BeforeSnapshotError: no"
    assert "INIT_REPORT" in bench.logs.text()
    assert "Status: error\tError Type: Runtime.BeforeSnapshotError" in bench.logs.text()


def test_a_failing_hook_after_the_restore_refuses_the_request(bench):
    source = FAILING.format(when="after_restore")
    version = published(bench, source)
    assert snapshot(bench, version).reason == ""
    with pytest.raises(RestoreFailedError, match="ValueError: no"):
        bench.invoke(version)
    assert "[ERROR] ValueError: no" in bench.logs.text()
    assert "Status: error\tError Type: Runtime.AfterRestoreError" in bench.logs.text()


def test_a_restore_has_its_time(bench, monkeypatch):
    monkeypatch.setattr(snapshots, "RESTORE_LIMIT_S", 0.3)
    source = """
import time
from snapshot_restore_py import register_after_restore
register_after_restore(time.sleep, 60)
def handler(event, context): return 1
"""
    version = published(bench, source)
    snapshot(bench, version)
    with pytest.raises(RestoreTimeoutError, match="Lambda couldn't restore the snapshot within the timeout limit"):
        bench.invoke(version)
    assert "\tStatus: timeout" in bench.logs.text()


def test_an_init_that_fails_is_told_and_so_are_requests(bench):
    version = published(bench, "import nothing_there")
    outcome = snapshot(bench, version)
    assert outcome.error_type == "FunctionError.RuntimeInitError"
    assert "No module named 'nothing_there'" in outcome.reason
    assert json.loads(bench.invoke(version).payload)["errorType"] == "Runtime.ImportModuleError"


def test_an_init_that_exits_is_told(bench):
    outcome = snapshot(bench, published(bench, "import os\nos._exit(3)"))
    assert outcome.error_type == "FunctionError.RuntimeInitError"
    assert outcome.reason == "Runtime exited with error: exit status 3"


def test_an_init_has_its_time(bench, monkeypatch):
    monkeypatch.setattr(snapshots, "INIT_LIMIT_S", 0.3)
    outcome = snapshot(bench, published(bench, "import time\ntime.sleep(60)", timeout_s=0))
    assert outcome.error_type == "FunctionError.InitTimeout"


ENDING = """
import os, time
def handler(event, context):
    if event["how"] == "exit": os._exit(7)
    if event["how"] == "signal": os.kill(os.getpid(), 9)
    if event["how"] == "sleep": time.sleep(60)
    return os.getpid()
"""


def test_a_restored_instance_ends_as_others_do_and_is_replaced(bench):
    version = published(bench, ENDING, timeout_s=1)
    snapshot(bench, version)
    request = "8f5b7f4c-0f0f-4d5e-9a51-000000000009"
    told = {}
    for how in ("exit", "signal", "sleep"):
        outcome = bench.invoke(version, json.dumps({"how": how}).encode(), request_id=request)
        told[how] = json.loads(outcome.payload)
    assert told["exit"]["errorMessage"] == f"RequestId: {request} Error: Runtime exited with error: exit status 7"
    assert told["signal"]["errorMessage"] == f"RequestId: {request} Error: Runtime exited with error: signal: killed"
    assert told["sleep"]["errorType"] == "Sandbox.Timedout"
    assert bench.invoke(version, b'{"how": ""}').error is None


FILES = """
import os
with open("/tmp/rows", "w") as file:
    file.write("abcdefgh")
rows = open("/tmp/rows")
rows.read(2)
def handler(event, context):
    import time
    time.sleep(0.2)
    return rows.read(3)
"""


def test_open_files_are_read_on_from_where_init_left_them(bench):
    version = published(bench, FILES)
    assert snapshot(bench, version).reason == ""
    if not bench.functions.supply.tree:
        pytest.skip("no tree of its own here")
    _, told = answers(bench, version, [b"{}"] * 3)
    assert told == ["cde"] * 3


POWERS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def handler(event, context):
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    mounted = libc.mount(b"x", b"/tmp", b"tmpfs", 0, b"")
    removed = libc.umount2(b"/tmp", 2)
    left = libc.unshare(0x10000000)
    return [status["CapEff"], status["CapPrm"], status["NoNewPrivs"], status["Seccomp"], mounted, removed, left]
"""


def test_a_restored_instance_has_no_powers(bench):
    version = published(bench, POWERS)
    snapshot(bench, version)
    if not bench.functions.supply.tree:
        pytest.skip("no tree of its own here")
    assert json.loads(bench.invoke(version).payload) == ["0" * 16, "0" * 16, "1", "2", -1, -1, -1]


def test_a_version_that_is_retired_leaves_no_process(bench):
    version = published(bench, COUNTING, NUMPY, name="retired")
    snapshot(bench, version)
    bench.invoke(version)
    assert any(one.state == "snapshot" for one in bench.functions.instances())
    bench.wait(bench.functions.retire(version.arn))
    ended(bench, version.arn)
    assert not [
        one for one in bench.functions.instances() if one.state == "snapshot" and one.function_arn == version.arn
    ]


def test_a_snapshot_that_nobody_uses_ends_and_is_taken_again(make_bench):
    bench = make_bench(snapshot_idle_s=0.2)
    version = published(bench, COUNTING, NUMPY)
    snapshot(bench, version)
    ended(bench, version.arn)
    outcome = bench.invoke(version)
    assert outcome.error is None
    assert "Restore Duration" in outcome.log_tail.decode()


def test_forks_that_wait_for_nobody_end_before_the_snapshot(make_bench, monkeypatch):
    monkeypatch.setattr(snapshots, "PARKED_IDLE_S", 0.2)
    bench = make_bench()
    version = published(bench, COUNTING, NUMPY)
    snapshot(bench, version)

    async def alone():
        async with asyncio.timeout(10):
            while [one.state for one in bench.functions.instances()] != ["snapshot"]:  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(0.01)

    bench.wait(alone())
    assert "Restore Duration" in bench.invoke(version).log_tail.decode()


def test_after_a_crowd_no_more_wait_than_before(make_bench):
    bench = make_bench()
    version = published(bench, COUNTING, NUMPY)
    snapshot(bench, version)
    answers(bench, version, [b'{"sleep": 0.3}'] * 6)

    async def filled():
        (found,) = bench.functions.snapshots._found.values()
        async with asyncio.timeout(10):
            while len(found.parked) < snapshots.PARKED:  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(0.01)
        async with found.filling:
            return [one.state for one in bench.functions.instances()].count("parked")

    assert bench.wait(filled()) == snapshots.PARKED


def test_a_snapshot_whose_process_died_is_taken_again(bench):
    version = published(bench, COUNTING, NUMPY, name="dying")
    snapshot(bench, version)
    first = json.loads(bench.invoke(version).payload)
    (origin,) = [one for one in bench.functions.supply.instances.values() if one.origin and one.version is version]
    bench.functions.supply.kill(origin)
    ended(bench, version.arn)
    second = json.loads(bench.invoke(version).payload)
    assert second["at"] > first["at"]


LYING = """
import json, os, socket
for name in os.listdir("/proc/self/fd"):
    try:
        sock = socket.socket(fileno=os.dup(int(name)))
    except OSError:
        continue
    if sock.type == socket.SOCK_SEQPACKET:
        for text in (b"{", b"[]", b"7", b"[" * 50000, b'{"ended": ["x"]}', b'{"restored": {}}', b'{"code": 1e999}',
                     b'{"ended": "python3.11-1", "code": 0}', b'{"restored": "python3.11-2"}', bytes([255])):
            sock.send(text)
    sock.close()

def handler(event, context): return 1
"""


def test_what_an_origin_says_out_of_turn_harms_nobody(bench):
    other = bench.version({"app.py": "def handler(event, context): return 2"}, name="other")
    assert bench.invoke(other).payload == b"2"
    version = published(bench, LYING)
    assert snapshot(bench, version).reason == ""
    assert bench.invoke(version).payload == b"1"
    again = bench.invoke(other)
    assert (again.payload, again.cold) == (b"2", False)


def test_what_can_not_be_forked_is_told_so(bench):
    node = bench.version({"app.mjs": "export const handler = async () => 1;"}, runtime="nodejs22.x", snap_start=True)
    assert "nodejs22.x" in snapshot(bench, node).reason
    acting = published(bench, "def handler(e, c): return 1", environment={"PYTHONHASHSEED": "1"})
    assert "act when Python starts" in snapshot(bench, acting).reason
    assert bench.invoke(acting).payload == b"1"
