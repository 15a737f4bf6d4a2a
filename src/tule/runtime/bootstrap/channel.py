"""Frames between Tule and one instance: length, kind, body. The standard library alone."""

import json
import struct

HEADER = struct.Struct("<IB")
HEAD = struct.Struct("<I")

CLAIM, INVOKE, READY, DONE, LOG = b"CIRDL"
"""Tule sends what to become and what to run; the instance says that it is ready, what came out, and what to log."""


class Channel:
    """A stream socket, read and written whole frames at a time."""

    def __init__(self, sock):
        self._sock = sock

    def receive(self):
        """(kind, body); ends the process when Tule has hung up."""
        length, kind = HEADER.unpack(self._exactly(HEADER.size))
        return kind, self._exactly(length)

    def _exactly(self, count):
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

    def send(self, kind, head, body=b""):
        text = json.dumps(head).encode()
        size = HEAD.size + len(text) + len(body)
        self._sock.sendall(HEADER.pack(size, kind) + HEAD.pack(len(text)) + text + body)


def split(body):
    """(head, rest) of a frame's body."""
    (length,) = HEAD.unpack_from(body)
    end = HEAD.size + length
    return json.loads(body[HEAD.size : end]), body[end:]
