"""Erasing in the background: what was purged or deleted as a whole, and rows that expire.

Something big is purged by bumping its generation, a part of its keys (`Txn.new_id` makes one), in one small
transaction: nothing reads the old generation any more. `sweep` then erases it, a chunk a transaction, across restarts.
"""

from collections.abc import Callable, Mapping
from typing import Final

from tule.kernel.clocks import Instant
from tule.store.keys import after, pack, unpack
from tule.store.transaction import Txn

CHUNK_ROWS: Final = 500
"""Rows erased in one transaction: about 2 ms of the writer's time (ours)."""

SWEEP: Final = "tule.sweep"
EXPIRE: Final = "tule.expire"


def sweep(txn: Txn, start: bytes, end: bytes) -> None:
    """Erase everything in this shard with start <= key < end, in the background."""
    if start < end:
        txn.due(txn.now, SWEEP, pack(start, end))


def expire(txn: Txn, key: bytes, at: Instant) -> None:
    """Erase one key of this shard at `at`; called again for the same key, it moves the time."""
    txn.due(at, EXPIRE, key)


def keep(txn: Txn, key: bytes) -> None:
    """Call an `expire` off."""
    txn.cancel_due(EXPIRE, key)


def _sweep(txn: Txn, key: bytes, _: bytes) -> None:
    parts = unpack(key)
    start, end = parts[0], parts[1]
    assert isinstance(start, bytes)
    assert isinstance(end, bytes)
    rows = txn.scan(start, end, CHUNK_ROWS)
    if not rows:
        return
    reached = after(rows[-1][0])
    txn.delete_range(start, reached)
    if len(rows) == CHUNK_ROWS:
        sweep(txn, reached, end)


def _expire(txn: Txn, key: bytes, _: bytes) -> None:
    txn.delete(key)


OWN_TIMERS: Mapping[str, Callable[[Txn, bytes, bytes], None]] = {SWEEP: _sweep, EXPIRE: _expire}
"""Timers that every shard has, whatever its service declares."""
