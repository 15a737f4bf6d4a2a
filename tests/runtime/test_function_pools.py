"""Reuse, growth, limits and idleness of instances."""

import asyncio
import dataclasses
import json

import pytest

from tule.runtime.contract import NoCapacityError, RoleSession, RuntimeUnavailableError
from tule.runtime.pools import Caps

SLOW = "import os, time\nME = int(os.urandom(6).hex(), 16)\ndef handler(e, c):\n  time.sleep(e or 0)\n  return ME"


async def until(what, condition):
    try:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the kernel sends no event for what is waited for
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"Waited 10 s in vain for {what}.") from None


def test_the_instance_that_was_used_last_is_used_next(bench):
    version = bench.version({"app.py": SLOW}, name="lifo")

    async def run():
        await asyncio.gather(*(bench.invoke_soon(version, b"0.1") for _ in range(3)))
        return {(await bench.invoke_soon(version, b"0")).payload for _ in range(5)}

    assert len(bench.wait(run())) == 1


def test_a_versions_own_limit_throttles(bench):
    version = bench.version({"app.py": SLOW}, name="limited", concurrency=1)

    async def run():
        first = asyncio.ensure_future(bench.invoke_soon(version, b"0.3"))
        await until(
            "the first", lambda: any(one.function_arn.endswith("limited") for one in bench.functions.instances())
        )
        with pytest.raises(NoCapacityError):
            await bench.invoke_soon(version, b"0")
        return (await first).error

    assert bench.wait(run()) is None


def test_the_cap_on_all_takes_from_the_idle_first(make_bench):
    bench = make_bench(caps=Caps(instances=1, wait_max_s=0.05), parked=0)
    one, two = (bench.version({"app.py": SLOW}, name=name) for name in ("one", "two"))
    bench.invoke(one, b"0")
    bench.invoke(two, b"0")

    async def run():
        first = asyncio.ensure_future(bench.invoke_soon(two, b"0.3"))
        busy = lambda: any(i.state == "busy" and i.invocations == 2 for i in bench.functions.instances())  # noqa: E731 - short
        await until("the second to run", busy)
        with pytest.raises(NoCapacityError):
            await bench.invoke_soon(one, b"0")
        await first

    bench.wait(run())


def test_idle_instances_end(make_bench):
    bench = make_bench(caps=Caps(idle_s=0.05), parked=0)
    bench.invoke(bench.version({"app.py": SLOW}), b"0")
    assert [one.state for one in bench.functions.instances()] == ["idle"]
    bench.wait(until("idle ones to end", lambda: not bench.functions.instances()))


def test_a_new_revision_gets_new_instances(bench):
    version = bench.version({"app.py": SLOW}, name="revised")
    first = bench.invoke(version, b"0").payload
    changed = dataclasses.replace(version, revision="other")
    second = bench.invoke(changed, b"0")
    assert second.cold
    assert second.payload != first
    bench.wait(bench.functions.retire(version.arn, keep_revision="other"))
    assert not bench.invoke(changed, b"0").cold
    assert bench.invoke(version, b"0").cold


def test_an_instance_with_old_credentials_is_replaced(bench):
    expiring = lambda: RoleSession("ASIAOLD", "s", "t", 1)  # noqa: E731 - what the service passes
    version = bench.version({"app.py": SLOW}, name="expiring", credentials=expiring)
    assert bench.invoke(version, b"0").cold
    assert bench.invoke(version, b"0").cold


def test_preparing_parks_instances_and_says_what_serves(make_bench):
    bench = make_bench(parked=1)
    version = bench.version({"app.py": SLOW}, runtime="python3.99")
    bench.wait(bench.functions.prepare(version))
    assert [one.state for one in bench.functions.instances()] == ["parked"]
    assert bench.functions.nearest("python3.99").startswith("python3.99 is not on this machine; the function runs on ")
    assert "python3.99 is not on this machine" in bench.invoke(version, b"0").log_tail.decode()


def test_memory_of_instances_is_known(bench):
    bench.invoke(bench.version({"app.py": SLOW}, name="weighed"), b"0")

    def known():
        return any(one.pss_kb > 500 for one in bench.functions.instances() if one.function_arn.endswith("weighed"))

    bench.wait(until("a figure", known))


def test_a_runtime_that_cannot_be_had_is_said(bench):
    version = bench.version({"app.py": SLOW}, runtime="ruby3.4")
    with pytest.raises(RuntimeUnavailableError, match=r"ruby3\.4 can't run here"):
        bench.invoke(version, b"0")


def test_a_caller_who_hangs_up_ends_the_run(bench):
    version = bench.version({"app.py": SLOW}, name="abandoned", timeout_s=60)

    async def run():
        task = asyncio.ensure_future(bench.invoke_soon(version, b"30"))
        await until(
            "the run",
            lambda: any(one.invocations for one in bench.functions.instances() if "abandoned" in one.function_arn),
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until("its end", lambda: not any("abandoned" in one.function_arn for one in bench.functions.instances()))

    bench.wait(run())
    assert json.loads(bench.invoke(version, b"0").payload) > 0
