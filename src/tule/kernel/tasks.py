"""Background work that nobody awaits: a crash is logged, counted and followed by a restart, never silent."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from tule.kernel.clocks import MachineClock

RESTART_FIRST_S = 0.05
RESTART_LONGEST_S = 5.0
CALM_AFTER_S = 30.0
"""A task that ran this long before it crashed starts again without the waits of its earlier crashes."""

_log = structlog.get_logger("tule.tasks")


class Supervisor:
    """Owns every background task of the process."""

    def __init__(self, machine: MachineClock) -> None:
        self._machine = machine
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._once_numbers: dict[asyncio.Task[Any], int] = {}
        self.latest = 0
        """The number of the newest work that runs once; what comes later has a larger one."""
        self.crashes: dict[str, int] = {}

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `work` and start it again with growing waits whenever it crashes; it ends by returning."""
        return self._start(name, self._keep(name, work))

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` once; a crash is logged and counted."""
        task = self._start(name, self._once(name, work))
        # A task that is cancelled before its first step never reaches `work`.
        task.add_done_callback(lambda _: work.close())
        self.latest += 1
        self._once_numbers[task] = self.latest
        task.add_done_callback(self._once_numbers.pop)
        return task

    def under_way(self, after: int = 0) -> list[asyncio.Task[Any]]:
        """Work that runs once, was begun after the one with that number, and has not ended."""
        return [task for task, number in self._once_numbers.items() if number > after]

    async def close(self) -> None:
        """Cancel what runs and wait until it has ended."""
        self._closing = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._closing:
            task.cancel()
        return task

    async def _once(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - the last line of defence for work nobody awaits
            self._note(name)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        wait_s = RESTART_FIRST_S
        while not self._closing:
            started_s = self._machine.monotonic_s()
            try:
                await work()
            except Exception:  # noqa: BLE001 - the last line of defence for work nobody awaits
                self._note(name)
            else:
                return
            if self._machine.monotonic_s() - started_s > CALM_AFTER_S:
                wait_s = RESTART_FIRST_S
            await self._machine.sleep(wait_s)
            wait_s = min(wait_s * 2, RESTART_LONGEST_S)

    def _note(self, name: str) -> None:
        self.crashes[name] = self.crashes.get(name, 0) + 1
        _log.exception("task crashed", task=name, crashes=self.crashes[name])
