# ruff: noqa: PTH123, S606, BLE001
# A zygote holds few modules, so os and open do what pathlib does elsewhere; a forked child must not go on as its parent.
"""Namespaces: those of the runner, and a nest of them for each instance, with a first process that only reaps."""

import os
import signal
import struct
from collections.abc import Callable
from typing import Any, NoReturn

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

PAUSES = {
    "x86_64": (62, bytes.fromhex("b8220000000f05ebf7")),  # 1: mov eax, 34 (pause); syscall; jmp 1
    "aarch64": (
        183,  # 1: ppoll(0, 0, 0, 0); b 1
        b"".join(
            struct.pack("<I", word)
            for word in (0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA)
        ),
    ),
}
"""ELF's number of a machine, and a loop that waits for signals."""


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
    """Namespaces of one instance, held by their first process. When that one ends, the kernel ends all in them."""

    def __init__(self, pid: int, pidfd: int, ready: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.ready = ready

    def enter(self, kinds: int) -> None:
        """Join them, once they are furnished. Raises `OSError` with what went wrong there."""
        told = os.read(self.ready, 500).decode()
        if told != "ready":
            raise OSError(told or "The namespaces' first process ended at once")
        join(self.pidfd, kinds)

    def end(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        os.close(self.pidfd)
        os.close(self.ready)


class Nests:
    """Makes nests, from a process whose own namespaces stay what they are."""

    def __init__(self, kinds: int) -> None:
        self.kinds = kinds
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._pause = _pause_program()

    def begin(self, furnish: Callable[[], None]) -> Nest:
        """A nest whose first process calls `furnish` in it. Until `leave`, children of the caller are born in it."""
        unshare(CLONE_NEWPID)
        ready, told = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self._hold(told, furnish)
        os.close(told)
        return Nest(pid, os.pidfd_open(pid), ready)

    def leave(self) -> None:
        join(self._own, CLONE_NEWPID)

    def _hold(self, told: int, furnish: Callable[[], None]) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            confinement.die_with_parent(0)
            unshare(self.kinds)
            confinement.checked(confinement.libc.sethostname(HOST_NAME, len(HOST_NAME)), "sethostname")
            furnish()
            confinement.reset_signals()
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then reaps, and none wakes up
            os.dup2(told, 3)
            confinement.close_others({3, self._pause})
            os.write(3, b"ready")
            os.set_inheritable(3, False)
            if self._pause >= 0:
                os.execve(self._pause, ["tule-nest"], {})
        except BaseException as error:
            os.write(told, f"{type(error).__name__}: {error}".encode()[:500])
            os._exit(72)
        while True:
            signal.pause()


def _pause_program() -> int:
    """A program of a page that does nothing: a descriptor of it, or -1 where it can't be had."""
    machine = os.uname().machine
    if machine not in PAUSES or struct.calcsize("P") != 8:
        return -1
    number, code = PAUSES[machine]
    base, head = 0x400000, 64 + 56
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, number, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, head + len(code), head + len(code), 0x1000)
    try:
        fd = os.memfd_create("tule-nest", os.MFD_CLOEXEC)
    except OSError:
        return -1
    os.write(fd, elf + code)
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
