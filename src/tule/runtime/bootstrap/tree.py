# ruff: noqa: PTH101, PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH118, PTH120, PTH211, S103, S108, SIM105, FBT001, FBT002
# A zygote holds few modules, so os and open do what pathlib does elsewhere.
"""A file system of a process's own: mounts, and the read-only tree that zygotes and their instances live in."""

import ctypes
import os
import struct
from collections.abc import Sequence

from . import confinement

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc")
DEVICES = ("null", "zero", "full", "random", "urandom")
HIDDEN = ("/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/kallsyms")
"""What of /proc tells of the host and is none of a function's business."""

TEMPORARY_MB = 512
"""AWS: /tmp unless a function asks for more."""


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = (os.fsencode(source), os.fsencode(target), os.fsencode(kind))
    result = confinement.libc.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(data))
    confinement.checked(result, f"mount {target}")


def unmount(target: str) -> None:
    confinement.checked(confinement.libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def bind(source: str, target: str, writable: bool = False) -> None:
    """Show `source` at `target`, with all that is mounted below it; read-only throughout unless `writable`."""
    mount(source, target, "", MS_BIND | MS_REC)
    if not writable:
        attributes = struct.pack("=QQQQ", MS_RDONLY | MS_NOSUID, 0, 0, 0)
        result = confinement.libc.syscall(
            SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), AT_RECURSIVE, attributes, ctypes.c_size_t(32)
        )
        confinement.checked(result, f"make {target} read-only")


def temporary(size_mb: int, more: int = 0) -> None:
    """/tmp in memory, of at most `size_mb`. With MS_REMOUNT in `more`, the one that is there gets that size."""
    mount("tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | more, f"mode=1777,size={size_mb}m")


def processes(target: str = "/proc") -> None:
    """The caller's pid namespace at `target`: one sees only one's own user's processes where the kernel can do that."""
    mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    try:
        mount("proc", target, "proc", MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2")
    except OSError:
        pass  # older kernels can't for one mount; processes of others are then visible, and no more than that


def hide() -> None:
    """Cover what of /proc is the host's."""
    for path in HIDDEN:
        try:
            mount("/dev/null", path, "", MS_BIND)
        except OSError:
            continue  # this kernel has none


def enter(scratch: str, shown: Sequence[tuple[str, str, bool]]) -> None:
    """Leave the host's file system for one that holds the system, read-only, and `shown`: (source, target, writable).

    `scratch` is an empty folder to mount on. Needs pid and mount namespaces of the caller's own.
    """
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
    processes(f"{scratch}/proc")
    for source, target, writable in shown:
        show(source, landing(scratch, target), writable)
    os.chdir(scratch)
    confinement.checked(confinement.libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
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
