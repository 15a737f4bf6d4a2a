"""Frames between Tule and one instance: length, kind, body. The standard library alone."""

import json
import socket
import struct
from typing import Any

HEADER = struct.Struct("<IB")
HEAD = struct.Struct("<I")

CLAIM, INVOKE, READY, DONE = b"CIRD"
"""Tule sends what to become and what to run; the instance says that it is ready, and what came out."""

NEWLINE = "\0\x1e"
"""Stands for a line's end inside one log event, in what an instance prints."""


class Channel:
    """A stream socket, read and written whole frames at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive(self) -> tuple[int, bytes]:
        """(kind, body); ends the process when Tule has hung up."""
        length, kind = HEADER.unpack(self._exactly(HEADER.size))
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        first = self._sock.recv(count) if count else b""
        if len(first) == count:
            return first
        if count and not first:
            raise SystemExit(0)
        pieces = bytearray(first)
        while len(pieces) < count:
            piece = self._sock.recv(min(count - len(pieces), 1 << 20))
            if not piece:
                raise SystemExit(0)
            pieces += piece
        return bytes(pieces)

    def send(self, kind: int, head: dict[str, Any], body: bytes = b"") -> None:
        text = json.dumps(head).encode()
        size = HEAD.size + len(text) + len(body)
        self._sock.sendall(HEADER.pack(size, kind) + HEAD.pack(len(text)) + text + body)


def split(body: bytes) -> tuple[dict[str, Any], bytes]:
    """(head, rest) of a frame's body."""
    (length,) = HEAD.unpack_from(body)
    end = HEAD.size + length
    return json.loads(body[HEAD.size : end]), body[end:]
