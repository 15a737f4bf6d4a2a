"""What was used, counted per minute in the batches that do the work, so that a bill survives what a trace does not."""

from typing import Final, Protocol

from tule.kernel.context import RequestContext

PREFIX: Final = "meter/"
MINUTE_MS: Final = 60_000
RELAXED: Final = "~"
"""In front of a meter's name in a call's usage: counted in no batch."""


class Reading(Protocol):
    """The part of a read that a meter needs."""

    context: RequestContext


class Metered(Reading, Protocol):
    """The part of a transaction that a meter needs."""

    @property
    def now(self) -> int: ...

    def count(self, name: str, n: int) -> None: ...


def meter(txn: Metered, name: str, n: int) -> None:
    """Count `n` units of `name` ("sqs.requests") in the minute of service time that `txn` runs in.

    Units are whole numbers; a meter whose unit AWS divides counts its smallest part (the price book says which).
    """
    txn.count(f"{PREFIX}{name}/{txn.now // MINUTE_MS}", n)
    usage = txn.context.usage
    usage[name] = usage.get(name, 0) + n


def meter_read(txn: Reading, name: str, n: int) -> None:
    """Count units of a read, which has no batch to count them in: they are kept relaxed, and the bill says so."""
    meter_call(txn.context, name, n)


def meter_call(context: RequestContext, name: str, n: int) -> None:
    """The same for a call that has no transaction at hand."""
    usage, marked = context.usage, RELAXED + name
    usage[marked] = usage.get(marked, 0) + n


def relaxed(usage: dict[str, int]) -> list[tuple[str, int]]:
    """What of a call's usage stands in no batch: (meter, units)."""
    return [(name[1:], n) for name, n in usage.items() if name[0] == RELAXED]


def units(usage: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """Everything a call used, by meter."""
    if len(usage) == 1:  # as nearly all calls
        ((name, n),) = usage.items()
        return ((name.removeprefix(RELAXED), n),)
    total: dict[str, int] = {}
    for name, n in usage.items():
        plain = name.removeprefix(RELAXED)
        total[plain] = total.get(plain, 0) + n
    return tuple(total.items())


def split_counter(name: str) -> tuple[str, int] | None:
    """(meter, minute since the epoch) of a counter's name, or None if no meter made it."""
    if not name.startswith(PREFIX):
        return None
    meter_name, _, minute = name[len(PREFIX) :].rpartition("/")
    return (meter_name, int(minute)) if meter_name and minute.isdigit() else None


def usage(counters: dict[str, int], first_minute: int = 0, last_minute: int = 2**62) -> dict[str, int]:
    """Units by meter within two minutes (both included), added up from counters by name."""
    totals: dict[str, int] = {}
    for name, value in counters.items():
        parts = split_counter(name)
        if parts is not None and first_minute <= parts[1] <= last_minute:
            totals[parts[0]] = totals.get(parts[0], 0) + value
    return dict(sorted(totals.items()))


def record_reads(txn: Metered, usage: dict[str, int]) -> None:
    """Write what reads used, taken together, into the minute it is written in."""
    for name, n in usage.items():
        txn.count(f"{PREFIX}{name}/{txn.now // MINUTE_MS}", n)
