"""What an engine reads when it starts, and again after a commit was refused; and the digest over everything."""

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from tule.kernel.clocks import Instant
from tule.store.backend import Pair, Range
from tule.store.keys import after, pack
from tule.store.records import decode_clock
from tule.store.space import CLOCK_KEY, OUTBOX, SHARD, SLOT

if TYPE_CHECKING:
    from tule.store.engine import Engine

PAGE = 1_000
"""Rows read at once (ours)."""


async def recover(engine: "Engine", *, first: bool) -> tuple[int, Instant | None] | None:
    """Load ids and letters that wait, look for what is due, and at the start go on with the kept service clock.

    Returns the clock state that the store has.
    """
    engine.ids.load(await _all(engine, SLOT))
    letters = await _all(engine, OUTBOX)
    engine.courier.load(letters)
    engine.wake()
    engine.timers.begin()
    if not first:
        return None
    rows = await engine.rows(Range(CLOCK_KEY, after(CLOCK_KEY), 1))
    if not rows:
        return None
    kept = decode_clock(rows[0][1])
    paused_at = None if kept.paused_at is None else Instant(kept.paused_at)
    engine.clock.restore(kept.offset_ms, paused_at)
    return kept.offset_ms, paused_at


async def _all(engine: "Engine", space: bytes) -> list[Pair]:
    """Every committed row of a space; letters that were posted meanwhile are not among them."""
    found: list[Pair] = []
    start, end = space, bytes((space[0] + 1,))
    while True:
        rows = await engine.rows(Range(start, end, PAGE))
        found += rows
        if len(rows) < PAGE:
            return found
        start = after(rows[-1][0])


_OF_TULE = SHARD + pack("tule")


class Fingerprint:
    """A hash over all rows that requests caused: not the format, the clock's state, the ceilings of ids, or what Tule
    keeps for itself (shards of "tule": its root pair, which services were started, usage of reads)."""

    __slots__ = ("_hash", "_start")

    def __init__(self) -> None:
        self._hash = sha256()
        self._start: bytes | None = bytes((SLOT[0] + 1,))

    def next_range(self) -> Range | None:
        return None if self._start is None else Range(self._start, b"\xff", PAGE)

    def add(self, rows: Sequence[Pair]) -> None:
        for key, value in rows:
            if key.startswith(_OF_TULE):
                continue
            self._hash.update(b"%d %d " % (len(key), len(value)))
            self._hash.update(key)
            self._hash.update(value)
        self._start = after(rows[-1][0]) if len(rows) == PAGE else None

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
