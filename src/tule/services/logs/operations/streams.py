"""Log streams."""

from typing import Any, Final

from tule.services.logs import state
from tule.services.logs.errors import InvalidParameterError, ResourceAlreadyExistsError
from tule.services.logs.models import LogStream
from tule.store.transaction import ReadTxn, Txn

DEFAULT_PAGE: Final = 50
"""Streams of one DescribeLogStreams (API reference)."""
MAX_SORTED: Final = 10_000
"""Streams that are sorted by their last event in memory (ours); a larger group is listed by name."""


def create_log_stream(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    name = request["logStreamName"]
    if ":" in name or "*" in name:
        raise InvalidParameterError(
            f"1 validation error detected: Value '{name}' at 'logStreamName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [^:*]*",
        )
    state.group(txn)
    if state.find_stream(txn, name) is not None:
        raise ResourceAlreadyExistsError("The specified log stream already exists")
    state.save_stream(txn, LogStream(name, txn.now))
    return {}


def delete_log_stream(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    state.group(txn)
    state.drop_stream(txn, state.stream(txn, request["logStreamName"]).name)
    return {}


def describe_log_streams(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    group = state.group(txn)
    prefix, limit = request.get("logStreamNamePrefix") or "", request.get("limit") or DEFAULT_PAGE
    descending = bool(request.get("descending"))
    by_time = request.get("orderBy") == "LastEventTime"
    if by_time and prefix:
        raise InvalidParameterError("Cannot order by LastEventTime with a logStreamNamePrefix.")
    after = request.get("nextToken") or ""
    if by_time or descending:
        found = state.streams(txn, prefix, limit=MAX_SORTED)
        found.sort(key=lambda one: (one.last_ms or 0, one.name) if by_time else (0, one.name), reverse=descending)
        names = [one.name for one in found]
        start = names.index(after) + 1 if after in names else 0
        found = found[start : start + limit + 1]
    else:
        found = state.streams(txn, prefix, after, limit + 1)
    result: dict[str, Any] = {"logStreams": [_view(group.arn, one) for one in found[:limit]]}
    if len(found) > limit:
        result["nextToken"] = found[limit - 1].name
    return result


def _view(group_arn: str, stream: LogStream) -> dict[str, Any]:
    view: dict[str, Any] = {
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "arn": f"{group_arn}:log-stream:{stream.name}",
        "storedBytes": 0,
    }
    if stream.first_ms is not None:
        view |= {
            "firstEventTimestamp": stream.first_ms,
            "lastEventTimestamp": stream.last_ms,
            "lastIngestionTime": stream.ingested_ms,
            "uploadSequenceToken": SEQUENCE_TOKEN,
        }
    return view


SEQUENCE_TOKEN: Final = "49039859625550000000000000000000000000000000000000000000"  # noqa: S105 - no secret
"""Sequence tokens are ignored and always the same since 2023 (PutLogEvents, API reference)."""
