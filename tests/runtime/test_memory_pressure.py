"""What the kernel says of stalls reaches the runtime."""

import asyncio
import os
import subprocess
import sys

import pytest
import uvloop

from tule.kernel.clocks import SystemClock
from tule.runtime.memory_pressure import TRIGGER, MemoryPressure

CPU = "/proc/pressure/cpu"
"""Stalls for want of a core: the same mechanism as those for want of memory, and easier to bring about."""


def triggers():
    try:
        trigger = os.open(CPU, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        os.write(trigger, TRIGGER)
    except OSError:
        return False
    finally:
        os.close(trigger)
    return True


@pytest.mark.skipif(not triggers(), reason="this kernel tells this user of no stalls")
def test_idle_instances_end_when_the_kernel_tells_of_stalls():
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))]
    asked = []

    async def run():
        told = asyncio.Event()

        def reclaim(count):
            asked.append(count)
            told.set()
            return 0

        pressure = MemoryPressure(SystemClock(), lambda: 8, reclaim, pressure=("/no/such/file", CPU))
        pressure.look()
        async with asyncio.timeout(60):
            await told.wait()
        pressure.close()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert asked[0] == 2  # a quarter of those that are idle
