"""When a zygote goes: its last instance has ended, and for long nobody asked it for another."""

import asyncio
from collections.abc import Callable
from typing import Final

from tule.kernel.clocks import Handle, MachineClock

REST_AFTER_S: Final = 1800.0
"""How long a zygote and its parked instances are kept without use (ours). The runner goes with the last of them;
the next request starts all of it again, which takes some tenths of a second."""


class Resting:
    """Timers of the zygotes that nobody uses now, and those that were told to end."""

    def __init__(
        self, machine: MachineClock, rest_s: float, in_use: Callable[[str], bool], end: Callable[[str], None]
    ) -> None:
        self._machine = machine
        self._rest_s = rest_s
        self._in_use = in_use
        self._end = end
        self._used_s: dict[str, float] = {}
        self._timers: dict[str, Handle] = {}
        self._ending: dict[str, asyncio.Future[None]] = {}

    def used(self, zygote: str) -> None:
        """Something was asked of it just now."""
        self._used_s[zygote] = self._machine.monotonic_s()
        self._look_later(zygote, self._rest_s)

    def unused(self, zygote: str) -> None:
        """One of its instances has ended: perhaps the last."""
        if zygote in self._used_s:
            self.used(zygote)

    def _look_later(self, zygote: str, delay_s: float) -> None:
        if zygote not in self._timers:
            self._timers[zygote] = self._machine.call_later(delay_s, lambda: self._look(zygote))

    def _look(self, zygote: str) -> None:
        del self._timers[zygote]
        if self._in_use(zygote):
            return  # the end of its last instance brings us back
        left_s = self._used_s[zygote] + self._rest_s - self._machine.monotonic_s()
        if left_s > 0.001:  # timers may be a little early
            self._look_later(zygote, left_s)
            return
        del self._used_s[zygote]
        self._ending[zygote] = asyncio.get_running_loop().create_future()
        self._end(zygote)

    @property
    def ending(self) -> bool:
        """Whether one that was told to end has not ended yet."""
        return bool(self._ending)

    async def ended(self, zygote: str) -> None:
        """Wait for one that was told to end."""
        ending = self._ending.get(zygote)
        if ending is not None:
            await asyncio.shield(ending)

    def gone(self, zygote: str) -> bool:
        """It has ended; whether it was told to."""
        timer = self._timers.pop(zygote, None)
        if timer is not None:
            timer.cancel()
        self._used_s.pop(zygote, None)
        ending = self._ending.pop(zygote, None)
        if ending is None:
            return False
        ending.set_result(None)
        return True

    def clear(self) -> None:
        """All have ended."""
        for zygote in [*self._timers, *self._ending]:
            self.gone(zygote)
