"""Traces as the console and `tule traces` show them: a tree of hops, each with its price."""

import asyncio
import datetime as dt
from decimal import Decimal

import msgspec

from tule.admin.endpoints import AdminError, Ask, Endpoint
from tule.observe.prices import bill, price_book
from tule.observe.spans import SpanRecorder
from tule.observe.tracefile import StoredSpan

MOST_TRACES = 1000


class TraceSummary(msgspec.Struct, frozen=True):
    """A trace by its first hop."""

    trace: str
    name: str
    kind: str
    start: str
    duration_ms: float
    status: str
    account: str
    region: str


class TraceList(msgspec.Struct, frozen=True):
    """The newest traces first. `shed` spans found no room since the start and are in no trace."""

    traces: list[TraceSummary]
    shed: int


class Usage(msgspec.Struct, frozen=True):
    """Units of one meter; `usd` is null where the price book has no price."""

    meter: str
    units: float
    usd: str | None


class Hop(msgspec.Struct, frozen=True):
    """One span; `depth` is how far below the trace's beginning it hangs."""

    span: str
    parent: str
    name: str
    kind: str
    depth: int
    start_us: int
    end_us: int
    status: str
    account: str
    region: str
    resource: str
    request_id: str
    units: list[Usage]
    notes: dict[str, str]


class Trace(msgspec.Struct, frozen=True):
    """All hops in the order of a waterfall, and what they would cost together."""

    trace: str
    spans: list[Hop]
    usd: str
    unpriced: list[str]
    book: str


def instant_text(us: int) -> str:
    """A moment as ISO 8601 in UTC with milliseconds."""
    at = dt.datetime.fromtimestamp(us / 1_000_000, dt.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def money(usd: Decimal) -> str:
    """Dollars without an exponent and without idle zeros."""
    text = f"{usd:.12f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def endpoints(spans: SpanRecorder) -> list[Endpoint]:
    """GET traces and GET traces/{id}."""

    async def listed(ask: Ask) -> TraceList:
        limit = ask.number("limit", 20, MOST_TRACES)
        spans.settle()
        found = await asyncio.to_thread(spans.recent, limit)
        return TraceList([_summary(span) for span in found], spans.shed)

    async def one(ask: Ask) -> Trace:
        root = ask.path["id"]
        spans.settle()
        found = await asyncio.to_thread(spans.trace, root)
        if not found:
            raise AdminError(404, "TraceNotFound", f"There is no trace {root}; it may have been shed or aged out.")
        return waterfall(root, found)

    return [
        Endpoint("GET", "traces", "The newest traces", listed, TraceList, query={"limit": "How many, 20 unless given"}),
        Endpoint("GET", "traces/{id}", "One trace, hop by hop, with prices", one, Trace),
    ]


def waterfall(root: str, spans: list[StoredSpan]) -> Trace:
    """The hops of one trace, every hop below the one that started it."""
    known = {span.span for span in spans}
    below: dict[str, list[StoredSpan]] = {}
    for span in spans:
        below.setdefault(span.parent if span.parent in known and span.parent != span.span else "", []).append(span)
    ordered: list[tuple[int, StoredSpan]] = []
    waiting = [(0, span) for span in reversed(below.get("", []))]
    while waiting:
        depth, span = waiting.pop()
        ordered.append((depth, span))
        waiting += [(depth + 1, child) for child in reversed(below.pop(span.span, []))]
    total = bill([unit for span in spans for unit in span.units])
    book = price_book()
    return Trace(
        root,
        [_hop(depth, span) for depth, span in ordered],
        money(total.total_usd),
        sorted(set(total.unpriced)),
        f"list prices of {book.region}, {book.dated}",
    )


def _hop(depth: int, span: StoredSpan) -> Hop:
    lines = [
        Usage(line.meter, line.units, None if line.usd is None else money(line.usd)) for line in bill(span.units).lines
    ]
    return Hop(
        span.span, span.parent, span.name, span.kind, depth, span.start_us, span.end_us, span.status, span.account,
        span.region, span.resource, span.request_id, lines, dict(span.notes),
    )  # fmt: skip


def _summary(span: StoredSpan) -> TraceSummary:
    return TraceSummary(
        span.trace,
        span.name,
        span.kind,
        instant_text(span.start_us),
        (span.end_us - span.start_us) / 1000,
        span.status,
        span.account,
        span.region,
    )
