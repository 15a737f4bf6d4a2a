"""What Logs keeps, and its limits."""

from typing import Final, NamedTuple

import msgspec

MAX_BATCH_EVENTS: Final = 10_000
"""Events of one PutLogEvents (API reference)."""
MAX_BATCH_BYTES: Final = 1_048_576
"""Bytes of one PutLogEvents, each event counted with 26 more (API reference)."""
EVENT_OVERHEAD_BYTES: Final = 26
MAX_BATCH_SPAN_MS: Final = 24 * 3_600_000
"""From the first to the last event of one PutLogEvents (API reference)."""
MAX_AGE_MS: Final = 14 * 24 * 3_600_000
"""Older events are rejected (API reference)."""
MAX_AHEAD_MS: Final = 2 * 3_600_000
"""Events further in the future are rejected (API reference)."""
MAX_PAGE_EVENTS: Final = 10_000
"""Events of one GetLogEvents or FilterLogEvents (API reference)."""
MAX_PAGE_BYTES: Final = 1_048_576
"""Bytes of one GetLogEvents or FilterLogEvents (API reference)."""
MAX_TAGS: Final = 50
"""Tags of a log group (API reference)."""
RETENTION_DAYS: Final = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)
"""What PutRetentionPolicy takes (API reference)."""
DAY_MS: Final = 24 * 3_600_000


class LogGroup(msgspec.Struct, frozen=True):
    """A log group: one shard."""

    name: str
    arn: str
    created_ms: int
    retention_days: int | None = None
    tags: dict[str, str] = {}
    group_class: str = "STANDARD"


class LogStream(msgspec.Struct, frozen=True):
    """A stream of one group and where its events lie in time."""

    name: str
    created_ms: int
    first_ms: int | None = None
    last_ms: int | None = None
    ingested_ms: int | None = None


class Event(NamedTuple):
    """One line of log."""

    at_ms: int
    ingested_ms: int
    message: str


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Events of one stream that came together, in time order: one row, so that a line costs no row of its own."""

    stream: str
    events: list[tuple[int, int, str]]


class ChunkKey(NamedTuple):
    """Chunks are ordered by their last event, so a start time finds its place by key."""

    last_ms: int
    id: int
