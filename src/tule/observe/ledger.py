"""What became of every accepted event, as counters that move in the event's own batch.

A hop is a place that takes events over ("sqs:orders", "lambda:orders-worker/async"); a fate is what happened to one of
them there. For every hop, accepted = the sum of the fates + pending, after any crash, because the counters are part of
the batches that do the work.
"""

from functools import lru_cache
from typing import Final, Protocol

import msgspec

ACCEPTED: Final = "accepted"
DELIVERED: Final = "delivered"
FILTERED: Final = "filtered"
DEAD_LETTERED: Final = "dead-lettered"
EXPIRED: Final = "expired"
DROPPED: Final = "dropped"
PURGED: Final = "purged"

FATES: Final = (DELIVERED, FILTERED, DEAD_LETTERED, EXPIRED, DROPPED, PURGED)
"""How an accepted event can end. What is in none of them is pending."""

PREFIX: Final = "ledger/"
ROW_KIND: Final = "ledger"
"""The directory kind under which rows of abnormal fates are listed."""


class Counting(Protocol):
    """The part of a transaction that the ledger needs."""

    def count(self, name: str, n: int) -> None: ...


class Enlisting(Counting, Protocol):
    """The part of a transaction that a row needs."""

    @property
    def now(self) -> int: ...

    def enlist(self, kind: str, name: str, value: bytes) -> None: ...

    def new_id(self) -> int: ...


class AbnormalFate(msgspec.Struct, frozen=True):
    """One event that was not delivered: which, where, why, and the trace that leads to it."""

    hop: str
    fate: str
    event: str
    reason: str
    at_ms: int
    trace: str = ""


@lru_cache(maxsize=4096)
def counter_name(hop: str, fate: str) -> str:
    """The name under which a shard counts `fate` at `hop`."""
    return f"{PREFIX}{hop}/{fate}"


def split_counter(name: str) -> tuple[str, str] | None:
    """(hop, fate) of a counter's name, or None if the ledger did not make it."""
    if not name.startswith(PREFIX):
        return None
    hop, _, fate = name[len(PREFIX) :].rpartition("/")
    return (hop, fate) if hop else None


def record(txn: Counting, hop: str, fate: str, n: int = 1) -> None:
    """Count `n` events with `fate` at `hop`, in the batch of `txn`."""
    txn.count(counter_name(hop, fate), n)


def record_abnormal(txn: Enlisting, hop: str, fate: str, event: str, reason: str, trace: str = "") -> None:
    """Count one event and keep a row that says which one it was and why it went this way."""
    record(txn, hop, fate)
    row = AbnormalFate(hop, fate, event, reason, txn.now, trace)
    txn.enlist(ROW_KIND, f"{txn.new_id():016x}", msgspec.msgpack.encode(row))


class HopBalance(msgspec.Struct, frozen=True):
    """The counters of one hop, added up over its shards."""

    hop: str
    accepted: int
    fates: dict[str, int]

    @property
    def pending(self) -> int:
        """Accepted and not yet ended. Negative would be a defect: something ended that was never accepted."""
        return self.accepted - sum(self.fates.values())


def balances(counters: dict[str, int]) -> list[HopBalance]:
    """Counters by name (of one or many shards, added up) as one balance a hop, by name."""
    hops: dict[str, dict[str, int]] = {}
    for name, value in counters.items():
        parts = split_counter(name)
        if parts is not None:
            hop, fate = parts
            fates = hops.setdefault(hop, {})
            fates[fate] = fates.get(fate, 0) + value
    return [HopBalance(hop, fates.pop(ACCEPTED, 0), dict(sorted(fates.items()))) for hop, fates in sorted(hops.items())]
