"""Frames between Tule and one instance: length, kind, body. The standard library alone."""

import json
import socket
import struct
from typing import Any

HEADER = struct.Struct("<IB")
HEAD = struct.Struct("<I")

CLAIM, INVOKE, READY, DONE = b"CIRD"
"""Tule sends what to become and what to run; the instance says that it is ready, and what came out."""

READ_BYTES = 64 * 1024

NEWLINE = "\0\x1e"
"""Stands for a line's end inside one log event, in what an instance prints."""


class Channel:
    """A stream socket, read and written whole frames at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive(self) -> tuple[int, bytes]:
        """(kind, body); ends the process when Tule has hung up. Most frames come whole in one read, and none comes
        before the last one is answered, so nothing is ever left over."""
        data = self._sock.recv(READ_BYTES)
        if len(data) < HEADER.size:
            data = self._rest(data, HEADER.size)
        length, kind = HEADER.unpack_from(data)
        if len(data) < HEADER.size + length:
            data = self._rest(data, HEADER.size + length)
        return kind, data[HEADER.size :]

    def _rest(self, first: bytes, count: int) -> bytes:
        pieces = bytearray(first)
        while len(pieces) < count:
            piece = self._sock.recv(min(count - len(pieces), 1 << 20))
            if not piece:
                raise SystemExit(0)
            pieces += piece
        return bytes(pieces)

    def send(self, kind: int, head: dict[str, Any], body: bytes = b"") -> None:
        self.send_text(kind, json.dumps(head).encode(), body)

    def send_text(self, kind: int, head: bytes, body: bytes = b"") -> None:
        """The same for a head that is JSON already."""
        size = HEAD.size + len(head) + len(body)
        self._sock.sendall(HEADER.pack(size, kind) + HEAD.pack(len(head)) + head + body)


def split(body: bytes) -> tuple[dict[str, Any], bytes]:
    """(head, rest) of a frame's body."""
    (length,) = HEAD.unpack_from(body)
    end = HEAD.size + length
    return json.loads(body[HEAD.size : end]), body[end:]
