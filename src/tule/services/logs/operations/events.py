"""Log events: writing, reading a stream, searching a group."""

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from tule.kernel.errors import OperationNotImplementedError
from tule.languages.log_filters import FilterPatternError, UnsupportedFilterPatternError, compile_filter
from tule.services.logs import state
from tule.services.logs.errors import InvalidParameterError
from tule.services.logs.models import (
    DAY_MS,
    MAX_AGE_MS,
    MAX_AHEAD_MS,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_BATCH_SPAN_MS,
    MAX_PAGE_BYTES,
    MAX_PAGE_EVENTS,
    ChunkKey,
    Event,
    LogStream,
)
from tule.services.logs.operations.groups import arm_retention, make_group
from tule.services.logs.operations.streams import SEQUENCE_TOKEN
from tule.store.transaction import ReadTxn, Txn

_FOREVER: Final = 2**62
MAX_CHUNKS_A_PAGE: Final = 2_000
"""Chunks one FilterLogEvents looks at before it answers with a token to go on with (ours)."""


def put_log_events(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    group, stream = state.group(txn), state.stream(txn, request["logStreamName"])
    rows = request["logEvents"]
    _check_batch(rows)
    accepted: list[Event] = []
    too_old = expired = too_new = None
    cutoff = txn.now - group.retention_days * DAY_MS if group.retention_days else 0
    for index, row in enumerate(rows):
        at_ms = row["timestamp"]
        if at_ms > txn.now + MAX_AHEAD_MS:
            too_new = index if too_new is None else too_new
        elif at_ms < cutoff:
            expired = index + 1
        elif at_ms < txn.now - MAX_AGE_MS:
            too_old = index + 1
        else:
            accepted.append(Event(at_ms, txn.now, row["message"]))
    if accepted:
        append(txn, stream, accepted)
        if group.retention_days:
            arm_retention(txn, group.retention_days)
    rejected = {
        "tooNewLogEventStartIndex": too_new,
        "tooOldLogEventEndIndex": too_old,
        "expiredLogEventEndIndex": expired,
    }
    rejected = {name: index for name, index in rejected.items() if index is not None}
    result: dict[str, Any] = {"nextSequenceToken": SEQUENCE_TOKEN}
    if rejected:
        result["rejectedLogEventsInfo"] = rejected
    return result


def _check_batch(rows: Sequence[dict[str, Any]]) -> None:
    if len(rows) > MAX_BATCH_EVENTS:
        raise InvalidParameterError(
            f"1 validation error detected: Value at 'logEvents' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_BATCH_EVENTS}",
        )
    size = sum(state.event_bytes(row["message"]) for row in rows)
    if size > MAX_BATCH_BYTES:
        raise InvalidParameterError(f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH_BYTES}")
    if any(later["timestamp"] < earlier["timestamp"] for earlier, later in pairwise(rows)):
        raise InvalidParameterError("Log events in a single PutLogEvents request must be in chronological order.")
    if rows[-1]["timestamp"] - rows[0]["timestamp"] > MAX_BATCH_SPAN_MS:
        raise InvalidParameterError(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        )


def append(txn: Txn, stream: LogStream, events: list[Event]) -> None:
    """Add events that are in time order to a stream."""
    first = events[0].at_ms if stream.first_ms is None else min(stream.first_ms, events[0].at_ms)
    last = max(stream.last_ms or 0, events[-1].at_ms)
    changed = msgspec.structs.replace(stream, first_ms=first, last_ms=last, ingested_ms=txn.now)
    state.save_stream(txn, changed)
    state.add_chunk(txn, stream.name, events, sum(state.event_bytes(event.message) for event in events))


def append_output(txn: Txn, group_name: str, stream_name: str, lines: Sequence[tuple[int, str]]) -> None:
    """Add a function's output; its group and stream come into being with their first line."""
    group = state.find_group(txn) or make_group(txn, group_name)
    stream = state.find_stream(txn, stream_name) or LogStream(stream_name, txn.now)
    in_order = sorted(lines, key=lambda line: line[0])  # lines of one millisecond stay as they were printed
    append(txn, stream, [Event(at_ms, txn.now, message) for at_ms, message in in_order])
    if group.retention_days:
        arm_retention(txn, group.retention_days)


def get_log_events(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    """A page of one stream, forwards or backwards, with a token for either side."""
    state.group(txn)
    stream = state.stream(txn, request["logStreamName"]).name
    start_ms, end_ms = request.get("startTime") or 0, request.get("endTime") or _FOREVER
    limit, token = request.get("limit") or MAX_PAGE_EVENTS, request.get("nextToken")
    position = _position(token)
    backwards = token.startswith("b/") if token else not request.get("startFromHead")
    found: list[tuple[ChunkKey, int, Event]] = []
    size = 0
    for key in state.chunk_keys(txn, stream, position[0] if position else None, reverse=backwards):
        events = list(enumerate(state.chunk_events(txn, key)))
        for index, event in reversed(events) if backwards else events:
            if position is not None and _was_read((key, index), position, backwards=backwards):
                continue
            if not start_ms <= event.at_ms < end_ms:
                continue
            size += state.event_bytes(event.message)
            if len(found) >= limit or size > MAX_PAGE_BYTES:
                return _page(found, token, backwards=backwards)
            found.append((key, index, event))
    return _page(found, token, backwards=backwards)


def _was_read(here: tuple[ChunkKey, int], position: tuple[ChunkKey, int], *, backwards: bool) -> bool:
    """Whether an event lies on the side of `position` that was read already."""
    return here >= position if backwards else here <= position


def _page(found: list[tuple[ChunkKey, int, Event]], token: str | None, *, backwards: bool) -> dict[str, Any]:
    if backwards:
        found.reverse()
    if found:
        forward, backward = _token("f", *found[-1][:2]), _token("b", *found[0][:2])
    else:
        rest = token[2:] if token else _token("f", ChunkKey(0, 0), 0)[2:]
        forward, backward = f"f/{rest}", f"b/{rest}"
    events = [
        {"timestamp": event.at_ms, "message": event.message, "ingestionTime": event.ingested_ms}
        for _, _, event in found
    ]
    return {"events": events, "nextForwardToken": forward, "nextBackwardToken": backward}


def filter_log_events(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    """Events of a group's streams in time order that match a pattern, a page at a time."""
    state.group(txn)
    try:
        matches = compile_filter(request.get("filterPattern") or "")
    except UnsupportedFilterPatternError as error:
        raise OperationNotImplementedError("logs", "FilterLogEvents", f"{error} are not implemented.") from error
    except FilterPatternError as error:
        raise InvalidParameterError(str(error)) from error
    names, prefix = set(request.get("logStreamNames") or ()), request.get("logStreamNamePrefix") or ""
    if names and prefix:
        raise InvalidParameterError(
            "logStreamNames and logStreamNamePrefix are mutually exclusive parameters.",
        )
    start_ms, end_ms = request.get("startTime") or 0, request.get("endTime") or _FOREVER
    limit, position = request.get("limit") or MAX_PAGE_EVENTS, _position(request.get("nextToken"))
    first = position[0] if position else ChunkKey(start_ms, 0)
    found: list[tuple[ChunkKey, int, str, Event]] = []
    last: tuple[ChunkKey, int] | None = None
    size = 0
    for looked, (key, stream, events) in enumerate(state.chunks(txn, first)):
        if key.last_ms > end_ms + MAX_BATCH_SPAN_MS:
            break
        if looked >= MAX_CHUNKS_A_PAGE and last is not None:
            return _matches(found, last)
        for index, event in enumerate(events):
            if position is not None and (key, index) <= position:
                continue
            if (
                not start_ms <= event.at_ms <= end_ms
                or (names and stream not in names)
                or not stream.startswith(prefix)
                or not matches(event.message)
            ):
                continue
            size += state.event_bytes(event.message)
            if len(found) >= limit or size > MAX_PAGE_BYTES:
                return _matches(found, last)
            found.append((key, index, stream, event))
            last = (key, index)
        last = (key, len(events))
    return _matches(found, None)


def _matches(found: list[tuple[ChunkKey, int, str, Event]], last: tuple[ChunkKey, int] | None) -> dict[str, Any]:
    events = [
        {
            "logStreamName": stream,
            "timestamp": event.at_ms,
            "message": event.message,
            "ingestionTime": event.ingested_ms,
            "eventId": f"{key.last_ms:020d}{key.id:024d}{index:012d}",
        }
        for key, index, stream, event in found
    ]
    events.sort(key=lambda row: (row["timestamp"], row["eventId"]))
    result: dict[str, Any] = {"events": events, "searchedLogStreams": []}
    if last is not None:
        result["nextToken"] = _token("n", *last)
    return result


def _token(kind: str, key: ChunkKey, index: int) -> str:
    packed = msgspec.msgpack.encode((key.last_ms, key.id, index))
    return f"{kind}/{base64.urlsafe_b64encode(packed).decode()}"


def _position(token: str | None) -> tuple[ChunkKey, int] | None:
    if not token:
        return None
    try:
        packed = base64.urlsafe_b64decode(token.partition("/")[2].encode())
        last_ms, chunk_id, index = msgspec.msgpack.decode(packed, type=tuple[int, int, int])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidParameterError("The specified nextToken is invalid.") from error
    return ChunkKey(last_ms, chunk_id), index
