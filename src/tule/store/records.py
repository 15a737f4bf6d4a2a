"""The store's own rows, as they are kept."""

import msgspec

from tule.store.transaction import ShardKey


class DueRecord(msgspec.Struct, frozen=True, array_like=True):
    """A timer: (timer, key) on `shard`, with what it carries and the trace it belongs to."""

    shard: ShardKey
    timer: str
    key: bytes
    payload: bytes
    trace: str
    attempts: int = 0


class OutboxRecord(msgspec.Struct, frozen=True, array_like=True):
    """A message on its way from one shard to a receiver on another."""

    source: ShardKey
    shard: ShardKey
    receiver: str
    message: bytes
    trace: str


class FateRecord(msgspec.Struct, frozen=True, array_like=True):
    """A message that was dropped, when and why, whole, so that it can be sent again by hand."""

    at: int
    reason: str
    letter: OutboxRecord


class ClockRecord(msgspec.Struct, frozen=True, array_like=True):
    """What the service clock goes on from."""

    offset_ms: int
    paused_at: int | None


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_due = msgspec.msgpack.Decoder(DueRecord).decode
decode_outbox = msgspec.msgpack.Decoder(OutboxRecord).decode
decode_fate = msgspec.msgpack.Decoder(FateRecord).decode
decode_clock = msgspec.msgpack.Decoder(ClockRecord).decode
