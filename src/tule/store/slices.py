"""A short scheduling slice for the thread that commits, so that it runs soon after the disk has answered."""

import ctypes
import platform
import sys
from contextlib import suppress

SLICE_NS = 100_000
"""The shortest slice that the kernel's EEVDF scheduler grants (Linux 6.12 and later honour it without privilege)."""

_SYSCALL = {"x86_64": 314, "aarch64": 274}
"""sched_setattr by machine, from the kernel's system call tables."""


class _SchedAttr(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def ask_short_slice() -> bool:
    """Ask for it on the calling thread; False where the kernel doesn't have it, which costs latency alone."""
    number = _SYSCALL.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    with suppress(OSError, AttributeError):
        attributes = _SchedAttr(size=ctypes.sizeof(_SchedAttr), runtime=SLICE_NS)
        return bool(ctypes.CDLL(None).syscall(number, 0, ctypes.byref(attributes), 0) == 0)
    return False
