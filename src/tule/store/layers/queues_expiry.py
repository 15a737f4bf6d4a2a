"""What a queue gets rid of by itself: messages beyond their retention, and generations that were left behind."""

from functools import partial
from typing import Final, NamedTuple

from tule.store.keys import after, prefix_end
from tule.store.layers.queues import erase
from tule.store.layers.queues_rows import Point, QueueRows, State, decode_state, point_of
from tule.store.layers.queues_window import Window
from tule.store.transaction import Txn

SWEEP_ROWS: Final = 500
"""Rows that one transaction erases or looks through for expiry (ours: about 3 ms of the writer)."""


def sweep(txn: Txn, generation: int) -> bool:
    """Erase some rows of a generation that was left behind. True if there may be more."""
    root = QueueRows(generation).root
    found = txn.scan(root, prefix_end(root), SWEEP_ROWS)
    if found:
        txn.delete_range(root, after(found[-1][0]))
    return len(found) == SWEEP_ROWS


class Expiry(NamedTuple):
    """What `expire` did: how many messages it removed, and when to look again (None: the queue holds nothing old)."""

    expired: int
    next_at: int | None


def expire(txn: Txn, window: Window, retention_ms: int, start: Point) -> tuple[Expiry, Point | None]:
    """Remove messages that are older than the retention and not in flight.

    Looks through arrivals in order, and through due visibility rows from `start`; returns the point where to go on
    when there were too many for one transaction.
    """
    oldest = txn.now - retention_ms
    gone, fresh, next_sent = _expired_arrivals(txn, window, oldest)
    rows = window.rows
    found = txn.scan(rows.visibility(*start), rows.visibility(txn.now + 1, 0), SWEEP_ROWS)
    for key, value in found:
        point = point_of(key)
        state = decode_state(point.at, value)
        if state.sent_at <= oldest:
            gone.append((point.number, state))
        elif next_sent is None or state.sent_at < next_sent:
            next_sent = state.sent_at
    if fresh:
        last = window.fresh[fresh - 1][0]
        txn.put(rows.cursor, (last + 1).to_bytes(8, "big"))
        txn.then(partial(window.left_fresh, fresh))
    if gone:
        erase(txn, window, window.counted, gone)
    if len(found) == SWEEP_ROWS:
        last_point = point_of(found[-1][0])
        return Expiry(len(gone), txn.now), Point(last_point.at, last_point.number + 1)
    if len(gone) >= SWEEP_ROWS:
        return Expiry(len(gone), txn.now), Point(0, 0)
    moments = [] if next_sent is None else [next_sent + retention_ms]
    hidden = window.timed[window.due(txn.now) :]
    moments += [max(point.at, window.states[point.number].sent_at + retention_ms) for point in hidden]
    if window.bound is not None:
        moments.append(window.bound.at)
    return Expiry(len(gone), min(moments, default=None)), None


def _expired_arrivals(txn: Txn, window: Window, oldest: int) -> tuple[list[tuple[int, State | None]], int, int | None]:
    """Arrivals that are too old, how many there are, and when the first that isn't was sent."""
    gone: list[tuple[int, State | None]] = []
    position = 0
    while position < SWEEP_ROWS:
        if position >= len(window.fresh):
            window.fill_fresh(txn, position + 1)
            if position >= len(window.fresh):
                return gone, position, None
        number, message, _size = window.fresh[position]
        if message.sent_at > oldest:
            return gone, position, message.sent_at
        gone.append((number, None))
        position += 1
    return gone, position, None
