"""Growth beyond what a machine can hold, fairness between functions, freezing, and scaling down to nothing."""

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tule.runtime.contract import NoCapacityError
from tule.runtime.pools import Caps

SLOW = "import os, time\nME = int(os.urandom(6).hex(), 16)\ndef handler(e, c):\n  time.sleep(e or 0)\n  return ME"

BUSY_AFTERWARDS = """
import threading, time
count = 0

def run():
    global count
    while True:
        count += 1
        time.sleep(0.001)

threading.Thread(target=run, daemon=True).start()

def handler(event, context):
    return count
"""


async def until(what, condition):
    try:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - the kernel sends no event for what is waited for
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"Waited 20 s in vain for {what}.") from None


def processes(bench):
    """The runner of a bench and all below it."""
    pid = bench.functions.supply.runner_pid
    if not pid:
        return []
    with contextlib.suppress(psutil.NoSuchProcess):
        runner = psutil.Process(pid)
        return [runner, *runner.children(recursive=True)]
    return []


def stopped(bench):
    found = False
    for one in processes(bench):
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= one.status() == psutil.STATUS_STOPPED
    return found


def busy(bench, name):
    return [one for one in bench.functions.instances() if one.function_arn.endswith(name) and one.state == "busy"]


def test_where_the_machine_is_full_requests_wait(make_bench):
    bench = make_bench(caps=Caps(instances=2), parked=0)
    one, two = (bench.version({"app.py": SLOW}, name=name) for name in ("one", "two"))

    async def run():
        crowd = [bench.invoke_soon(version, b"0.05") for version in (one, two) for _ in range(5)]
        return await asyncio.gather(*crowd)

    outcomes = bench.wait(run())
    assert [outcome.error for outcome in outcomes] == [None] * 10
    assert len(bench.functions.instances()) <= 2


def test_a_crowd_of_one_function_does_not_starve_another(make_bench):
    bench = make_bench(caps=Caps(instances=2), parked=0)
    crowded, single = (bench.version({"app.py": SLOW}, name=name) for name in ("crowded", "single"))
    served = asyncio.Event()

    async def again_and_again():
        while not served.is_set():
            assert (await bench.invoke_soon(crowded, b"0.01")).error is None

    async def run():
        crowd = [asyncio.ensure_future(again_and_again()) for _ in range(8)]
        await until("the crowd to fill the machine", lambda: len(busy(bench, "crowded")) == 2)
        outcome = await bench.invoke_soon(single, b"0")
        served.set()
        await asyncio.gather(*crowd)
        return outcome.error

    assert bench.wait(run()) is None


def test_who_waits_too_long_is_throttled(make_bench):
    bench = make_bench(caps=Caps(instances=1, wait_max_s=0.05), parked=0)
    version = bench.version({"app.py": SLOW})

    async def run():
        first = asyncio.ensure_future(bench.invoke_soon(version, b"1"))
        await until("the first to run", lambda: busy(bench, "f"))
        with pytest.raises(NoCapacityError) as told:
            await bench.invoke_soon(version, b"0")
        assert told.value.reason == "ConcurrentInvocationLimitExceeded"
        return await first

    assert bench.wait(run()).error is None


def test_who_gives_up_waiting_leaves_the_place_to_the_next(make_bench):
    bench = make_bench(caps=Caps(instances=1), parked=0)
    version = bench.version({"app.py": SLOW})

    async def run():
        first = asyncio.ensure_future(bench.invoke_soon(version, b"0.2"))
        await until("the first to run", lambda: busy(bench, "f"))
        second, third = (asyncio.ensure_future(bench.invoke_soon(version, b"0")) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await first
        return await third

    assert bench.wait(run()).error is None


def test_a_function_scales_no_faster_than_its_burst(make_bench):
    bench = make_bench(caps=Caps(burst=2, burst_per_s=0.001), parked=0)
    version, other = (bench.version({"app.py": SLOW}, name=name) for name in ("fast", "other"))

    async def run():
        crowd = [bench.invoke_soon(version, b"0.3") for _ in range(3)]
        told = await asyncio.gather(*crowd, return_exceptions=True)
        return told, await bench.invoke_soon(version, b"0"), await bench.invoke_soon(other, b"0")

    told, again, elsewhere = bench.wait(run())
    assert [isinstance(one, NoCapacityError) for one in told] == [False, False, True]
    assert not again.cold  # what runs already is used
    assert elsewhere.error is None


def test_an_idle_instance_stands_still_until_it_is_used(make_bench):
    bench = make_bench(caps=Caps(freeze_after_s=0.01), parked=0)
    version = bench.version({"app.py": BUSY_AFTERWARDS})
    bench.invoke(version)
    bench.wait(until("the instance to be stopped", lambda: stopped(bench)))
    first = json.loads(bench.invoke(version).payload)
    bench.wait(until("the instance to be stopped again", lambda: stopped(bench)))
    time.sleep(0.1)
    again = json.loads(bench.invoke(version).payload)
    assert again - first < 60, "it went on running for the tenth of a second that it was idle"


def test_a_frozen_instance_can_be_retired(make_bench):
    bench = make_bench(caps=Caps(freeze_after_s=0.01), parked=0)
    version = bench.version({"app.py": SLOW})
    bench.invoke(version, b"0")
    bench.wait(until("it to be stopped", lambda: stopped(bench)))
    bench.wait(bench.functions.retire(version.arn))
    bench.wait(until("its end", lambda: not bench.functions.instances()))


def test_where_memory_is_short_the_longest_idle_end(make_bench, tmp_path):
    meminfo = tmp_path / "meminfo"
    plenty, little = (f"MemTotal: 8000000 kB\nMemAvailable: {free} kB\n" for free in (4_000_000, 300_000))
    meminfo.write_text(plenty)
    bench = make_bench(caps=Caps(meminfo=str(meminfo)), parked=0)
    versions = [bench.version({"app.py": SLOW}, name=f"f{number}") for number in range(3)]
    for version in versions:
        bench.invoke(version, b"0")
    meminfo.write_text(little)

    def there():
        return sorted(one.function_arn[-2:] for one in bench.functions.instances() if one.state == "idle")

    newest = bench.version({"app.py": SLOW}, name="f3")

    async def run():
        while there() != ["f3"]:  # each cold start looks at the memory, but not more often than four times a second
            await bench.functions.retire(newest.arn)
            await bench.invoke_soon(newest, b"0.05")

    bench.wait(run())


def test_what_nobody_uses_ends_down_to_the_last_process(make_bench):
    bench = make_bench(caps=Caps(idle_s=0.05, rest_after_s=0.1), parked=1)
    version = bench.version({"app.py": SLOW})
    bench.invoke(version, b"0")
    there = processes(bench)
    assert len(there) >= 3
    bench.wait(until("all processes to end", lambda: not any(one.is_running() for one in there)))
    again = bench.invoke(version, b"0")
    assert (again.error, again.cold) == (None, True)


def test_a_prepared_runtime_that_nobody_uses_ends(make_bench):
    bench = make_bench(caps=Caps(rest_after_s=0.1), parked=1)
    bench.wait(bench.functions.prepare(bench.version({"app.py": SLOW})))
    there = processes(bench)
    bench.wait(until("all processes to end", lambda: not any(one.is_running() for one in there)))
    assert not bench.functions.instances()


def test_functions_weigh_less_than_tule(bench):
    """An instance is as nice as can be; where the kernel shares the cores by group or by session first, it is in one of
    little weight."""
    source = "import os\ndef handler(e, c):\n  return [os.nice(0), open('/proc/self/autogroup').read()]"
    niceness, group = json.loads(bench.invoke(bench.version({"app.py": source}, name="weighs")).payload)
    assert niceness == 19
    folder = Path("/sys/fs/cgroup")
    ours = f"tule-{bench.functions.supply.runner_pid}-*"
    files = [*folder.glob(f"**/{ours}/cpu.shares"), *folder.glob(f"**/{ours}/cpu.weight")]
    weights = [path.read_text() for path in files]
    assert weights in (["120\n"], ["12\n"]) or group.split()[-1] == "10"


@pytest.mark.parametrize("whom", ["runner", "zygote"])
def test_a_killed_process_of_ours_is_replaced(make_bench, whom):
    bench = make_bench(parked=1)
    version = bench.version({"app.py": SLOW}, name="killed")

    async def run():
        crowd = [asyncio.ensure_future(bench.invoke_soon(version, b"20")) for _ in range(3)]
        # Those whose init is cut short are started again; these are beyond it.
        await until("three to run", lambda: sum(one.invocations for one in busy(bench, "killed")) == 3)
        if whom == "runner":
            os.kill(bench.functions.supply.runner_pid, signal.SIGKILL)
        else:
            forked = [one for one in processes(bench) if "zygote.py" in " ".join(one.cmdline())]
            min(forked, key=lambda one: (one.create_time(), one.pid)).kill()  # the others are its forks
        return [await one for one in crowd]

    for outcome in bench.wait(run()):
        assert outcome.error == "Unhandled"
        assert json.loads(outcome.payload)["errorType"] == "Runtime.ExitError"
        assert "signal: killed" in json.loads(outcome.payload)["errorMessage"]
    assert bench.invoke(version, b"0").error is None
