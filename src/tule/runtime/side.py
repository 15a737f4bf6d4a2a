"""Tule's end of the socket to an execution environment's supervisor: wishes out, news and descriptors in."""

import array
import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

MESSAGE_MAX: Final = 256 * 1024
_CREDENTIALS: Final = struct.Struct("3i")
_ROOM: Final = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * array.array("i").itemsize)
_SO_PASSCRED: Final = getattr(socket, "SO_PASSCRED", 0)
_SCM_CREDENTIALS: Final = getattr(socket, "SCM_CREDENTIALS", -1)


class Side:
    """Packets of JSON. The kernel says with each who sent it: that is how the process is known on the host."""

    def __init__(self, hear: Callable[[dict[str, Any], list[int]], None], lost: Callable[[], None]) -> None:
        self._hear = hear
        self._lost = lost
        self._connecting: deque[asyncio.Future[socket.socket]] = deque()
        self._sock: socket.socket | None = None
        self.pid = 0
        self.uid = -1

    def open(self) -> int:
        """Connect; the descriptor that the supervisor gets."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        if _SO_PASSCRED:
            ours.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)
        self._sock = ours
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(ours.fileno(), self._readable)
        return theirs.detach()

    @property
    def is_open(self) -> bool:
        return self._sock is not None

    def say(self, message: dict[str, Any]) -> None:
        """Its answers are news. A socket's buffer holds more than is ever said at once."""
        if self._sock is not None:
            try:
                self._sock.send(json.dumps(message).encode())
            except OSError:
                self.close()

    async def connect(self, port: int) -> socket.socket:
        """A connection to a listener inside the environment. Raises OSError."""
        if self._sock is None:
            raise ConnectionResetError("The execution environment has ended.")
        answer: asyncio.Future[socket.socket] = self._loop.create_future()
        self._connecting.append(answer)
        self.say({"do": "connect", "port": port})
        return await answer

    def _readable(self) -> None:
        while self._sock is not None:
            try:
                data, ancillary, _, _ = self._sock.recvmsg(MESSAGE_MAX, _ROOM)
            except BlockingIOError:
                return
            except OSError:
                data, ancillary = b"", []
            fds = self._take(ancillary)
            if not data:
                self.close()
                return
            message = json.loads(data)
            if "connected" in message or "refused" in message:
                self._connected(message, fds)
            else:
                self._hear(message, fds)

    def _take(self, ancillary: list[tuple[int, int, bytes]]) -> list[int]:
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            elif kind == _SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
                self.pid, self.uid, _ = _CREDENTIALS.unpack_from(data)
        return list(fds)

    def _connected(self, message: dict[str, Any], fds: list[int]) -> None:
        answer = self._connecting.popleft() if self._connecting else None
        if answer is None or answer.done():
            for fd in fds:
                os.close(fd)
        elif fds:
            sock = socket.socket(fileno=fds[0])
            sock.setblocking(False)
            answer.set_result(sock)
        else:
            answer.set_exception(ConnectionRefusedError(str(message.get("why"))))

    def peak_kb(self) -> int:
        """The most memory that the supervisor's programs have had; itself is ours and doesn't count."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            return sum(_peak_kb(child) for child in children)
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Hang up: the supervisor ends, and what it started with it."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self._loop.remove_reader(sock.fileno())
        sock.close()
        for answer in self._connecting:
            if not answer.done():
                answer.set_exception(ConnectionResetError("The execution environment has ended."))
        self._lost()


class Lines(asyncio.Protocol):
    """Lines of a pipe."""

    def __init__(self, say: Callable[[list[str]], None]) -> None:
        self._say = say
        self._rest = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole:
            self._say([line.decode("utf-8", "replace") for line in whole])

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._rest:
            self._say([self._rest.decode("utf-8", "replace")])
        if not self.ended.done():
            self.ended.set_result(None)


def _peak_kb(pid: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0
