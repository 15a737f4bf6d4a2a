# ruff: noqa: PTH112
# A zygote holds few modules, so os and open do what pathlib does elsewhere.
"""Landlock: which files a process may see, and that it reaches no process or socket outside its own sandbox."""

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

from . import confinement

SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT = 444, 445, 446

READ = (1 << 0) | (1 << 2) | (1 << 3)
"""Execute, read files, list folders."""
HANDLED_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
DEVICES = (1 << 6) | (1 << 11)
"""Making character and block devices: never granted."""
FILE_ONLY = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)
"""What may be granted on something that is no folder."""
SCOPED = 0b11
"""From version 6 on: no abstract Unix socket of others, no signal to processes of others."""


def version() -> int:
    """The kernel's version of Landlock, 0 without it."""
    if sys.platform != "linux":
        return 0
    return max(0, int(confinement.libc.syscall(SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)))


def restrict(readable: Sequence[str], writable: Sequence[str]) -> bool:
    """Let this process and its children see `readable` paths and write below `writable`, and no other file."""
    abi = version()
    if not abi:
        return False
    checked, libc = confinement.checked, confinement.libc
    handled = HANDLED_BY_ABI[min(abi, 5)]
    scoped = SCOPED if abi >= 6 else 0
    size = 24 if abi >= 6 else 8
    attributes = struct.pack("=QQQ", handled, 0, scoped)
    ruleset = checked(libc.syscall(SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), 0), "Landlock ruleset")
    try:
        for paths, access in ((readable, READ), (writable, handled & ~DEVICES)):
            for path in paths:
                _allow(ruleset, path, access & handled)
        confinement.prctl(confinement.PR_SET_NO_NEW_PRIVS, 1)
        checked(libc.syscall(SYS_LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            access &= FILE_ONLY
        rule = struct.pack("=Qi", access, fd)
        confinement.checked(
            confinement.libc.syscall(SYS_LANDLOCK_ADD, ruleset, 1, rule, 0), f"Landlock rule for {path}"
        )
    finally:
        os.close(fd)
