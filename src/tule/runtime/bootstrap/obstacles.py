# ruff: noqa: PTH115, PTH123, PTH208
# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""What must not be alive when a snapshot is taken: a fork of it would hang or share what is not to be shared."""

import os
import select
import signal
import socket
import sys
from collections.abc import Sequence

TRIAL_S = 2.0
"""How long a fork that does nothing may take before forking is taken to hang (ours)."""


def obstacle(own: Sequence[int]) -> str:
    """Why this process must not be forked, in words, or "". `own` are descriptors of ours."""
    return _python_threads() or _children() or _descriptors(own) or _trial() or _native_threads()


def _python_threads() -> str:
    count = len(sys._current_frames()) - 1  # noqa: SLF001 - threads that the module threading doesn't know, too
    if not count:
        return ""
    threading = sys.modules.get("threading")
    names = [thread.name for thread in threading.enumerate()[1:]] if threading else []
    return f"{count} thread(s) run after init" + (f" ({', '.join(names[:5])})" if names else "")


def _children() -> str:
    alive = []
    for task in _listed("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                children = file.read().split()
        except OSError:
            continue
        for pid in children:
            name, state = _process(pid)
            if state not in "ZX":
                alive.append(name)
    return f"{len(alive)} child process(es) run after init ({', '.join(alive[:5])})" if alive else ""


def _process(pid: str) -> tuple[str, str]:
    """(name, state) of a child; one that is hidden is about to become another program."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return f"process {pid}", "R"
    return name, rest.split()[0]


def _descriptors(own: Sequence[int]) -> str:
    found = []
    for name in _listed("/proc/self/fd"):
        if int(name) in own:
            continue
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.append(_socket_name(int(name)))
        elif target == "anon_inode:[eventpoll]":
            found.append("an event loop")
    return f"open after init: {', '.join(found[:5])}" if found else ""


def _socket_name(fd: int) -> str:
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            if sock.family == socket.AF_UNIX:
                return "a local socket"
            peer = sock.getpeername()
            return f"a connection to {peer[0]}:{peer[1]}"
    except (OSError, TypeError, IndexError):
        return "a socket"


def _trial() -> str:
    """Fork once, to no end: libraries that stop their threads at a fork do so now, and what hangs is found out."""
    done, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(told, b"!")
        os._exit(0)
    os.close(told)
    ready = select.select([done], [], [], TRIAL_S)[0]
    os.close(done)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "" if ready else "a fork of it hangs"


def _native_threads() -> str:
    """Threads of libraries, which end in forks without their knowing it. (OpenBLAS ends its own for a fork.)"""
    own = str(os.getpid())
    names = []
    for task in _listed("/proc/self/task"):
        if task != own:
            with open(f"/proc/self/task/{task}/comm") as file:
                names.append(file.read().strip())
    return f"{len(names)} thread(s) of a library run after init ({', '.join(names[:5])})" if names else ""


def _listed(folder: str) -> list[str]:
    """What is in a folder of /proc; nothing where there is none."""
    try:
        return os.listdir(folder)
    except OSError:
        return []
