"""What a process leaves behind: whoever outlives it is found, however well it hid."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Final

import psutil

GONE_WITHIN_S: Final = 20.0
"""A guard against a process that stays, not an expectation."""

_PR_SET_CHILD_SUBREAPER: Final = 36


class Orphanage:
    """Adopts the processes whose parents die. Those who are still there after a while are orphans."""

    def __init__(self) -> None:
        self._before = {process.pid for process in psutil.Process().children()}

    def left(self) -> list[str]:
        """Wait until everything that appeared since the beginning is gone; gives what stays, as readable lines.

        What was there at the beginning may go on, and start processes of its own.
        """
        found = [found for process in self._new() for found in (process, *process.children(recursive=True))]
        alive = psutil.wait_procs(found, GONE_WITHIN_S)[1]
        return [_line(process) for process in alive]

    def _new(self) -> list[psutil.Process]:
        return [process for process in psutil.Process().children() if process.pid not in self._before]


@contextlib.contextmanager
def orphanage() -> Iterator[Orphanage]:
    """Within it, a process whose parent dies becomes this one's child (Linux: PR_SET_CHILD_SUBREAPER)."""
    _adopt(orphans=True)
    try:
        yield Orphanage()
    finally:
        _adopt(orphans=False)


def _adopt(*, orphans: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, int(orphans), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _line(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.status()} {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return f"{process.pid} (gone by now)"
