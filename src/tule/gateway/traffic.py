"""What passed the gateway: spans, counts for metrics, and what reads used."""

from bisect import bisect_left
from typing import Any, Final

from tule.kernel.context import RequestContext
from tule.observe.metering import relaxed
from tule.observe.spans import SpanRecorder

BUCKETS_MS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000)
"""Upper bounds of the duration histogram, in milliseconds (ours)."""

_BOUNDS_NS: Final = [bound * 1_000_000 for bound in BUCKETS_MS]

MAX_SERIES: Final = 2000
"""Combinations of operation and status that are counted one by one (ours); the rest are one series."""


class Series:
    """Calls of one operation with one outcome."""

    __slots__ = ("buckets", "calls", "total_ns")

    def __init__(self) -> None:
        self.calls = 0
        self.total_ns = 0
        self.buckets = [0] * (len(BUCKETS_MS) + 1)
        """Calls up to each bound alone, and in the end those beyond all."""


class Traffic:
    """Told at the end of every call."""

    def __init__(self, spans: SpanRecorder) -> None:
        self._record = spans.record_call
        self.series: dict[tuple[str, str], Series] = {}
        self.refused = 0
        """Requests of foreign pages and to foreign host names."""
        self.unrouted = 0
        """Requests that are no call of a service."""
        self.read_usage: dict[tuple[str, str], dict[str, int]] = {}
        """Units that reads used, by (account, region) and meter, until `take_read_usage`."""

    def finished(
        self, context: RequestContext, label: str, started_ns: int, ended_ns: int, status: str, subject: Any
    ) -> None:
        """Record one finished call: its span and its counts."""
        self._record((context, label, started_ns, ended_ns, status, subject))
        key = (label, status)
        series = self.series.get(key)
        if series is None:
            series = self._new_series(key)
        series.calls += 1
        took_ns = ended_ns - started_ns
        series.total_ns += took_ns
        series.buckets[bisect_left(_BOUNDS_NS, took_ns)] += 1

    def used_by_read(self, context: RequestContext) -> None:
        """Keep what a read used; it has no batch of its own."""
        found = relaxed(context.usage)
        if not found:
            return
        place = (context.account, context.region)
        usage = self.read_usage.get(place)
        if usage is None:
            usage = self.read_usage[place] = {}
        for meter, n in found:
            usage[meter] = usage.get(meter, 0) + n

    def take_read_usage(self) -> dict[tuple[str, str], dict[str, int]]:
        """What reads used since the last time."""
        taken, self.read_usage = self.read_usage, {}
        return taken

    def _new_series(self, key: tuple[str, str]) -> Series:
        if len(self.series) >= MAX_SERIES:
            key = ("other", key[1])
        return self.series.setdefault(key, Series())
