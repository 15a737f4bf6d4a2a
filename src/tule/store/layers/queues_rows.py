"""The rows of a queue: what a message is in the store, and under which keys.

A message that was never received is one row, its body, in the order of arrival. Receiving it adds a row of about
thirty bytes that says when it is visible again, ordered by that moment; a cursor says which arrivals have been
received. So a life (send, receive, delete) is four row operations, and a receive rewrites thirty bytes. A message
that has to wait before its first receive (a delay, a dead letter) has its visibility row from the start.
"""

import struct
from typing import Any, Final, NamedTuple

import msgspec

from tule.store.keys import pack

_ZERO: Final = pack(0)
_TAG: Final = _ZERO[:-8]
"""What precedes the eight bytes of an integer in a key, so that hot keys are made without packing their parts."""

MESSAGES: Final = "q"
"""The first part of every key; parts are short because every row carries them."""

FRESH: Final = 0
"""The body lies among the arrivals."""
SET_ASIDE: Final = 1
"""The body lies apart, because its message was not to be received in the order of arrival."""
MOVED: Final = 2
"""The visibility row was rewritten after a receipt handle was given out: `moved_key` says where it is now."""

_STATE: Final = struct.Struct(">IQQB")
_POINT: Final = struct.Struct(">QQ")

END_OF_IDS: Final = 2**63 - 1
"""Larger than any message's number."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was sent. `sender` is the identity that SQS shows as SenderId; times are service time in milliseconds."""

    sent_at: int
    message_id: str
    body: str
    md5: str
    sender: str = ""
    trace: str = ""
    attributes: dict[str, dict[str, Any]] | None = None
    group: str = ""
    source_arn: str = ""
    """The queue that a dead letter came from."""


class State(NamedTuple):
    """Where a message stands that was received before or must wait: the value of its visibility row, and its moment."""

    visible_at: int
    receives: int
    first_received: int
    sent_at: int
    flags: int


class Point(NamedTuple):
    """A place in the order of visibility: a moment, and a message's number among those of that moment."""

    at: int
    number: int


encode_message = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode


def encode_state(state: State) -> bytes:
    return _STATE.pack(state.receives, state.first_received, state.sent_at, state.flags)


def decode_state(visible_at: int, value: bytes) -> State:
    receives, first_received, sent_at, flags = _STATE.unpack(value)
    return State(visible_at, receives, first_received, sent_at, flags)


def encode_point(point: Point) -> bytes:
    return _POINT.pack(point.at, point.number)


def decode_point(value: bytes) -> Point:
    return Point(*_POINT.unpack(value))


class QueueRows:
    """The keys of one generation of one queue. A purge begins a new generation and leaves the old to the sweeper."""

    __slots__ = ("_bodies", "_moved", "_visibility", "counted", "cursor", "fresh_end", "generation", "root")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.root = pack(MESSAGES, generation)
        fresh = self.root + pack("b", FRESH)
        aside = self.root + pack("b", SET_ASIDE)
        self._bodies = (fresh + _TAG, aside + _TAG)
        self._visibility = self.root + pack("v") + _TAG
        self._moved = self.root + pack("m") + _TAG
        self.cursor = self.root + pack("c")
        self.counted = self.root + pack("d")
        self.fresh_end = self.body(END_OF_IDS, FRESH)

    def body(self, number: int, flags: int) -> bytes:
        return self._bodies[flags & SET_ASIDE] + number.to_bytes(8, "big")

    def visibility(self, at: int, number: int) -> bytes:
        return self._visibility + at.to_bytes(8, "big") + _TAG + number.to_bytes(8, "big")

    def moved(self, number: int) -> bytes:
        return self._moved + number.to_bytes(8, "big")


def number_of(key: bytes) -> int:
    """The message's number in a body's or visibility row's key."""
    return int.from_bytes(key[-8:], "big")


def point_of(key: bytes) -> Point:
    """The moment and number in a visibility row's key."""
    end = len(key) - 8 - len(_TAG)
    return Point(int.from_bytes(key[end - 8 : end], "big"), int.from_bytes(key[-8:], "big"))
