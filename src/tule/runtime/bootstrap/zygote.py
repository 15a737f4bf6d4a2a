# ruff: noqa: PTH100, PTH118, PTH120, BLE001, S108, S606, ARG002
# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""A process that holds an interpreter and the bootstrap, and becomes instances by forking.

Run as `python -I -S zygote.py SETTINGS`, by any Python from 3.10 on. It holds nothing that could shadow a package's own
modules: what it needs of ours is loaded under no importable name.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

MESSAGE_MAX = 256 * 1024
FDS_MAX = 4
PACKAGE = "tule bootstrap"


def load(name: str) -> types.ModuleType:
    """A sibling file, as a module of a package that no `import` statement can name."""
    if PACKAGE not in sys.modules:
        package = types.ModuleType(PACKAGE)
        package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
        sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.{name}")


class Zygote:
    """Serves the runner: parks instances, starts programs, ends them, says when they ended."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.confinement: Any = load("confinement")
        self.namespaces: Any = load("namespaces")
        self.tree: Any = load("tree")
        self.network: Any = load("network")
        self.landlock: Any = load("landlock")
        self.seccomp: Any = load("seccomp")
        self.filter, self.origin_filter = self._filters()
        self.channel: Any = load("channel")
        self.context = load("context")
        self.handling = load("handling")
        self.imports: Any = load("imports")
        self.instance: Any = load("instance")
        self.obstacles: Any = load("obstacles")
        self.supervisor: Any = load("supervisor")
        self.snapshot: Any = load("snapshot")
        self._sock = socket.socket(fileno=settings["fd"])
        self._pids: dict[int, str] = {}
        self._confined: dict[str, int] = {}
        self._shapes: dict[str, dict[str, Any]] = {}
        self._wakeup, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.watched: list[Any] = [self._sock, self._wakeup]
        self._forks: Any = load("forks").Forks(self)
        self._nests_of: dict[str, Any] = {}
        self._firsts: set[int] = set()
        self.egress: Any = None
        if settings["egress"] >= 0:
            self.egress = socket.socket(fileno=settings["egress"])
        self._sock.set_inheritable(False)
        self._nests: Any = self._prepare_nests() if settings["tree"] else None

    def _filters(self) -> tuple[bytes, bytes]:
        """The syscall filters of instances, and of those that are forked: each fork makes a /tmp of its own."""
        if not self.settings["seccomp"]:
            return b"", b""
        machine = os.uname().machine
        more = ("unshare", "mount", "umount2")
        return self.seccomp.program(machine), self.seccomp.program(machine, more)

    def _prepare_nests(self) -> Any:
        spaces = self.namespaces
        kinds = spaces.CLONE_NEWNS | spaces.CLONE_NEWIPC | spaces.CLONE_NEWUTS
        if self.egress is not None:
            self.egress.set_inheritable(False)
            kinds |= spaces.CLONE_NEWNET
        return spaces.Nests(kinds)

    def preload(self) -> None:
        """Modules of the SDK that take long, for packages that bring none of their own."""
        if self.settings["sdk"] and self.settings["preload"]:
            sys.path.append(self.settings["sdk"])
            for name in self.settings["preload"]:
                try:
                    __import__(name)
                except ImportError:
                    break

    def run(self) -> NoReturn:
        self.confinement.reset_signals()  # here, once: forks have but the next line's to undo
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        load("rehearsal").rehearse(self)
        gc.collect()
        gc.freeze()
        self.say({"ready": os.getpid()})
        while True:
            ready: list[Any] = select.select(self.watched, [], [])[0]
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
            if self._sock in ready:
                self._obey()
            if len(self.watched) > 2:
                self._forks.hear(ready)
            self._reap()

    def say(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._sock, [json.dumps(message).encode()], fds)
        except OSError:
            os._exit(0)

    def _obey(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, MESSAGE_MAX, FDS_MAX)
        except OSError:
            os._exit(0)  # the runner is gone
        for fd in fds:  # else the first processes of nests would inherit what is an instance's alone
            os.set_inheritable(fd, False)
        if not data:
            os._exit(0)
        message = json.loads(data)
        try:
            getattr(self, "_do_" + message["do"])(message, fds)
        except Exception as error:
            self.say({"failed": message.get("id", ""), "why": f"{type(error).__name__}: {error}"})
        finally:
            for fd in fds:
                os.close(fd)

    def _shape(self, message: dict[str, Any]) -> dict[str, Any]:
        """What an instance must know of where it is."""
        common = ("tree", "groups", "landlock", "sdk", "readable")
        shape = {name: self.settings[name] for name in common}
        if not message.get("group", True):
            shape["groups"] = {}
        scratch = os.path.join(self.settings["scratch"], message["id"])
        return {**shape, "id": message["id"], "uid": message["uid"], "scratch": scratch, "parent": os.getpid()}

    def _fork(self, message: dict[str, Any], become: Callable[[dict[str, Any]], None]) -> None:
        shape = self._shape(message)
        nest = None
        if self._nests is not None:
            nest = self._nests.begin()
        pid = self._fork_into(nest)
        if pid:
            self._pids[pid] = message["id"]
            if nest is not None:
                self._nests_of[message["id"]] = nest
            self._shapes[message["id"]] = shape
            self.say_started(message["id"], pid)
            return
        try:
            signal.set_wakeup_fd(-1)
            self.confinement.die_with_parent(shape["parent"])
            if nest is not None:
                self._nests.furnish()
                self.instance.furnish(self, shape, nest.pidfd)
            become(shape)
        except SystemExit as error:
            os._exit(error.code if isinstance(error.code, int) else 0)
        except BaseException as error:
            os.write(2, f"Tule could not set up this execution environment: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(70)

    def _fork_into(self, nest: Any) -> int:
        """Fork, into a nest if there is one; this process stays where it is."""
        if nest is None:
            return os.fork()
        self._firsts.add(nest.pid)
        try:
            pid = os.fork()
        except OSError:
            self._nests.leave()
            nest.end()
            nest.close()
            raise
        if pid:
            self._nests.leave()
        return pid

    def say_started(self, name: str, pid: int) -> None:
        """With a descriptor by which Tule, in another process namespace, can freeze and thaw the process."""
        told = {"started": name, "pid": pid}
        try:
            pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self.say(told)
            return
        self.say(told, [pidfd])
        os.close(pidfd)

    def _do_park(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        control, output = fds
        self._fork(message, lambda shape: self.instance.run(self, shape, control, output))

    def _do_snapshot(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        """Start an instance that others are to be forks of."""
        control, output = fds
        orders = self._forks.open(message["id"])
        try:
            self._fork(message, lambda shape: self.instance.run(self, {**shape, "orders": orders}, control, output))
        finally:
            os.close(orders)

    def _do_restore(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        self._forks.order(message, fds)

    def _do_program(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        """Start a program that speaks frames on descriptor 3, before or (with "claim") after its function is known."""
        control, output = fds
        confined, held = os.pipe2(os.O_CLOEXEC)

        def become(shape: dict[str, Any]) -> None:
            instance = self.instance
            instance.prepare(self, shape, output)
            claim, code = message.get("claim"), ""
            if claim is not None:
                code = instance.settle(self, shape, claim)
            instance.confine(self, shape, claim or {}, code)
            if control != 3:
                os.dup2(control, 3)
            os.set_inheritable(3, True)
            self.confinement.close_others({0, 1, 2, 3})
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.chdir("/tmp" if shape["tree"] else shape["scratch"])
            os.execve(message["argv"][0], message["argv"], message["env"])

        self._fork(message, become)
        os.close(held)
        self._confined[message["id"]] = confined

    def _do_supervise(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        """Park a supervisor: it starts programs once their function is known."""
        self._fork(message, lambda shape: self.supervisor.run(self, shape, fds))

    def _do_settle(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        """Put a function's code into the mount namespace of a program that was started before it was known."""
        spaces, instance = self.namespaces, self.instance
        self._await_confined(message["id"])
        pid = next(pid for pid, name in self._pids.items() if name == message["id"])
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        other = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            spaces.join(other, spaces.CLONE_NEWNS)
            try:
                instance.settle(self, self._shapes[message["id"]], message["claim"])
            finally:
                spaces.join(own, spaces.CLONE_NEWNS)
        finally:
            os.close(own)
            os.close(other)
        self.say({"settled": message["id"]})

    def _await_confined(self, name: str) -> None:
        """Until a program has namespaces of its own, its mounts are the zygote's: the pipe ends when it has."""
        pipe = self._confined.pop(name, None)
        if pipe is not None:
            os.read(pipe, 1)
            os.close(pipe)

    def _do_kill(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        self._forks.kill(message["id"])
        if message["id"] in self._nests_of:
            self._nests_of[message["id"]].end()
            return
        for pid, name in self._pids.items():
            if name == message["id"]:
                for target in (-pid, pid):
                    try:
                        os.kill(target, signal.SIGKILL)
                    except (ProcessLookupError, PermissionError):
                        continue

    def _reap(self) -> None:
        while self._pids or self._firsts:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._firsts.discard(pid)
            name = self._pids.pop(pid, None)
            if name is not None:
                self._await_confined(name)
                nest = self._nests_of.pop(name, None)
                if nest is not None:
                    nest.end()
                    nest.close()
                self._shapes.pop(name, None)
                self.say({"ended": name, "code": os.waitstatus_to_exitcode(status)})


class Modules:
    """What `instance.serve` needs of a zygote, without being one."""

    def __init__(self) -> None:
        self.channel: Any = load("channel")
        self.context = load("context")
        self.handling = load("handling")
        self.imports: Any = load("imports")
        self.snapshot: Any = load("snapshot")


def stand_alone(fd: int) -> None:
    """Serve one function in this process, which was started and confined for it."""
    import time

    modules = Modules()
    instance: Any = load("instance")
    channel = modules.channel.Channel(socket.socket(fileno=fd))
    _, body = channel.receive()
    started = time.monotonic()
    claim, _ = modules.channel.split(body)
    code = claim["environment"]["LAMBDA_TASK_ROOT"]
    sys.path[:0] = [code, *claim["modules"]]
    sys.path.append(claim["sdk"])
    sys.argv[:] = [""]
    os.chdir(code)
    instance.serve(modules, channel, claim, started)


def main() -> None:
    settings = json.loads(sys.argv[1])
    zygote = Zygote(settings)
    zygote.confinement.die_with_parent(settings["parent"])
    zygote.preload()
    zygote.run()


if __name__ == "__main__":
    main()
