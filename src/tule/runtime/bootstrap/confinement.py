# ruff: noqa: SIM105
# A zygote holds few modules, so os and open do what pathlib does elsewhere.
"""What a process does to itself before strangers' code runs in it: limits, identity, descriptors, signals.

Like its siblings it runs in the runner and in zygotes of any Python from 3.10 on: the standard library and siblings
alone. Order matters: what needs privileges comes first, `become` gives them up, `seccomp` comes last.
"""

import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Collection

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
LAST_CAPABILITY = 63
"""The kernel's interface has no room for more; the first that it does not know ends the search."""

SYS_CLOSE_RANGE = 436
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
KEYCTL_JOIN_SESSION_KEYRING = 1

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """The result of a C call, or the error it left behind."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    return checked(libc.prctl(option, first, second, 0, 0), f"prctl {option}")


def die_with_parent(parent: int) -> None:
    """Be killed when the process that started this one ends, also if it has ended already.

    A parent outside this process's pid namespace has the number 0 in it. If such a one ended before this call, the
    runner has become the parent and kills whom it doesn't know.
    """
    if sys.platform != "linux":
        return
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() not in (parent, 0):
        os._exit(1)


def limit(processes: int, files: int, file_bytes: int = 0, data_bytes: int = 0) -> None:
    """Most processes, descriptors of each, bytes of one file and of private memory (0: as many as the host allows)."""
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, file_bytes or resource.RLIM_INFINITY),
        (resource.RLIMIT_DATA, data_bytes or resource.RLIM_INFINITY),
        (resource.RLIMIT_NPROC, processes),
    ):
        _, hard = resource.getrlimit(what)
        if resource.RLIM_INFINITY in (most, hard):
            allowed = hard if most == resource.RLIM_INFINITY else most
        else:
            allowed = min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def leave_keyring() -> None:
    """A session keyring of its own, so that keys of whoever started Tule are not this process's."""
    number = SYS_KEYCTL.get(os.uname().machine)
    if number is not None:
        libc.syscall(number, KEYCTL_JOIN_SESSION_KEYRING, None)  # a kernel without keyrings has nothing to leave


def bound() -> None:
    """Let no program that is started from here on have capabilities; this process keeps its own."""
    try:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:
        pass
    for capability in range(LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # none that the kernel knows is left, or an ordinary user has none to drop
            break


def become(uid: int, *, bounded: bool = False) -> None:
    """Another user with no groups, if this is root; then no capability is left, nor can any be gained.

    `bounded`: `bound` was called, in the user namespace that this process is in.
    """
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if not bounded:
        bound()
    if uid and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    checked(libc.syscall(SYS_CAPSET[os.uname().machine], header, nothing), "capset")


def close_others(kept: Collection[int]) -> None:
    """Close every descriptor above 2 that is not in `kept`."""
    first = 3
    for fd in sorted(kept):
        if fd > first:
            _close_range(first, fd - 1)
        first = max(first, fd + 1)
    _close_range(first, 0x7FFFFFFF)


def _close_range(first: int, last: int) -> None:
    if libc.syscall(SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), 0) < 0:
        os.closerange(first, min(last, 65536))


def reset_signals() -> None:
    """What a process expects of its start: default reactions, nothing blocked."""
    for number in signal.valid_signals():
        wanted = signal.SIG_IGN if number == signal.SIGPIPE else signal.SIG_DFL
        if signal.getsignal(number) not in {wanted, None}:  # asking costs nothing, telling is a system call
            signal.signal(number, wanted)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
