"""Tule's end of the runner: starts it, speaks to it, notices when it is gone."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

MESSAGE_MAX: Final = 256 * 1024
HELLO_WITHIN_S: Final = 20.0
"""How long a runner may take to start (ours): beyond it the host is broken."""

ENDS_WITHIN_S: Final = 5.0

_log = structlog.get_logger("tule.runner")


class RunnerLink:
    """One runner process. Messages are JSON in packets, with the descriptors they speak of."""

    def __init__(
        self, settings: dict[str, Any], hear: Callable[[dict[str, Any], list[int]], None], lost: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._hear = hear
        self._lost = lost
        self._waiting: deque[tuple[bytes, Sequence[int]]] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._open = False
        self.hello: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the process and wait for its first words. Raises `OSError` or `TimeoutError` if there are none."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._sock, self._loop = ours, loop
        settings = json.dumps({**self._settings, "parent": os.getpid()})
        command = [sys.executable, "-P", "-m", "tule.runtime.runner", str(theirs.fileno()), settings]
        try:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - ourselves; spawning takes a millisecond
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": "/"},
                start_new_session=True,
            )
        finally:
            theirs.close()
        self._open = True
        self._said_hello = loop.create_future()
        loop.add_reader(ours.fileno(), self._readable)
        async with asyncio.timeout(HELLO_WITHIN_S):
            self.hello = await self._said_hello

    async def stop(self) -> None:
        """Hang up, which ends everything below the runner, and wait for it."""
        self._close()
        process = self._process
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, ENDS_WITHIN_S)
            return
        process.kill()
        await asyncio.to_thread(process.wait)

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Say something; `fds` are closed here once they are on their way."""
        self._waiting.append((json.dumps(message).encode(), fds))
        if len(self._waiting) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            data, fds = self._waiting[0]
            if self._open:
                try:
                    socket.send_fds(self._sock, [data], list(fds))
                except BlockingIOError:
                    self._loop.add_writer(self._sock.fileno(), self._flush)
                    return
                except OSError:
                    pass  # it is gone: the reader is about to find out, and closing the descriptors tells the rest
            self._waiting.popleft()
            for fd in fds:
                os.close(fd)
        if self._open:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            while True:
                data, fds, _, _ = socket.recv_fds(self._sock, MESSAGE_MAX, 1)
                if not data:
                    break
                message = json.loads(data)
                if "hello" in message:
                    self._said_hello.set_result(message)
                else:
                    self._hear(message, fds)
        except BlockingIOError:
            return
        except OSError as error:
            _log.warning("runner unreachable", error=str(error))
        if self._open:
            self._close()
            self._gone()

    def _gone(self) -> None:
        if not self._said_hello.done():
            self._said_hello.set_exception(ChildProcessError("The runner ended before it said hello."))
        process = self._process
        if process is not None:
            process.terminate()  # it tidies up after what is dead or dying
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            if process.returncode is None:
                process.kill()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
            _log.error("runner ended", pid=process.pid, code=process.returncode)
        self._lost()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
            self._flush()
