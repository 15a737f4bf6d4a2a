"""Gives memory back when the machine runs short: instances that have been idle longest end first.

The kernel says so itself where it can ("PSI": processes stall for want of memory), and Tule looks at what is available
whenever it starts an instance, which is when it takes more. Nothing is asked in between.
"""

import asyncio
import os
import select
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from tule.kernel.clocks import Handle, MachineClock

MEMINFO: Final = "/proc/meminfo"
PRESSURE: Final = ("/sys/fs/cgroup/memory.pressure", "/proc/pressure/memory")
"""The container's own, or the machine's."""

TRIGGER: Final = b"some 150000 2000000\0"
"""Some process waited for memory for 150 ms of two seconds: the window that the kernel lets ordinary users choose."""

LOW_PART: Final = 20
LOW_MOST_KB: Final = 1024 * 1024
"""Memory is short when less than a twentieth is available, or less than a gigabyte on large machines (ours)."""

LOOK_EVERY_S: Final = 0.25
"""How often it is looked at while instances start, and how soon again after some were ended."""

RECLAIMED_PART: Final = 4
"""A quarter of the idle instances ends at a time (ours)."""

_log = structlog.get_logger("tule.runtime")


class MemoryPressure:
    """Watches, and has `reclaim(count)` end idle instances; it says how many there were. `idle()` counts them."""

    def __init__(
        self,
        machine: MachineClock,
        idle: Callable[[], int],
        reclaim: Callable[[int], int],
        meminfo: str = MEMINFO,
        pressure: Sequence[str] = PRESSURE,
    ) -> None:
        self._machine = machine
        self._idle = idle
        self._reclaim = reclaim
        self._meminfo = Path(meminfo)
        self._pressure = pressure
        self._looked_s = -LOOK_EVERY_S
        self._again: Handle | None = None
        self._epoll: select.epoll | None = None
        self._trigger = -1
        self._opened = False

    def look(self) -> None:
        """An instance is about to start: see that there is memory for it."""
        if not self._opened:
            self._open()
        now_s = self._machine.monotonic_s()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            if self.short():
                self._relieve("available")

    def short(self) -> bool:
        """Whether little memory is left; False where that isn't said."""
        try:
            text = self._meminfo.read_text("ascii")
        except OSError:
            return False
        found = {}
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name in {"MemTotal", "MemAvailable"}:
                found[name] = int(value.split()[0])
        if len(found) < 2:
            return False
        return found["MemAvailable"] < min(found["MemTotal"] // LOW_PART, LOW_MOST_KB)

    def _relieve(self, why: str) -> None:
        ended = self._reclaim(max(1, self._idle() // RECLAIMED_PART))
        if ended:
            _log.warning("memory is short: idle instances end", count=ended, why=why)
            if self._again is None:
                self._again = self._machine.call_later(LOOK_EVERY_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self.look()

    # -- the kernel's word

    def _open(self) -> None:
        """Have the kernel wake us up. It gives an urgent event, uvloop asks what is readable: an epoll in between is
        readable when the event has come."""
        self._opened = True
        for path in self._pressure:
            try:
                trigger = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                os.write(trigger, TRIGGER)
                self._epoll = select.epoll()
                self._epoll.register(trigger, select.EPOLLPRI)
            except OSError:
                os.close(trigger)
                continue
            self._trigger = trigger
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._pressed)
            return

    def _pressed(self) -> None:
        """The loop's own look has taken the event: another finds none, or that the group it is of has gone."""
        if self._epoll is None:
            return
        if any(mask & select.EPOLLERR for _, mask in self._epoll.poll(0)):
            self._unwatch()
        else:
            self._relieve("stalls")

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._unwatch()

    def _unwatch(self) -> None:
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            os.close(self._trigger)
            self._epoll = None
