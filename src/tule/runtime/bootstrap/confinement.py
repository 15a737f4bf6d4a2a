# ruff: noqa: PTH101, PTH102, PTH103, PTH112, PTH114, PTH115, PTH120, PTH123, PTH211, S103, S108, SIM105, FBT001, FBT002
# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""System calls that confine a process: namespaces and a tree of its own, Landlock, limits, identity.

Runs in the runner and in zygotes of any Python from 3.10 on: the standard library alone, and no import of ours.
Order matters: what needs privileges comes first, `confine` gives them up.
"""

import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Collection, Sequence

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
LAST_CAPABILITY = 40
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT = 444, 445, 446
SYS_CLOSE_RANGE = 436
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc")
DEVICES = ("null", "zero", "full", "random", "urandom")

LANDLOCK_READ = (1 << 0) | (1 << 2) | (1 << 3)
"""Execute, read files, list folders."""
LANDLOCK_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
LANDLOCK_FILE_ONLY = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)
"""What may be granted on something that is no folder."""

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
    """Be killed when the process that started this one ends, also if it has ended already."""
    if sys.platform != "linux":
        return
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        os._exit(1)


# -- namespaces and trees


def unshare(flags: int) -> None:
    checked(libc.unshare(flags), "unshare")


def join(fd: int, kind: int) -> None:
    checked(libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = (os.fsencode(source), os.fsencode(target), os.fsencode(kind), flags, os.fsencode(data))
    checked(libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[4]), f"mount {target}")


def unmount(target: str) -> None:
    checked(libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def bind(source: str, target: str, writable: bool = False) -> None:
    """Show `source` at `target`, with all that is mounted below it; read-only throughout unless `writable`."""
    mount(source, target, "", MS_BIND | MS_REC)
    if not writable:
        attributes = struct.pack("=QQQQ", MS_RDONLY | MS_NOSUID, 0, 0, 0)
        result = libc.syscall(
            SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), AT_RECURSIVE, attributes, ctypes.c_size_t(32)
        )
        checked(result, f"make {target} read-only")


def own_processes() -> bool:
    """Become a process whose child is the first of new pid and mount namespaces; True if that needed no root.

    An ordinary user gets a user namespace around them, in which it is called root and may mount, nothing more.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        unshare(CLONE_NEWPID | CLONE_NEWNS)
        return False
    unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return True


def enter_tree(scratch: str, shown: Sequence[tuple[str, str, bool]]) -> None:
    """Leave the host's file system for one that holds the system, read-only, and `shown`: (source, target, writable).

    `scratch` is an empty folder to mount on. Needs `own_processes` before it.
    """
    unshare(CLONE_NEWNS)
    mount("", "/", "", MS_REC | MS_PRIVATE)
    mount("tule", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=4m")
    for name in SYSTEM:
        source, target = f"/{name}", f"{scratch}/{name}"
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
        elif os.path.isdir(source):
            os.mkdir(target, 0o755)
            bind(source, target)
    for name in ("dev", "proc", "tmp", "var", "var/task", "var/runtime", "opt", "tule"):
        os.mkdir(f"{scratch}/{name}", 0o755)
    os.chmod(f"{scratch}/tmp", 0o1777)
    mount(
        "tule", f"{scratch}/tule", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k"
    )  # one unmount takes it all away
    for name in DEVICES:
        os.close(os.open(f"{scratch}/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        mount(f"/dev/{name}", f"{scratch}/dev/{name}", "", MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{scratch}/dev/{name}")
    mount("proc", f"{scratch}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    try:
        mount("proc", f"{scratch}/proc", "proc", MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2")
    except OSError:
        pass  # older kernels can't for one mount; processes of others are then visible, and no more than that
    for source, target, writable in shown:
        show(source, landing(scratch, target), writable)
    os.chdir(scratch)
    checked(libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")
    mount("", "/", "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def show(source: str, target: str, writable: bool = False) -> None:
    """`bind`, making the target first."""
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    bind(source, target, writable)


def landing(root: str, path: str) -> str:
    """Where `path` lies below `root`, a link followed as it will be when `root` is the root."""
    for _ in range(8):
        if not os.path.islink(root + path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(root + path)))
    return root + path


# -- Landlock


def landlock_abi() -> int:
    """The kernel's version of Landlock, 0 without it."""
    if sys.platform != "linux":
        return 0
    return max(0, int(libc.syscall(SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)))


def landlock(readable: Sequence[str], writable: Sequence[str]) -> bool:
    """Let this process and its children see `readable` paths and write below `writable`, and no other file."""
    abi = landlock_abi()
    if not abi:
        return False
    handled = LANDLOCK_BY_ABI[min(abi, 5)]
    attributes = struct.pack("=Q", handled)
    ruleset = checked(libc.syscall(SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(8), 0), "Landlock ruleset")
    try:
        for paths, access in ((readable, LANDLOCK_READ), (writable, handled)):
            for path in paths:
                _allow(ruleset, path, access & handled)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
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
            access &= LANDLOCK_FILE_ONLY
        rule = struct.pack("=Qi", access, fd)
        checked(libc.syscall(SYS_LANDLOCK_ADD, ruleset, 1, rule, 0), f"Landlock rule for {path}")
    finally:
        os.close(fd)


# -- limits and identity


def limit(processes: int, files: int, file_bytes: int) -> None:
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NPROC, processes),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def become(uid: int) -> None:
    """Another user with no groups, if this is root; then no capability is left, nor can any be gained."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        try:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        except OSError:
            pass
        for capability in range(LAST_CAPABILITY + 1):
            try:
                prctl(PR_CAPBSET_DROP, capability)
            except OSError:
                break
        if uid:
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
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGPIPE else signal.SIG_DFL)
        except (OSError, ValueError):
            continue
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def probe(scratch: str) -> bool:
    """Try what the highest rung needs, in a child, and say whether it works here."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            own_processes()
            inner = os.fork()
            if inner == 0:
                code = 2
                enter_tree(scratch, ())
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
        except OSError:
            pass
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
