# ruff: noqa: PTH123, BLE001
# A zygote holds few modules, so os and open do what pathlib does elsewhere; a forked child must end by itself.
"""Namespaces: those of the runner, and a nest of them for each instance, with a first process that only reaps."""

import os
import signal
import struct
from collections.abc import Callable
from typing import Any

from . import confinement

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

HOST_NAME = b"tule"
USER = 993
"""What an instance's user is called inside where no user of its own can be had: AWS's number."""

FIRSTS = {
    "x86_64": (
        62,
        bytes.fromhex(
            "b89d000000 bf01000000 be09000000 0f05"  # prctl(PR_SET_PDEATHSIG, SIGKILL)
            "b80d000000 bf11000000 488d3513000000 31d2 41ba08000000 0f05"  # rt_sigaction(SIGCHLD, &ignore, 0, 8)
            "b822000000 0f05 ebf7"  # for (;;) pause()
        ),
    ),
    "aarch64": (
        183,
        struct.pack(
            "<17I",
            *(0xD2800020, 0xD2800121, 0xD28014E8, 0xD4000001),  # the same,
            *(0xD2800220, 0x10000181, 0xD2800002, 0xD2800103, 0xD28010C8, 0xD4000001),
            *(0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA),  # with ppoll
        ),
    ),
}
"""ELF's number of a machine, and a program that dies with its parent, has the kernel reap its children, and waits."""

IGNORE = struct.pack("<QQQQ", 1, 0, 0, 0)
"""The structure that the programs above point at: it follows them."""


def unshare(flags: int) -> None:
    confinement.checked(confinement.libc.unshare(flags), "unshare")


def join(fd: int, kind: int) -> None:
    confinement.checked(confinement.libc.setns(fd, kind), "setns")


def own_processes() -> bool:
    """Become a process whose child is the first of new pid and mount namespaces; True if that needed no root.

    An ordinary user gets a user namespace around them, in which it is called root and may mount, nothing more.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        unshare(CLONE_NEWPID | CLONE_NEWNS)
        return False
    unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS)
    _map_user(0, uid, 0, gid)
    return True


def own_user() -> None:
    """A user namespace with one user, and with its own count of processes: the limit on them then holds for one
    instance, and not for all that run under the same real user. Limits come after this."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    _map_user(USER, uid, USER, gid)


def _map_user(uid: int, outer_uid: int, gid: int, outer_gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {outer_uid} 1"), ("gid_map", f"{gid} {outer_gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


# -- nests


class Nest:
    """A pid namespace of one instance, held by its first process. When that one ends, the kernel ends all in it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def end(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        os.close(self.pidfd)


class Nests:
    """Makes nests, from a process whose own namespaces stay what they are."""

    def __init__(self, kinds: int) -> None:
        self._kinds = kinds
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._first = _first_program()

    def begin(self) -> Nest:
        """A nest. Until `leave`, children of the caller are born in it."""
        unshare(CLONE_NEWPID)
        try:
            return Nest(self._start_first())
        except OSError:
            self.leave()
            raise

    def leave(self) -> None:
        join(self._own, CLONE_NEWPID)

    def furnish(self) -> None:
        """For a child born in a nest: the other namespaces."""
        unshare(self._kinds)
        confinement.checked(confinement.libc.sethostname(HOST_NAME, len(HOST_NAME)), "sethostname")

    def _start_first(self) -> int:
        if self._first >= 0:  # no fork: it would copy what this process has of page tables
            return os.posix_spawn(f"/proc/self/fd/{self._first}", ["tule-nest"], {})
        pid = os.fork()
        if pid == 0:
            confinement.die_with_parent(0)
            confinement.close_others(())
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            while True:
                signal.pause()
        return pid


def _first_program() -> int:
    """A program of a page for the first process of a nest: a descriptor of it, or -1 where it can't be had."""
    machine = os.uname().machine
    if machine not in FIRSTS or struct.calcsize("P") != 8:
        return -1
    number, code = FIRSTS[machine]
    code += IGNORE
    base, head = 0x400000, 64 + 56
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, number, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, head + len(code), head + len(code), 0x1000)
    try:
        fd = os.memfd_create("tule-nest", os.MFD_CLOEXEC)
        os.write(fd, elf + code)
        pid = os.posix_spawn(f"/proc/self/fd/{fd}", ["tule-nest"], {})
    except OSError:  # where memory may not be executed
        return -1
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return fd


def probe(*steps: Callable[[], Any]) -> int:
    """How many of `steps`, in order, work in the namespaces that the runner would have, tried in a child."""
    pid = os.fork()
    if pid == 0:
        done = 0
        try:
            own_processes()
            inner = os.fork()
            if inner == 0:
                for step in steps:
                    step()
                    done += 1
                os._exit(done)
            done = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
        except BaseException:
            os._exit(done)
        finally:
            os._exit(max(done, 0))
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
