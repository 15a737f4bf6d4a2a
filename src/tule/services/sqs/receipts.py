"""Receipt handles: which message, in which generation of which queue, received when and hidden until when.

They are opaque to callers. A checksum over the queue's identity tells one of this queue from any other text.
"""

import struct
import zlib
from binascii import a2b_base64, b2a_base64
from typing import Final, NamedTuple

from tule.services.sqs.errors import invalid_receipt
from tule.store.layers.queues import Claim
from tule.store.transaction import ShardKey

_HEAD: Final = b"\x01\x01\x01"
_FORMAT: Final = struct.Struct(">3sQQQQI")
_WHOLE: Final = struct.Struct(">3sQQQQII")


class Receipt(NamedTuple):
    """What a handle says. Times are service time in milliseconds."""

    generation: int
    claim: Claim
    received_at: int


def identity_of(shard: ShardKey) -> int:
    """What handles of one queue are checked with."""
    return zlib.crc32("/".join(shard).encode())


class Handles:
    """The handles of one answer; each is one that no earlier receive of its message gave."""

    __slots__ = ("_generation", "_identity", "_received_at")

    def __init__(self, identity: int, generation: int, received_at: int) -> None:
        self._identity = identity
        self._generation = generation
        self._received_at = received_at

    def of(self, number: int, visible_at: int, receives: int) -> str:
        body = _FORMAT.pack(_HEAD, self._generation, number, visible_at, self._received_at, receives & 0xFFFFFFFF)
        checksum = zlib.crc32(body, self._identity).to_bytes(4, "big")
        return b2a_base64(body + checksum, newline=False).decode("ascii")


def parse(identity: int, handle: str) -> Receipt:
    """What `handle` says; refused if it is no handle of this queue."""
    try:
        raw = a2b_base64(handle, strict_mode=True)
    except ValueError:
        raise invalid_receipt(handle) from None
    if len(raw) != _WHOLE.size:
        raise invalid_receipt(handle)
    head, generation, number, visible_at, received_at, _receives, checksum = _WHOLE.unpack(raw)
    if head != _HEAD or checksum != zlib.crc32(raw[:-4], identity):
        raise invalid_receipt(handle)
    return Receipt(generation, Claim(number, visible_at), received_at)
