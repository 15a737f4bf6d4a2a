"""Whoever of ours is killed, nothing is left: no process, mount, control group, network namespace or interface."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tule.kernel.clocks import SystemClock
from tule.runtime import rungs

HERE = Path(__file__).parent
WITHIN_S = 20
SOCKETS_EACH = 3
"""At least, of each instance: Tule's, and those for connections and for names that go out."""

BUSY = """
import subprocess, time
def handler(event, context):
    if event == "again":
        return "here"
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    time.sleep(1000)
"""

TULE = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import asyncio, json
from pathlib import Path
from conftest import Bench
bench = Bench(Path(sys.argv[1]))
version = bench.version({{"app.py": {BUSY!r}}}, memory_mb=1769, timeout_s=900)

async def main():
    crowd = [asyncio.ensure_future(bench.invoke_soon(version)) for _ in range(4)]
    while sum(one.invocations for one in bench.functions.instances()) < 4:  # beyond their init, which is done again
        await asyncio.sleep(0.01)
    print(json.dumps({{"told": bench.functions.supply.runner_pid}}), flush=True)
    await asyncio.gather(*crowd)
    print(json.dumps({{"told": "lost"}}), flush=True)
    answer = await bench.invoke_soon(version, b'"again"')
    print(json.dumps({{"told": answer.payload.decode()}}), flush=True)
    await asyncio.sleep(1000)

bench.wait(main())
"""


def traces(mark):
    """What of a runtime in the folder `mark` is seen on the host."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if mark in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"process {process.pid} {line[:80]}")
    found += [f"mount {line[:120]}" for line in Path("/proc/self/mounts").read_text().splitlines() if mark in line]
    return found


def groups_of(pid):
    """Control groups of a runner."""
    return [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/tule-{pid}-*")] + [
        str(path) for path in Path("/sys/fs/cgroup").glob(f"tule-{pid}-*")
    ]


def _line(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _link(path):
    try:
        return str(path.readlink())
    except OSError:
        return ""


async def until(what, condition):
    clock = SystemClock()
    ends_s = clock.monotonic_s() + WITHIN_S
    while left := condition():
        assert clock.monotonic_s() < ends_s, f"{what}: {left}"
        await clock.sleep(0.05)


class Victim:
    """A Tule with four busy functions."""

    def __init__(self, folder):
        self.mark = str(folder)
        self.process = subprocess.Popen(
            [sys.executable, "-c", TULE, self.mark], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.runner = self.heard()
        self.below = psutil.Process(self.process.pid).children(recursive=True)
        self.interfaces = set(Path("/sys/class/net").iterdir())

    def heard(self):
        for line in self.process.stdout:
            if line.startswith('{"told"'):
                return json.loads(line)["told"]
        raise AssertionError("The runtime ended.")

    def zygote(self):
        """The oldest process of the kind: the others are its forks."""
        forks = [one for one in psutil.Process(self.process.pid).children(recursive=True) if "zygote.py" in _line(one)]
        return min(forks, key=lambda one: (one.create_time(), one.pid))

    def sockets_of_forwarder(self):
        """How many it has: as long as it has any in a network namespace, that stays."""
        forwarder = next(one for one in self.below if "tule.runtime.egress" in _line(one))
        return len([fd for fd in Path(f"/proc/{forwarder.pid}/fd").iterdir() if "socket:" in _link(fd)])

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def victim(tmp_path):
    if sys.platform != "linux":
        pytest.skip("the kernel's help is Linux's")
    made = Victim(tmp_path)
    yield made
    made.end()


def wait(work):
    import asyncio

    asyncio.run(work)


def test_killing_tule_leaves_nothing(victim, tmp_path):
    if rungs.look().name == rungs.FULL:
        assert groups_of(victim.runner)
    victim.process.kill()
    victim.process.wait()
    left = lambda: living(victim.below) + groups_of(victim.runner) + traces(str(tmp_path))  # noqa: E731 - short
    wait(until("left of a killed Tule", left))
    assert set(Path("/sys/class/net").iterdir()) == victim.interfaces


def test_killing_the_runner_leaves_nothing_of_it_and_tule_goes_on(victim):
    os.kill(victim.runner, signal.SIGKILL)
    assert victim.heard() == "lost"
    assert victim.heard() == '"here"'
    wait(until("left of a killed runner", lambda: living(victim.below) + groups_of(victim.runner)))


def test_killing_a_zygote_leaves_nothing_of_it_and_tule_goes_on(victim):
    zygote = victim.zygote()
    below = [zygote, *zygote.children(recursive=True)]
    networked = rungs.look().name == rungs.FULL
    if networked:
        wait(until("the forwarder", lambda: victim.sockets_of_forwarder() < 4 * SOCKETS_EACH))
        before = victim.sockets_of_forwarder()
    zygote.kill()
    assert victim.heard() == "lost"
    assert victim.heard() == '"here"'
    wait(until("left of a killed zygote", lambda: living(below)))
    if networked:  # four instances were busy, and fewer live now
        wait(until("sockets left in networks", lambda: victim.sockets_of_forwarder() >= before))


@pytest.mark.faults
def test_killing_anybody_at_any_moment_leaves_nothing(tmp_path):
    rounds = 20 if os.environ.get("TULE_SOAK") else 2
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", TULE, str(folder)], stdout=subprocess.DEVNULL, start_new_session=True
        )
        clock = SystemClock()
        wait(clock.sleep(chance.uniform(0.2, 3)))
        below = psutil.Process(process.pid).children(recursive=True)
        for one in chance.sample(below, min(len(below), chance.randrange(3))):
            if one.is_running():
                one.kill()
        process.kill()
        process.wait()
        wait(until(f"seed {seed}, round {number}", lambda: traces(str(folder)) + living(below)))  # noqa: B023 - awaited here


def living(processes):
    found = []
    for one in processes:
        try:
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(f"process {one.pid}")
        except psutil.NoSuchProcess:
            continue
    return found
