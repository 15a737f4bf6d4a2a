"""The two clocks: service time, which people may pause and advance, and machine time, which nobody may.

Everything that is retained, delayed, scheduled or stamped reads the `ServiceClock`. Sockets, function
timeouts, leases, signatures and measured durations read the `MachineClock`. Nothing else in Tule reads time.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NewType, Protocol

Instant = NewType("Instant", int)
"""A moment of service time: milliseconds since 1970-01-01T00:00:00Z."""


class Handle(Protocol):
    """A call that has been arranged and can still be called off."""

    def cancel(self) -> None: ...


class MachineClock(Protocol):
    """Time as the machine measures it."""

    def monotonic_s(self) -> float:
        """Seconds that only ever grow, for durations and deadlines."""

    def monotonic_ns(self) -> int:
        """The same in nanoseconds."""

    def wall_ms(self) -> int:
        """Milliseconds since the epoch, as the machine's calendar has them."""

    async def sleep(self, delay_s: float) -> None: ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        """Run `callback` on the running loop after `delay_s` (it may fire up to half a millisecond early)."""


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    monotonic_s = staticmethod(time.monotonic)
    monotonic_ns = staticmethod(time.monotonic_ns)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        return asyncio.get_running_loop().call_later(delay_s, callback)


class ServiceClock:
    """Virtual, monotone time. Its offset and pause outlive a restart because the store keeps `state()`."""

    __slots__ = ("_latest", "_listeners", "_machine", "_offset_ms", "_paused_at")

    def __init__(self, machine: MachineClock, offset_ms: int = 0, paused_at: Instant | None = None) -> None:
        self._machine = machine
        self._offset_ms = offset_ms
        self._paused_at = paused_at
        self._latest = 0
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> Instant:
        """The current instant; never earlier than one returned before, whatever the machine's calendar does."""
        if self._paused_at is not None:
            return self._paused_at
        current = self._machine.wall_ms() + self._offset_ms
        if current < self._latest:
            current = self._latest
        else:
            self._latest = current
        return Instant(current)

    @property
    def paused(self) -> bool:
        return self._paused_at is not None

    @property
    def offset_ms(self) -> int:
        """How far service time runs ahead of the machine's calendar."""
        return self.now() - self._machine.wall_ms()

    def state(self) -> tuple[int, Instant | None]:
        """What the constructor needs to go on from here."""
        return self._offset_ms, self._paused_at

    def restore(self, offset_ms: int, paused_at: Instant | None) -> None:
        """Go on from a `state()` that the store kept."""
        self._offset_ms, self._paused_at = offset_ms, paused_at
        self._changed()

    def pause(self) -> None:
        if self._paused_at is None:
            self._paused_at = self.now()
            self._changed()

    def resume(self) -> None:
        if self._paused_at is not None:
            self._offset_ms = self._paused_at - self._machine.wall_ms()
            self._paused_at = None
            self._changed()

    def step_to(self, instant: Instant) -> None:
        """Move forward to `instant`; a moment that has passed is left as it is."""
        ahead = instant - self.now()
        if ahead <= 0:
            return
        if self._paused_at is not None:
            self._paused_at = instant
        else:
            self._offset_ms += ahead
        self._changed()

    def until_s(self, instant: Instant) -> float | None:
        """Machine seconds until `instant` comes by itself; None while time is paused before it."""
        ahead = instant - self.now()
        if ahead <= 0:
            return 0.0
        return None if self._paused_at is not None else ahead / 1000

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every pause, resume and step, so that sleepers can reckon again."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()
