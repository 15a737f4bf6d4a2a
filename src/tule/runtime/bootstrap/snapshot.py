# ruff: noqa: PTH100, PTH102, PTH115, PTH118, PTH120, PTH123, PTH208, BLE001, S108
# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""SnapStart: an instance that has run its function's init becomes the origin of others, which are forks of it.

By then it is confined and strangers' code has run in it. So it has no privileges to make a fork's surroundings with: a
fork gets a /tmp of its own in a user namespace of its own, gives that up at once, and is confined once more.
"""

import gc
import importlib.machinery
import json
import os
import random
import select
import signal
import socket
import stat
import sys
import time
import types
from collections.abc import Callable
from typing import Any

MESSAGE_MAX = 64 * 1024
FDS_MAX = 4
BEFORE_ERROR, AFTER_ERROR = "Runtime.BeforeSnapshotError", "Runtime.AfterRestoreError"
BEFORE_EXIT, AFTER_EXIT = 64, 65
"""As AWS's runtime ends when a hook raises."""

HOOKS = "snapshot_restore_py"
RENEWED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{HOOKS}.py"), encoding="utf-8") as _file:
    _HOOKS_CODE = compile(_file.read(), f"/var/runtime/{HOOKS}.py", "exec")


# -- hooks


class _Provider:
    """Finds the hooks' module where the package has none."""

    def find_spec(self, name: str, _path: Any, _target: Any = None) -> importlib.machinery.ModuleSpec | None:
        loader: Any = self
        return importlib.machinery.ModuleSpec(name, loader, origin=_HOOKS_CODE.co_filename) if name == HOOKS else None

    def create_module(self, spec: Any) -> None:
        """As usual."""

    def exec_module(self, module: types.ModuleType) -> None:
        exec(_HOOKS_CODE, module.__dict__)  # noqa: S102 - a file of ours


def provide() -> None:
    """Let `import snapshot_restore_py` work, after everything that the package brings."""
    sys.meta_path.append(_Provider())


def _hooks(which: str) -> list[Any]:
    module = sys.modules.get(HOOKS)
    found = getattr(module, which, None)
    return found() if callable(found) else []


def _run_before() -> None:
    waiting = _hooks("get_before_snapshot")
    while waiting:
        call, args, kwargs = waiting.pop()
        call(*args, **kwargs)


def _run_after() -> None:
    for call, args, kwargs in _hooks("get_after_restore"):
        call(*args, **kwargs)


# -- the origin


class Origin:
    """An instance after its function's init: it takes orders from its zygote and forks."""

    def __init__(self, zygote: Any, shape: dict[str, Any], channel: Any, control: int) -> None:
        self._zygote = zygote
        self._shape = shape
        self._channel = channel
        self._control = control
        self._orders = socket.socket(fileno=shape["orders"])
        self._names: dict[int, str] = {}

    def hold(self, started: float, told: dict[str, Any], log_error: Callable[[dict[str, Any], str], None]) -> Any:
        """Report the snapshot, then serve; returns (channel, claim) in each fork, and nowhere else."""
        handling, ready = self._zygote.handling, self._zygote.channel.READY
        try:
            _run_before()
        except Exception as error:
            fault, text = handling.describe(error, "")
            log_error(fault, text)
            self._channel.send(ready, {**told, "ms": _since(started), "error": fault, "phase": BEFORE_ERROR})
            os._exit(BEFORE_EXIT)
        why = self._zygote.obstacles.obstacle((0, 1, 2, self._control, self._shape["orders"]))
        self._channel.send(ready, {**told, "ms": _since(started), "error": None, "obstacle": why})
        if why:
            os._exit(0)
        gc.collect()
        gc.freeze()
        return self._serve(log_error)

    def _serve(self, log_error: Callable[[dict[str, Any], str], None]) -> Any:
        wakeup, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = signal.signal(signal.SIGCHLD, lambda *_: None)
        before_fd = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        pid = os.getpid()
        while True:
            watched: list[Any] = [self._orders, self._control, wakeup]
            ready = select.select(watched, [], [])[0]
            if self._control in ready:  # Tule has hung up: it never speaks here
                os._exit(0)
            if wakeup in ready:
                os.read(wakeup, 4096)
                self._reap()
            if self._orders not in ready:
                continue
            data, fds, _, _ = socket.recv_fds(self._orders, MESSAGE_MAX, FDS_MAX)
            if not data:
                os._exit(0)
            message = json.loads(data)
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(before_fd)
                signal.signal(signal.SIGCHLD, before if before is not None else signal.SIG_DFL)
                for fd in (wakeup, woken, self._control):
                    os.close(fd)
                return self._restored(message, fds, pid, log_error)
            self._names[child] = message["id"]
            for fd in fds:
                os.close(fd)

    def _reap(self) -> None:
        while self._names:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            name = self._names.pop(pid, None)
            if name is None:
                continue
            if not self._shape["tree"]:
                import shutil

                shutil.rmtree(os.path.join(self._shape["scratch"], name), ignore_errors=True)
            self._say({"ended": name, "code": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._orders.send(json.dumps(message).encode())
        except OSError:
            os._exit(0)

    # -- in a fork

    def _restored(
        self, message: dict[str, Any], fds: list[int], parent: int, log_error: Callable[[dict[str, Any], str], None]
    ) -> Any:
        try:
            return self._become(message, fds, parent, log_error)
        except SystemExit as error:
            os._exit(error.code if isinstance(error.code, int) else 0)
        except BaseException as error:
            os.write(2, f"Tule could not restore this snapshot: {type(error).__name__}: {error}\n".encode())
            os._exit(70)

    def _become(
        self, message: dict[str, Any], fds: list[int], parent: int, log_error: Callable[[dict[str, Any], str], None]
    ) -> Any:
        zygote, shape = self._zygote, dict(self._shape)
        control, output = fds
        os.setpgid(0, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        shape["parent"] = parent
        place(zygote, shape, message)
        _reopen_files()
        self._say({"restored": message["id"]})
        self._orders.close()
        channel = zygote.channel.Channel(socket.socket(fileno=control))
        _, body = channel.receive()
        started = time.monotonic()
        claim, _ = zygote.channel.split(body)
        os.environ.update({name: claim["environment"][name] for name in RENEWED if name in claim["environment"]})
        _renew_randomness()
        hooks = time.monotonic()
        try:
            _run_after()
        except Exception as error:
            fault, text = zygote.handling.describe(error, "")
            log_error(fault, text)
            channel.send(zygote.channel.READY, {"ms": _since(started), "error": fault, "phase": AFTER_ERROR})
            os._exit(AFTER_EXIT)
        channel.send(
            zygote.channel.READY, {"ms": _since(started), "hooks_ms": _since(hooks), "error": None, "restored": True}
        )
        return channel, claim


def place(zygote: Any, shape: dict[str, Any], message: dict[str, Any]) -> None:
    """Surroundings of a fork's own, and its confinement."""
    confinement = zygote.confinement
    if shape["tree"]:
        _own_tmp(zygote, message["ephemeral_mb"])
        zygote.instance.fence(zygote, shape, ())
        confinement.become(0)
    else:
        base = shape["scratch"]
        shape["scratch"] = os.path.join(base, message["id"])
        os.mkdir(shape["scratch"], 0o700)
        if os.environ.get("TMPDIR") == base:
            os.environ["TMPDIR"] = shape["scratch"]
            tempfile: Any = sys.modules.get("tempfile")
            if tempfile is not None and tempfile.tempdir == base:
                tempfile.tempdir = None
        zygote.instance.fence(zygote, shape, [message["code"], base])
    confinement.die_with_parent(shape["parent"])
    zygote.instance.filter_calls(zygote, zygote.filter)


def _own_tmp(zygote: Any, size_mb: int) -> None:
    """A /tmp with what the snapshot's holds, in namespaces of this process alone."""
    uid, gid = os.geteuid(), os.getegid()
    old = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        zygote.namespaces.unshare(zygote.namespaces.CLONE_NEWUSER | zygote.namespaces.CLONE_NEWNS)
        zygote.confinement.prctl(zygote.confinement.PR_SET_DUMPABLE, 1)  # else the files below belong to root
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        zygote.tree.temporary(size_mb)
        if os.listdir(old):
            import shutil

            shutil.copytree(f"/proc/self/fd/{old}", "/tmp", symlinks=True, dirs_exist_ok=True)
    finally:
        os.close(old)


def _reopen_files() -> None:
    """Forks share a file's position; give this one its own wherever the file still has its name."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if fd < 3 or not stat.S_ISREG(os.fstat(fd).st_mode):
                continue
            import fcntl

            flags = fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK)
            at = os.lseek(fd, 0, os.SEEK_CUR)
            own = os.open(os.readlink(f"/proc/self/fd/{name}"), flags | os.O_CLOEXEC)
            os.lseek(own, at, os.SEEK_SET)
            os.dup2(own, fd, inheritable=os.get_inheritable(fd))
            os.close(own)
        except OSError:
            continue


def _renew_randomness() -> None:
    """What would repeat in every fork. (The kernel's, OpenSSL's and uuid's differ by themselves.)"""
    random.seed()
    numpy = sys.modules.get("numpy.random")
    seed = getattr(numpy, "seed", None)
    if callable(seed):
        seed()


def _since(started: float) -> float:
    return (time.monotonic() - started) * 1000
