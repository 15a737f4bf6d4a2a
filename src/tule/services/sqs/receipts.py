"""Receipt handles: which message, in which generation of which queue, received when and hidden until when.

They are opaque to callers. A checksum over the queue's identity tells one of this queue from any other text.
"""

import binascii
import struct
import zlib
from base64 import b64decode, b64encode
from typing import Final, NamedTuple

from tule.services.sqs.errors import invalid_receipt
from tule.store.layers.queues import Claim
from tule.store.transaction import ShardKey

_HEAD: Final = b"\x01\x01\x01"
_FORMAT: Final = struct.Struct(">3sQQQQI")
_SUM: Final = struct.Struct(">I")
_BYTES: Final = _FORMAT.size + _SUM.size


class Receipt(NamedTuple):
    """What a handle says. Times are service time in milliseconds."""

    generation: int
    claim: Claim
    received_at: int


def _identity(shard: ShardKey) -> int:
    return zlib.crc32("/".join(shard).encode())


class Handles:
    """The handles of one answer; each is one that no earlier receive of its message gave."""

    __slots__ = ("_generation", "_identity", "_received_at")

    def __init__(self, shard: ShardKey, generation: int, received_at: int) -> None:
        self._identity = _identity(shard)
        self._generation = generation
        self._received_at = received_at

    def of(self, number: int, visible_at: int, receives: int) -> str:
        body = _FORMAT.pack(_HEAD, self._generation, number, visible_at, self._received_at, receives & 0xFFFFFFFF)
        return b64encode(body + _SUM.pack(zlib.crc32(body, self._identity))).decode()


def parse(shard: ShardKey, handle: str) -> Receipt:
    """What `handle` says; refused if it is no handle of this queue."""
    try:
        raw = b64decode(handle, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_receipt(handle) from None
    if len(raw) != _BYTES:
        raise invalid_receipt(handle)
    body, (checksum,) = raw[:-4], _SUM.unpack(raw[-4:])
    head, generation, number, visible_at, received_at, _receives = _FORMAT.unpack(body)
    if head != _HEAD or checksum != zlib.crc32(body, _identity(shard)):
        raise invalid_receipt(handle)
    return Receipt(generation, Claim(number, visible_at), received_at)
