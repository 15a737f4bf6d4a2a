# ruff: noqa: PTH110, PTH112, PTH113, PTH118, PTH208
# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""The first process of an execution environment whose runtime is a program: it starts that program and the extensions
inside the sandbox, says how they ended, and opens sockets there for Tule, which may live in another network.

Tule speaks with it in packets of JSON on a socket of their own; the programs speak HTTP with Tule on the listener that
it makes. It is confined like them before it starts them, so what they are refused it is refused.
"""

import json
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any, NoReturn

MESSAGE_MAX = 256 * 1024
BACKLOG = 64

NOT_FOR_EXTENSIONS = frozenset(
    {
        "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_EXEC_WRAPPER",
        "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_HANDLER",
    }
)  # fmt: skip
"""AWS: the runtime's variables that extensions don't see."""


def run(zygote: Any, shape: dict[str, Any], fds: Sequence[int]) -> NoReturn:
    """The whole life of a supervisor. `fds`: Tule's socket, the output, and the frames of a managed runtime."""
    side, output, *frames = fds
    instance = zygote.instance
    instance.prepare(zygote, shape, output)
    kept = {side, *frames, 0, 1, 2}
    zygote.confinement.close_others(kept if zygote.egress is None else {*kept, zygote.egress.fileno()})
    tule = socket.socket(fileno=side)
    message = json.loads(tule.recv(MESSAGE_MAX) or _end())
    claim = message["claim"]
    code = instance.settle(zygote, shape, claim)
    if zygote.egress is not None:
        zygote.egress.close()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    instance.confine(zygote, shape, claim, code)
    Supervisor(tule, shape, claim, code, frames).serve(listener, message["runtime"])


def _end() -> NoReturn:
    os._exit(0)


class Supervisor:
    """Starts, watches, tells."""

    def __init__(
        self, tule: socket.socket, shape: dict[str, Any], claim: dict[str, Any], code: str, frames: Sequence[int]
    ) -> None:
        self._tule = tule
        self._frames = frames
        self._pids: dict[int, str] = {}
        self._variables: dict[str, str] = dict(claim["environment"])
        self._opt = "/opt" if shape["tree"] else str(claim.get("opt") or "")
        if not shape["tree"]:
            self._variables.setdefault("TMPDIR", shape["scratch"])
        os.environ.clear()
        os.environ.update(self._variables)
        time.tzset()
        os.chdir(code)
        self._wakeup, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)

    def serve(self, listener: socket.socket, runtime: dict[str, Any]) -> NoReturn:
        """Start what there is to start, then obey until Tule hangs up."""
        port = listener.getsockname()[1]
        self._variables["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{port}"
        extensions = self._extensions()
        heard, printed = os.pipe2(os.O_CLOEXEC)
        self._say({"listening": port, "extensions": extensions}, [listener.fileno(), heard])
        listener.close()
        os.close(heard)
        for name in extensions:
            self._start_extension(name, printed)
        os.close(printed)
        if not extensions:
            self._start_runtime(runtime)
        while True:
            watched: list[Any] = [self._tule, self._wakeup]
            ready = select.select(watched, [], [])[0]
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                self._reap()
            if self._tule in ready:
                self._obey(runtime)

    def _say(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._tule, [json.dumps(message).encode()], fds)
        except OSError:
            _end()

    def _obey(self, runtime: dict[str, Any]) -> None:
        data = self._tule.recv(MESSAGE_MAX)
        if not data:
            _end()
        message = json.loads(data)
        if message["do"] == "start":
            self._start_runtime(runtime)
        elif message["do"] == "connect":
            self._connect(message["port"])
        elif message["do"] == "signal":
            for pid, name in self._pids.items():
                if name == message["who"]:
                    os.kill(pid, message["signal"])

    def _connect(self, port: int) -> None:
        """A connection to what listens in here, for Tule's telemetry."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.connect(("127.0.0.1", port))
        except OSError as error:
            self._say({"refused": port, "why": str(error)})
        else:
            self._say({"connected": port}, [sock.fileno()])
        finally:
            sock.close()

    # -- programs

    def _extensions(self) -> list[str]:
        folder = os.path.join(self._opt, "extensions")
        if not self._opt or not os.path.isdir(folder):
            return []
        return sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))

    def _start_extension(self, name: str, printed: int) -> None:
        path = os.path.join(self._opt, "extensions", name)
        variables = {key: value for key, value in self._variables.items() if key not in NOT_FOR_EXTENSIONS}
        actions = [(os.POSIX_SPAWN_DUP2, printed, 1), (os.POSIX_SPAWN_DUP2, printed, 2)]
        try:
            pid = os.posix_spawn(path, [path], variables, file_actions=actions, setsigdef=[signal.SIGPIPE])
        except OSError as error:
            self._say({"exited": name, "launch": f"fork/exec {path}: {_words(error)}"})
        else:
            self._pids[pid] = name

    def _start_runtime(self, runtime: dict[str, Any]) -> None:
        """The first of the programs that exists. Frames of a managed runtime go on descriptor 3."""
        path = next((path for path in runtime["programs"] if os.path.exists(path)), "")
        if not path:
            told = f"Couldn't find valid bootstrap(s): [{' '.join(runtime['programs'])}]"
            self._say({"exited": "", "launch": told})
            return
        actions = []
        for fd in self._frames:
            os.set_inheritable(fd, True)
            actions.append((os.POSIX_SPAWN_DUP2, fd, 3))
        argv = [path, *runtime["arguments"]]
        try:
            pid = os.posix_spawn(path, argv, self._variables, file_actions=actions, setsigdef=[signal.SIGPIPE])
        except OSError as error:
            self._say({"exited": "", "launch": f"fork/exec {path}: {_words(error)}"})
            return
        finally:
            for fd in self._frames:
                os.set_inheritable(fd, False)
        self._pids[pid] = ""

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            name = self._pids.pop(pid, None)
            if name is not None:
                self._say({"exited": name, "code": os.waitstatus_to_exitcode(status)})


def _words(error: OSError) -> str:
    """An error as Go words it, in which AWS's supervisor is written."""
    return (error.strerror or str(error)).lower()
