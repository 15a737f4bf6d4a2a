"""Queues: messages that wait, are taken out of sight while somebody works on them, and are removed or come back.

Functions here run inside a transaction of the shard that holds the queue. They read first, through the window that
the shard's owner keeps in memory, then write, and leave the window to `Txn.then`. Waking those who wait is the
caller's business: it knows when the batch has committed.

Counting: an arrival is visible; a message with a visibility row is in flight or delayed until that row has come due
*and* `count_due` has passed it. So the counts move in the batches that do the work, although nothing is written at the
moment when a timeout ends. Those in flight and delayed are counters here; how many messages there are in all is known
to whoever records their fates.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from tule.store.keys import after
from tule.store.layers.queues_rows import (
    FRESH,
    MOVED,
    SET_ASIDE,
    Message,
    Point,
    State,
    decode_message,
    decode_state,
    encode_message,
    encode_point,
    encode_state,
    point_of,
)
from tule.store.layers.queues_window import DELAYED, IN_FLIGHT, Arrival, Window
from tule.store.transaction import ReadTxn, Txn

MAX_REMOVED: Final = 500
"""Messages that one transaction removes on its way (ours: about 3 ms of the writer)."""
COUNT_ROWS: Final = 200
"""Visibility rows beyond those in memory that one transaction counts (ours: about 1 ms)."""


class Terms(NamedTuple):
    """What a queue's settings say about receiving. Zero `max_receives` means that nothing is dead-lettered."""

    retention_ms: int
    max_receives: int = 0


class Received(NamedTuple):
    """A message taken out of sight: its number, where it stands now, and itself."""

    number: int
    state: State
    message: Message


class Taken(NamedTuple):
    """What `take` did. `dead` and `expired` have been removed from the queue: their fate is the caller's to record."""

    received: list[Received]
    dead: list[tuple[State, Message]]
    expired: int


class Claim(NamedTuple):
    """What a receipt handle says: which message, and until when it was out of sight when the handle was given out."""

    number: int
    visible_at: int


def put(txn: Txn, window: Window, entries: Sequence[tuple[Message, int]]) -> None:
    """Add messages, each with the milliseconds it is to be delayed."""
    rows = window.rows
    arrivals: list[Arrival] = []
    new_id = txn.new_id
    for message, delay_ms in entries:
        number = new_id()
        if delay_ms:
            set_aside(txn, window, number, message, State(txn.now + delay_ms, 0, 0, message.sent_at, SET_ASIDE))
            continue
        encoded = encode_message(message)
        txn.put(rows.body(number, FRESH), encoded)
        arrivals.append((number, message, len(encoded)))
    if arrivals:
        txn.then(partial(window.arrived, arrivals))


def set_aside(txn: Txn, window: Window, number: int, message: Message, state: State) -> None:
    """Add one message that stands at `state` from the start: delayed, or old when it came."""
    txn.put(window.rows.body(number, state.flags), encode_message(message))
    txn.put(window.rows.visibility(state.visible_at, number), encode_state(state))
    window_change = _count_state(txn, window, number, state, 1)

    def effect() -> None:
        window.add(number, state)
        window.tally(*window_change)

    txn.then(effect)


class Counted(NamedTuple):
    """Up to where visibility rows count as visible when a transaction is appended, and the counts then."""

    point: Point
    visible: int
    in_flight: int
    delayed: int


def count_due(txn: Txn, window: Window) -> Counted:
    """Move messages whose timeout or delay has ended to the visible ones: all of them, or the first of very many."""
    rows, start = window.rows, window.counted
    end = window.due(txn.now)
    passed: list[tuple[Point, int]] = []
    if end and window.timed[end - 1] > start:
        passed = [(point, window.states[point.number].receives) for point in window.timed[:end] if point > start]
    if window.bound is not None and window.bound.at <= txn.now:
        first = max(after(rows.visibility(*start)), rows.visibility(*window.bound))
        found = txn.scan(first, rows.visibility(txn.now + 1, 0), COUNT_ROWS)
        passed += [(point_of(key), decode_state(0, value).receives) for key, value in found]
    if not passed:
        return Counted(start, window.visible, window.in_flight, window.delayed)
    in_flight = sum(1 for _, receives in passed if receives)
    delayed = len(passed) - in_flight
    upto = passed[-1][0]
    txn.put(rows.counted, encode_point(upto))
    _count(txn, -in_flight, -delayed)

    def effect() -> None:
        window.counted = upto
        window.tally(len(passed), -in_flight, -delayed)

    txn.then(effect)
    counts = (window.visible + len(passed), window.in_flight - in_flight, window.delayed - delayed)
    return Counted(upto, *counts)


class _Candidates:
    """Messages ready to be received, the longest waiting first. Reads only."""

    __slots__ = ("_bodies", "_due", "_txn", "_window", "fresh", "timed")

    def __init__(self, txn: Txn, window: Window) -> None:
        self._txn, self._window = txn, window
        self._due = window.due(txn.now)
        self._bodies: dict[int, Message] = {}
        self.fresh = self.timed = 0
        """How many of either order have been looked at."""

    def next(self) -> tuple[int, State | None, Message] | None:
        """Number, state (None for one never received) and message."""
        window = self._window
        if self.fresh >= len(window.fresh):
            window.fill_fresh(self._txn, self.fresh + 10)
        arrival = window.fresh[self.fresh] if self.fresh < len(window.fresh) else None
        while self.timed >= self._due and window.bound is not None and window.bound.at <= self._txn.now:
            window.fill_timed(self._txn)
            self._due = window.due(self._txn.now)
        if self.timed < self._due:
            point = window.timed[self.timed]
            if arrival is None or point.at <= arrival[1].sent_at:
                self.timed += 1
                return point.number, window.states[point.number], self._body(point.number)
        if arrival is None:
            return None
        self.fresh += 1
        return arrival[0], None, arrival[1]

    def _body(self, number: int) -> Message:
        if number not in self._bodies:
            window = self._window
            points = window.timed[self.timed - 1 : min(self._due, self.timed + 9)]
            keys = [window.rows.body(point.number, window.states[point.number].flags) for point in points]
            for point, value in zip(points, self._txn.get_many(keys), strict=True):
                assert value is not None, "a visibility row has its body beside it"
                self._bodies[point.number] = decode_message(value)
        return self._bodies[number]


def take(txn: Txn, window: Window, limit: int, visibility_ms: int, terms: Terms) -> Taken:
    """Take up to `limit` messages out of sight until `visibility_ms` from now.

    What has expired or was received too often is removed on the way, at most `MAX_REMOVED` in one call.
    """
    now = txn.now
    counted = count_due(txn, window).point
    oldest = now - terms.retention_ms
    candidates = _Candidates(txn, window)
    received: list[Received] = []
    left: list[tuple[int, State]] = []
    gone: list[tuple[int, State | None]] = []
    dead: list[tuple[State, Message]] = []
    expired = 0
    while len(received) < limit and len(gone) < MAX_REMOVED:
        candidate = candidates.next()
        if candidate is None:
            break
        number, state, message = candidate
        if message.sent_at <= oldest:
            expired += 1
            gone.append((number, state))
        elif state is None:
            received.append(Received(number, State(now + visibility_ms, 1, now, message.sent_at, FRESH), message))
        elif terms.max_receives and state.receives >= terms.max_receives:
            dead.append((state, message))
            gone.append((number, state))
        else:
            left.append((number, state))
            flags = state.flags | MOVED if state.receives else state.flags
            first = state.first_received or now
            again = State(now + visibility_ms, state.receives + 1, first, state.sent_at, flags)
            received.append(Received(number, again, message))
    if candidates.fresh:
        last = window.fresh[candidates.fresh - 1][0]
        txn.put(window.rows.cursor, (last + 1).to_bytes(8, "big"))
        txn.then(partial(window.left_fresh, candidates.fresh))
    if gone:
        erase(txn, window, counted, gone)
    if received:
        _hide(txn, window, counted, left, received)
    return Taken(received, dead, expired)


def _hide(txn: Txn, window: Window, counted: Point, left: list[tuple[int, State]], received: list[Received]) -> None:
    """Write where the received ones stand now; `left` is where those stood that had a visibility row before."""
    rows = window.rows
    visible = len(left) - len(received)
    in_flight = delayed = 0
    for number, state in left:
        txn.delete(rows.visibility(state.visible_at, number))
        change = _standing(counted, number, state)
        visible, in_flight, delayed = visible - change[0], in_flight - change[1], delayed - change[2]
    for number, state, _message in received:
        txn.put(rows.visibility(state.visible_at, number), encode_state(state))
        if state.flags & MOVED:
            txn.put(rows.moved(number), state.visible_at.to_bytes(8, "big"))
        change = _standing(counted, number, state)
        visible, in_flight, delayed = visible + change[0], in_flight + change[1], delayed + change[2]
    _count(txn, in_flight, delayed)

    def effect() -> None:
        for number, state in left:
            window.drop(number, state)
        for number, state, _message in received:
            window.add(number, state)
        window.tally(visible, in_flight, delayed)

    txn.then(effect)


def find(txn: ReadTxn, window: Window, claim: Claim) -> State | None:
    """Where the message of a receipt handle stands; None if it is not there any more."""
    state = window.states.get(claim.number)
    if state is not None or window.bound is None:
        return state
    rows = window.rows
    value = txn.get(rows.visibility(claim.visible_at, claim.number))
    if value is not None:
        return decode_state(claim.visible_at, value)
    moved = txn.get(rows.moved(claim.number))
    if moved is None:
        return None
    at = int.from_bytes(moved, "big")
    value = txn.get(rows.visibility(at, claim.number))
    return None if value is None else decode_state(at, value)


def remove(txn: Txn, window: Window, claims: Iterable[Claim]) -> int:
    """Delete messages; how many of them were there."""
    found = {claim.number: state for claim in claims if (state := find(txn, window, claim)) is not None}
    if found:
        erase(txn, window, window.counted, list(found.items()))
    return len(found)


def move(txn: Txn, window: Window, claim: Claim, visible_at: int) -> bool:
    """Let a message that is out of sight become visible at another moment. False if it isn't out of sight."""
    state = find(txn, window, claim)
    if state is None or state.visible_at <= txn.now or not state.receives:
        return False
    number, rows = claim.number, window.rows
    again = state._replace(visible_at=visible_at, flags=state.flags | MOVED)
    txn.delete(rows.visibility(state.visible_at, number))
    txn.put(rows.visibility(visible_at, number), encode_state(again))
    txn.put(rows.moved(number), visible_at.to_bytes(8, "big"))
    before = _count_state(txn, window, number, state, -1)
    change = _count_state(txn, window, number, again, 1)

    def effect() -> None:
        window.drop(number, state)
        window.add(number, again)
        window.tally(*before)
        window.tally(*change)

    txn.then(effect)
    return True


def forget_counts(txn: Txn, window: Window) -> int:
    """Take a whole generation out of the counts, and say how many messages it had. Its rows are the sweeper's."""
    visible, in_flight, delayed = window.visible, window.in_flight, window.delayed
    _count(txn, -in_flight, -delayed)
    txn.then(partial(window.tally, -visible, -in_flight, -delayed))
    return visible + in_flight + delayed


def erase(txn: Txn, window: Window, counted: Point, gone: Sequence[tuple[int, State | None]]) -> None:
    """Delete all rows of these messages. Arrivals (state None) leave the window's own list elsewhere."""
    rows = window.rows
    visible = in_flight = delayed = 0
    delete = txn.delete
    for number, state in gone:
        if state is None:
            delete(rows.body(number, FRESH))
            visible -= 1
            continue
        delete(rows.body(number, state.flags))
        delete(rows.visibility(state.visible_at, number))
        if state.flags & MOVED:
            delete(rows.moved(number))
        change = _standing(counted, number, state)
        visible, in_flight, delayed = visible - change[0], in_flight - change[1], delayed - change[2]
    _count(txn, in_flight, delayed)

    def effect() -> None:
        for number, state in gone:
            if state is not None:
                window.drop(number, state)
        window.tally(visible, in_flight, delayed)

    txn.then(effect)


def _standing(counted: Point, number: int, state: State) -> tuple[int, int, int]:
    """Which of the three counts (visible, in flight, delayed) a message with a visibility row is in."""
    if state.visible_at < counted.at or (state.visible_at == counted.at and number <= counted.number):
        return 1, 0, 0
    return (0, 1, 0) if state.receives else (0, 0, 1)


def _count_state(txn: Txn, window: Window, number: int, state: State, sign: int) -> tuple[int, int, int]:
    visible, in_flight, delayed = _standing(window.counted, number, state)
    change = (sign * visible, sign * in_flight, sign * delayed)
    _count(txn, *change[1:])
    return change


def _count(txn: Txn, in_flight: int, delayed: int) -> None:
    if in_flight:
        txn.count(IN_FLIGHT, in_flight)
    if delayed:
        txn.count(DELAYED, delayed)
