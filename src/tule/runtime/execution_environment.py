"""Tule's end of one instance: frames to and from it, what it prints, and how it ended."""

import asyncio
import os
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, cast

import msgspec

from tule.runtime.contract import FunctionVersion

CLAIM, INVOKE, READY, DONE, CHUNK, COMPILED = b"CIRDKV"
_HEADER: Final = struct.Struct("<IB")
_HEAD: Final = struct.Struct("<I")

FRAME_MAX_BYTES: Final = 64 * 1024 * 1024
"""What an instance may send at once (ours): more than any answer that is not refused anyway."""

LINE_MAX_BYTES: Final = 256 * 1024
"""AWS: the largest log event; longer lines are cut into several."""

EARLY_LINES_MAX: Final = 1000
"""Lines kept between two requests (ours)."""

PIDFD_SIGNAL_PROCESS_GROUP: Final = 4
"""linux/pidfd.h, since Linux 6.9."""

READ_BYTES: Final = 64 * 1024
ENDED_WITHIN_S: Final = 2.0


_NEWLINE: Final = "\0\x1e"
"""What the bootstraps print for a line's end inside one event."""


class InstanceGoneError(Exception):
    """The instance ended before it answered."""


class OrphanedError(Exception):
    """The instance ended before it was ready because the process that it is a fork of was killed: another may do."""


class Instance(asyncio.Protocol):
    """One execution environment. Serves one request at a time."""

    def __init__(self, name: str, home: str, started_ms: int, lost: Callable[["Instance"], None]) -> None:
        self.name = name
        self.home = home
        """The zygote it comes from."""
        self.started_ms = started_ms
        self.version: FunctionVersion | None = None
        self.log_stream = ""
        self.expires_ms = 0
        self.pid = 0
        self.invocations = 0
        self.idle_since_s = 0.0
        self.retired = False
        self.provisioned = False
        """Started ahead of requests, and kept."""
        self.restored = False
        """Came of a snapshot."""
        self.origin = False
        """Holds a snapshot and serves nobody."""
        self.frozen = False
        self.pidfd = -1
        """Names the process group of the function, whichever process namespace it is in; -1 where the kernel can't."""
        self.rest: asyncio.Future[None] | None = None
        """Not done while extensions are busy after the answer."""
        self.alive = True
        self.leaving = False
        self.orphaned = False
        """Whether it ended with its zygote or the runner."""
        """Serves nobody any more, while its extensions have the time to end that AWS gives them."""
        self.on_chunk: Callable[[str, bytes], None] | None = None
        """Takes what a function streams: its content type, with the first chunk, and the bytes."""
        self.on_compiled: Callable[[dict[str, Any], bytes], None] | None = None
        """Takes what it has compiled, once."""
        self.early: list[str] = []
        """What it printed while nobody was there to hear it."""
        self._listener: Callable[[list[str]], None] | None = None
        self._lost = lost
        self._buffer = bytearray()
        self._line = b""
        self._answer: asyncio.Future[tuple[dict[str, Any], bytes]] | None = None
        self._output = -1
        self.exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> Sequence[int]:
        """Connect; the descriptors that the instance's process gets: its frames and its output."""
        self._loop = asyncio.get_running_loop()
        output = self._open_output()
        return await self._open_frames(), output

    def _open_output(self) -> int:
        self._output, output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._printed)
        return output

    async def _open_frames(self) -> int:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._sock = ours
        await self._loop.create_connection(lambda: self, sock=ours)
        return theirs.detach()

    # -- speaking

    async def ask(self, kind: int, head: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """Send a frame and wait for the one that answers it. Raises `InstanceGoneError`."""
        if not self.alive:
            raise InstanceGoneError
        self._answer = self._loop.create_future()
        text = msgspec.json.encode(head)
        size = _HEAD.size + len(text) + len(body)
        self._send(b"".join((_HEADER.pack(size, kind), _HEAD.pack(len(text)), text, body)))
        try:
            return await self._answer
        finally:
            self._answer = None

    def _send(self, data: bytes) -> None:
        """At once, ahead of what else the loop has to do: the transport would wait for the end of its round."""
        sent = 0
        if not self._transport.get_write_buffer_size():
            with suppress(OSError):  # no room, or nobody there: the transport meets the same and deals with it
                sent = self._sock.send(data)
        if sent < len(data):
            self._transport.write(data[sent:])

    def pause(self) -> None:
        """Read no more frames: what it streams has nowhere to go yet."""
        if self.alive:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self.alive:
            self._transport.resume_reading()

    async def exit_status(self) -> int | None:
        """How it ended: an exit code, or a signal's number negated; None if the runner doesn't say in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDED_WITHIN_S):
                return await asyncio.shield(self.exit_code)
        return None

    def leave(self, kill: Callable[[], None]) -> None:
        """End, now: `kill` ends its processes, whatever they do."""
        kill()
        self.close()

    def close(self) -> None:
        """Hang up: a process between two requests ends by itself."""
        if self.alive:
            self._transport.close()

    # -- rest

    def freeze(self) -> None:
        """Let it not run until `thaw`: between two requests a function has no time of its own."""
        if self.version is not None and self.version.debug_port:
            return  # its debugger goes on asking
        self.frozen = True  # said of one that can't be, too: nobody need try again
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """To the group of the function's processes, at once: no other process of ours need wake up for it."""
        if self.pidfd < 0:
            return
        for flags in (PIDFD_SIGNAL_PROCESS_GROUP, 0):
            try:
                signal.pidfd_send_signal(self.pidfd, number, None, flags)
            except ProcessLookupError:
                return  # it has ended, and the connection is about to say so
            except OSError:
                continue  # kernels before 6.9 know single processes only
            return

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is no subclass

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        if not buffer and len(data) >= _HEADER.size:
            length, kind = _HEADER.unpack_from(data)
            if len(data) == _HEADER.size + length:  # one whole frame, as nearly always
                if not self._frame(kind, data[_HEADER.size :]):
                    self._transport.abort()
                return
        buffer += data
        while len(buffer) >= _HEADER.size:
            length, kind = _HEADER.unpack_from(buffer)
            if length > FRAME_MAX_BYTES:
                self._transport.abort()
                return
            end = _HEADER.size + length
            if len(buffer) < end:
                return
            body = bytes(memoryview(buffer)[_HEADER.size : end])
            del buffer[:end]
            if not self._frame(kind, body):
                self._transport.abort()
                return

    def _frame(self, kind: int, body: bytes) -> bool:
        """Take a frame in; False if it makes no sense, for a function may write what it likes."""
        try:
            (length,) = _HEAD.unpack_from(body)
            head = msgspec.json.decode(body[_HEAD.size : _HEAD.size + length])
        except (struct.error, ValueError):
            return False
        if not isinstance(head, dict):
            return False
        self.drain()
        if kind == CHUNK:
            if self.on_chunk is not None:
                self.on_chunk(str(head.get("type") or ""), body[_HEAD.size + length :])
        elif kind == COMPILED:
            if self.on_compiled is not None:
                self.on_compiled(head, body[_HEAD.size + length :])
                self.on_compiled = None
        elif kind in (READY, DONE) and self._answer is not None and not self._answer.done():
            self._answer.set_result((head, body[_HEAD.size + length :]))
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        self.alive = False
        self._printed()
        self._finish_line()
        if self._output >= 0:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = -1
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        for future in (self._answer, self.settled):
            if future is not None and not future.done():
                future.set_exception(InstanceGoneError())
                future.exception()  # whoever waits gets it; that nobody does is no news
        self._lost(self)

    # -- what it prints

    def drain(self) -> None:
        """Take in what was printed before the frame at hand was sent."""
        self._printed()
        self._finish_line()

    def _printed(self) -> None:
        if self._output < 0:
            return
        lines: list[str] = []
        for _ in range(64):
            try:
                data = os.read(self._output, READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                self._loop.remove_reader(self._output)
                break
            *whole, self._line = (self._line + data).split(b"\n")
            while len(self._line) > LINE_MAX_BYTES:
                whole.append(self._line[:LINE_MAX_BYTES])
                self._line = self._line[LINE_MAX_BYTES:]
            lines += map(_event, whole)
        if lines:
            self._say(lines)

    def _finish_line(self) -> None:
        if self._line:
            line, self._line = self._line, b""
            self._say([_event(line)])

    def _say(self, lines: list[str]) -> None:
        if self._listener is not None:
            self._listener(lines)
        elif len(self.early) < EARLY_LINES_MAX:
            self.early += lines

    def listen(self, listener: Callable[[list[str]], None] | None) -> None:
        """From here on what it prints goes to `listener`, first what nobody heard."""
        self._listener = listener
        if listener is not None and self.early:
            early, self.early = self.early, []
            listener(early)


def _event(line: bytes) -> str:
    """A printed line as a log event."""
    return line.decode("utf-8", "replace").replace(_NEWLINE, "\n")
