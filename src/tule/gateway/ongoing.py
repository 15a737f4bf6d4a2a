"""Calls that are being worked on, so that a leap of the clock can wait for what it caused."""

import asyncio
from typing import Final

from tule.kernel.clocks import MachineClock

CALM_TURNS: Final = 20
"""Turns of the loop without work after which nothing more is expected: from a wake-up to the call it leads to takes a
few (ours)."""


class Ongoing:
    """Numbers of the coordinate calls under way. Waits that end when their caller leaves are not work."""

    def __init__(self, machine: MachineClock) -> None:
        self._machine = machine
        self._latest = 0
        self._under_way: set[int] = set()
        self._watchers: list[asyncio.Future[None]] = []
        self._waits: set[asyncio.Task[None]] = set()

    def waits(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Keep a call that only waits, to break it off when Tule stops."""
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

    def began(self) -> int:
        self._latest += 1
        self._under_way.add(self._latest)
        return self._latest

    def ended(self, number: int) -> None:
        self._under_way.discard(number)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    @property
    def latest(self) -> int:
        """The number of the newest call; what comes later has a larger one."""
        return self._latest

    async def settle(self, after: int, until_s: float) -> bool:
        """Wait until no call newer than `after` is under way; False if machine time `until_s` came first."""
        calm = 0
        while calm < CALM_TURNS:
            if not any(number > after for number in self._under_way):
                calm += 1
                await self._machine.sleep(0)
                continue
            calm = 0
            left_s = until_s - self._machine.monotonic_s()
            if left_s <= 0:
                return False
            await self._change(left_s)
        return True

    async def _change(self, at_most_s: float) -> None:
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.append(watcher)
        guard = self._machine.call_later(at_most_s, lambda: None if watcher.done() else watcher.set_result(None))
        await watcher
        guard.cancel()
