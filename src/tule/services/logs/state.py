"""Where Logs keeps what. A group is a shard: its record, its streams, and chunks of events by time."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from tule.kernel.context import RequestContext
from tule.services.logs.errors import InvalidParameterError, no_group, no_stream
from tule.services.logs.models import Chunk, ChunkKey, Event, LogGroup, LogStream
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

GROUP_KIND: Final = "log-group"
"""The directory kind under which groups are listed."""

_GROUP: Final = pack("group")
_CHUNKS: Final = pack("chunk")
SCAN_PAGE: Final = 64
BYTES: Final = "bytes"
"""The counter of stored bytes."""

_group = msgspec.msgpack.Decoder(LogGroup)
_stream = msgspec.msgpack.Decoder(LogStream)
_chunk = msgspec.msgpack.Decoder(Chunk)
_encode = msgspec.msgpack.Encoder().encode


def shard(account: str, region: str, group: str) -> ShardKey:
    return ShardKey("logs", account, region, "group", group)


def group_name(request: dict[str, Any]) -> str:
    """The group a request names: by name, by ARN or by resource ARN."""
    text = request.get("logGroupName") or request.get("logGroupIdentifier") or request.get("resourceArn") or ""
    if text.startswith("arn:"):
        text = text.partition(":log-group:")[2].removesuffix(":*")
    if not text:
        raise InvalidParameterError("LogGroup name or LogGroup ARN must be provided.")
    return str(text)


def shard_of(context: RequestContext, request: dict[str, Any]) -> ShardKey:
    return shard(context.account, context.region, group_name(request))


def decode_group(value: bytes) -> LogGroup:
    return _group.decode(value)


def find_group(txn: ReadTxn) -> LogGroup | None:
    value = txn.get(_GROUP)
    return None if value is None else _group.decode(value)


def group(txn: ReadTxn) -> LogGroup:
    """The shard's group; ResourceNotFound if it was never made or is gone."""
    found = find_group(txn)
    if found is None:
        raise no_group()
    return found


def save_group(txn: Txn, changed: LogGroup) -> None:
    value = _encode(changed)
    txn.put(_GROUP, value)
    txn.enlist(GROUP_KIND, changed.name, value)


def drop_group(txn: Txn, name: str) -> None:
    """Everything of the group; its counter starts at nothing again."""
    txn.delete(_GROUP)
    for prefix in ("stream", "chunk", "index"):
        txn.delete_range(pack(prefix), prefix_end(pack(prefix)))
    txn.count(BYTES, -txn.counter(BYTES))
    txn.delist(GROUP_KIND, name)


def find_stream(txn: ReadTxn, name: str) -> LogStream | None:
    value = txn.get(pack("stream", name))
    return None if value is None else _stream.decode(value)


def stream(txn: ReadTxn, name: str) -> LogStream:
    found = find_stream(txn, name)
    if found is None:
        raise no_stream()
    return found


def save_stream(txn: Txn, changed: LogStream) -> None:
    txn.put(pack("stream", changed.name), _encode(changed))


def drop_stream(txn: Txn, name: str) -> None:
    """The stream and its events."""
    for key in chunk_keys(txn, name):
        _drop_chunk(txn, key)
    index = pack("index", name)
    txn.delete_range(index, prefix_end(index))
    txn.delete(pack("stream", name))


def streams(txn: ReadTxn, prefix: str = "", after: str = "", limit: int = SCAN_PAGE) -> list[LogStream]:
    """Streams in name order whose names start with `prefix` and come after `after`."""
    start = pack("stream", max(after, prefix)) + (b"\0" if after >= prefix and after else b"")
    found = [_stream.decode(value) for _, value in txn.scan(start, prefix_end(pack("stream")), limit)]
    return [one for one in found if one.name.startswith(prefix)]


def add_chunk(txn: Txn, stream_name: str, events: Sequence[Event], size_bytes: int) -> None:
    """Append events that are in time order."""
    key = ChunkKey(events[-1].at_ms, txn.new_id())
    rows = [(event.at_ms, event.ingested_ms, event.message) for event in events]
    txn.put(pack("chunk", *key), _encode(Chunk(stream_name, rows)))
    txn.put(pack("index", stream_name, *key), b"")
    txn.count(BYTES, size_bytes)


def chunks(txn: ReadTxn, start: ChunkKey) -> Iterator[tuple[ChunkKey, str, list[Event]]]:
    """Chunks of every stream from `start` on, in order."""
    begin, end = pack("chunk", *start), prefix_end(_CHUNKS)
    while True:
        rows = txn.scan(begin, end, SCAN_PAGE)
        for key, value in rows:
            chunk = _chunk.decode(value)
            yield _key(key), chunk.stream, [Event(*event) for event in chunk.events]
        if len(rows) < SCAN_PAGE:
            return
        begin = rows[-1][0] + b"\0"


def chunk_keys(
    txn: ReadTxn, stream_name: str, start: ChunkKey | None = None, *, reverse: bool = False
) -> Iterator[ChunkKey]:
    """Keys of one stream's chunks: from `start` (included) on, or backwards from it."""
    prefix = pack("index", stream_name)
    low, high = prefix, prefix_end(prefix)
    if start is not None and reverse:
        high = pack("index", stream_name, *start) + b"\0"
    elif start is not None:
        low = pack("index", stream_name, *start)
    while True:
        rows = txn.scan(low, high, SCAN_PAGE, reverse=reverse)
        for key, _ in rows:
            yield _key(key)
        if len(rows) < SCAN_PAGE:
            return
        if reverse:
            high = rows[-1][0]
        else:
            low = rows[-1][0] + b"\0"


def chunk_events(txn: ReadTxn, key: ChunkKey) -> list[Event]:
    value = txn.get(pack("chunk", *key))
    return [] if value is None else [Event(*event) for event in _chunk.decode(value).events]


def oldest(txn: ReadTxn) -> ChunkKey | None:
    rows = txn.scan(_CHUNKS, prefix_end(_CHUNKS), 1)
    return _key(rows[0][0]) if rows else None


def expire(txn: Txn, before_ms: int, limit: int) -> int:
    """Erase up to `limit` chunks whose last event is older; how many there were."""
    rows = txn.scan(_CHUNKS, pack("chunk", before_ms), limit)
    for key, value in rows:
        chunk_key, chunk = _key(key), _chunk.decode(value)
        txn.delete(pack("index", chunk.stream, *chunk_key))
        _drop_chunk(txn, chunk_key)
    return len(rows)


def _drop_chunk(txn: Txn, key: ChunkKey) -> None:
    events = chunk_events(txn, key)
    txn.count(BYTES, -sum(event_bytes(event.message) for event in events))
    txn.delete(pack("chunk", *key))


def event_bytes(message: str) -> int:
    """What an event weighs: its UTF-8 and 26 bytes more (PutLogEvents, API reference)."""
    return len(message.encode()) + 26


def _key(packed: bytes) -> ChunkKey:
    # The two trailing parts of the key are tagged big-endian numbers of nine bytes each.
    return ChunkKey(int.from_bytes(packed[-17:-9], "big"), int.from_bytes(packed[-8:], "big"))
