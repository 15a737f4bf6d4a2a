"""Work that is under way, so that a leap of the clock can wait for what it caused; and waits, to break them off."""

import asyncio
from typing import Final

from tule.kernel.clocks import MachineClock
from tule.kernel.tasks import Supervisor

CALM_TURNS: Final = 20
"""Turns of the loop without work after which nothing more is expected: from a wake-up to the work it leads to takes a
few (ours)."""


class Ongoing:
    """Everything that runs once is work, but for calls that only wait and end when their caller leaves."""

    def __init__(self, machine: MachineClock, tasks: Supervisor) -> None:
        self._machine = machine
        self._tasks = tasks
        self._waits: set[asyncio.Task[None]] = set()

    def waits(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Keep a call that only waits."""
        self._waits.add(task)
        task.add_done_callback(self._waits.discard)
        return task

    @property
    def waiting(self) -> int:
        """How many calls only wait."""
        return len(self._waits)

    def break_off(self) -> None:
        """End every wait: its caller is told to try again."""
        for task in list(self._waits):
            task.cancel()

    async def settle(self, after: int, until_s: float) -> bool:
        """Wait until no work newer than `after` is under way; False if machine time `until_s` came first."""
        calm = 0
        while calm < CALM_TURNS:
            work = [task for task in self._tasks.under_way(after) if task not in self._waits]
            if not work:
                calm += 1
                await self._machine.sleep(0)
                continue
            calm = 0
            left_s = until_s - self._machine.monotonic_s()
            if left_s <= 0:
                return False
            await asyncio.wait(work, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        return True
