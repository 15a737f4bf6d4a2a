"""Instances that are initialised ahead of requests."""

import asyncio
import dataclasses
import json

import pytest

from tule.runtime.contract import Provisioned
from tule.runtime.pools import Caps

TELLS = """
import os, time
def handler(event, context):
    if event == "exit":
        os._exit(3)
    time.sleep(event or 0)
    return [os.getpid(), os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
"""
FAILS = "print('trying')\nraise ValueError('not today')\n"


class Changes:
    """Wakes up whoever waits whenever the runtime says that something has changed."""

    def __init__(self, bench):
        self._bench = bench
        self._event = asyncio.Event()
        bench.functions.watch_provisioned(lambda *_: self._event.set())

    async def until(self, version, condition):
        async with asyncio.timeout(30):
            while not condition(self._bench.functions.provisioned(version.arn, version.version)):
                self._event.clear()
                await self._event.wait()


@pytest.fixture
def kept(make_bench):
    """A bench, its changes, and a version of which two are kept."""
    bench = make_bench(parked=0)
    version = bench.version({"app.py": TELLS}, version="1", provisioned=2)
    changes = Changes(bench)

    async def run():
        await bench.functions.prepare(version)
        first = bench.functions.provisioned(version.arn, "1")
        await changes.until(version, lambda now: now == Provisioned(2, 2))
        return first

    assert bench.wait(run()).ready < 2
    return bench, changes, version


def test_provisioned_instances_wait_initialised(kept):
    bench, _, version = kept
    outcome = bench.invoke(version, b"0")
    assert not outcome.cold
    assert outcome.init_ms is None
    assert json.loads(outcome.payload)[1] == "provisioned-concurrency"
    assert "Init Duration" not in outcome.log_tail.decode()


def test_what_is_more_than_provisioned_spills_over(kept):
    bench, _, version = kept

    async def run():
        return await asyncio.gather(*(bench.invoke_soon(version, b"0.2") for _ in range(3)))

    outcomes = bench.wait(run())
    kinds = sorted(json.loads(outcome.payload)[1] for outcome in outcomes)
    assert kinds == ["on-demand", "provisioned-concurrency", "provisioned-concurrency"]
    assert [outcome.cold for outcome in outcomes].count(True) == 1
    assert json.loads(bench.invoke(version, b"0").payload)[1] == "provisioned-concurrency"
    assert bench.functions.provisioned(version.arn, "1") == Provisioned(2, 2)


def test_a_provisioned_instance_that_ends_is_replaced(kept):
    bench, changes, version = kept

    async def run():
        assert (await bench.invoke_soon(version, b'"exit"')).error == "Unhandled"
        assert bench.functions.provisioned(version.arn, "1").ready == 1
        await changes.until(version, lambda now: now.ready == 2)

    bench.wait(run())


def test_fewer_are_kept_from_the_moment_that_fewer_are_wanted(kept):
    bench, changes, version = kept
    fewer = dataclasses.replace(version, provisioned=1)

    async def run(version):
        await bench.functions.prepare(version)
        await changes.until(version, lambda now: now.ready == now.allocated == version.provisioned)

    bench.wait(run(fewer))
    bench.wait(run(dataclasses.replace(version, provisioned=0)))


def test_a_busy_one_too_many_ends_after_its_request(kept):
    bench, changes, version = kept

    async def run():
        busy = [asyncio.ensure_future(bench.invoke_soon(version, b"0.2")) for _ in range(2)]
        await asyncio.sleep(0)
        await bench.functions.prepare(dataclasses.replace(version, provisioned=0))
        for one in busy:
            assert (await one).error is None
        await changes.until(version, lambda now: now == Provisioned())

    bench.wait(run())


def test_a_retired_version_keeps_nothing(kept):
    bench, changes, version = kept

    async def run():
        await bench.functions.retire(version.arn)
        await changes.until(version, lambda now: now == Provisioned())

    bench.wait(run())


def test_idleness_and_need_of_room_leave_them_alone(make_bench):
    bench = make_bench(caps=Caps(instances=2, idle_s=0.05, wait_max_s=0.05), parked=0)
    version = bench.version({"app.py": TELLS}, version="1", provisioned=1)
    other = bench.version({"app.py": TELLS}, name="other")
    changes = Changes(bench)

    async def run():
        await bench.functions.prepare(version)
        await changes.until(version, lambda now: now.ready == 1)
        await asyncio.gather(*(bench.invoke_soon(other, b"0.1") for _ in range(2)), return_exceptions=True)
        return await bench.invoke_soon(version, b"0")

    assert not bench.wait(run()).cold
    assert bench.functions.provisioned(version.arn, "1").ready == 1


def test_a_version_that_does_not_initialise_says_so(make_bench):
    bench = make_bench(parked=0)
    version = bench.version({"app.py": FAILS}, version="1", provisioned=2)
    changes = Changes(bench)

    async def run():
        await bench.functions.prepare(version)
        await changes.until(version, lambda now: now.reason)
        return bench.functions.provisioned(version.arn, "1")

    assert bench.wait(run()) == Provisioned(0, 0, "FUNCTION_ERROR_INIT_FAILURE")
    text = bench.logs.text()
    assert "trying" in text
    assert "INIT_REPORT Init Duration: " in text
    assert "Phase: init\tStatus: error" in text
    assert "START RequestId" not in text
    assert "REPORT RequestId" not in text


def test_a_killed_zygote_is_made_up_for(kept):
    bench, changes, version = kept
    import psutil

    async def run():
        runner = psutil.Process(bench.functions.supply.runner_pid)
        zygotes = [one for one in runner.children(recursive=True) if "zygote.py" in " ".join(one.cmdline())]
        next(one for one in zygotes if one.nice() != 19).kill()
        await changes.until(version, lambda now: now.ready < 2)
        await changes.until(version, lambda now: now.ready == 2)
        return await bench.invoke_soon(version, b"0")

    assert not bench.wait(run()).cold
