"""What became of every accepted event, and what everything would cost."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tule.admin.endpoints import Ask, Endpoint
from tule.admin.traces import Usage, instant_text, money
from tule.observe import ledger, metering
from tule.observe.prices import bill

MOST_ROWS = 1000

Counters = Callable[[str], Awaitable[dict[str, int]]]
"""Committed counters whose names start with a prefix, added up over all shards."""


class Hop(msgspec.Struct, frozen=True):
    """One hop's balance: accepted = the sum of `fates` + `pending`."""

    hop: str
    accepted: int
    fates: dict[str, int]
    pending: int


class Abnormal(msgspec.Struct, frozen=True):
    """An event that was not delivered."""

    at: str
    hop: str
    fate: str
    event: str
    reason: str
    trace: str


class Ledger(msgspec.Struct, frozen=True):
    """`balanced` is false if more events ended at a hop than were accepted there, which is a defect of Tule."""

    hops: list[Hop]
    balanced: bool
    abnormal: list[Abnormal]


class Usages(msgspec.Struct, frozen=True):
    """Usage since the store began, priced by the book; `unpriced` meters are not in `usd`."""

    meters: list[Usage]
    usd: str
    unpriced: list[str]
    book: str
    relaxed: str = "Reads are counted in memory and written once a second: a crash can lose the last second of them."


def endpoints(counters: Counters, rows: Callable[[int], Awaitable[list[ledger.AbnormalFate]]]) -> list[Endpoint]:
    """GET ledger and GET usage."""

    async def balance(ask: Ask) -> Ledger:
        hops = [
            Hop(hop.hop, hop.accepted, hop.fates, hop.pending) for hop in ledger.balances(await counters(ledger.PREFIX))
        ]
        abnormal = [_row(row) for row in await rows(ask.number("rows", 20, MOST_ROWS))]
        return Ledger(hops, all(hop.pending >= 0 for hop in hops), abnormal)

    async def used(_: Ask) -> Usages:
        total = bill([(name, float(units)) for name, units in metering.usage(await counters(metering.PREFIX)).items()])
        lines = [Usage(line.meter, line.units, None if line.usd is None else money(line.usd)) for line in total.lines]
        return Usages(lines, money(total.total_usd), total.unpriced, f"list prices of {total.region}, {total.dated}")

    return [
        Endpoint("GET", "ledger", "What became of every accepted event", balance, Ledger, query={"rows": "Abnormal"}),
        Endpoint("GET", "usage", "What was used and what it would cost", used, Usages),
    ]


def _row(row: Any) -> Abnormal:
    return Abnormal(instant_text(row.at_ms * 1000), row.hop, row.fate, row.event, row.reason, _trace_id(row.trace))


def _trace_id(header: str) -> str:
    """The trace that an X-Amzn-Trace-Id belongs to, as `tule traces` takes it."""
    return next((part[5:] for part in header.split(";") if part.startswith("Root=")), header)
