"""What a queue's owner keeps in memory: the next messages in both orders, and how many stand where.

The window is bounded. Each of its two halves knows up to where it is complete, so it never takes "not in memory" for
"not there". It can be rebuilt from the store at any time.

Filling it from the store, like building it, tells nothing new and so needs no `Txn.then`; whatever a transaction
changes does.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence
from typing import Final

from tule.store.layers.queues_rows import (
    END_OF_IDS,
    Message,
    Point,
    QueueRows,
    State,
    decode_message,
    decode_point,
    decode_state,
    number_of,
    point_of,
)
from tule.store.transaction import ReadTxn

IN_FLIGHT: Final = "queue/in-flight"
DELAYED: Final = "queue/delayed"

MAX_FRESH: Final = 512
MAX_FRESH_BYTES: Final = 512 * 1024
"""Arrivals held with their bodies (ours: a few receives of ten ahead; a thousand busy queues stay under half a GiB)."""
MAX_TIMED: Final = 8_192
"""Visibility rows held (ours: about 3 MiB; more in flight than that are looked up in the store)."""
FILL_TIMED: Final = 512
FIRST_FILL_FRESH: Final = 16
"""Bodies read before their size is known: sixteen of the largest are 16 MiB."""
MAX_FILL_FRESH: Final = 128

Arrival = tuple[int, Message, int]
"""Number, message, size in the store."""


class Window:
    """The heads of one generation of a queue.

    `fresh`: arrivals not received yet, in order; complete if `fresh_complete`, else up to before `fresh_from`.
    `timed` and `states`: messages with a visibility row, in its order; complete up to before `bound`, or wholly if
    that is None. `counted`: up to there visibility rows have been moved to the count of visible messages.
    """

    __slots__ = (
        "bound",
        "counted",
        "cursor",
        "delayed",
        "fresh",
        "fresh_bytes",
        "fresh_complete",
        "fresh_from",
        "in_flight",
        "rows",
        "states",
        "timed",
        "visible",
    )

    def __init__(self, rows: QueueRows) -> None:
        self.rows = rows
        self.fresh: deque[Arrival] = deque()
        self.fresh_bytes = 0
        self.fresh_complete = True
        self.fresh_from = 0
        self.cursor = 0
        self.timed: list[Point] = []
        self.states: dict[int, State] = {}
        self.bound: Point | None = None
        self.counted = Point(0, 0)
        self.visible = self.in_flight = self.delayed = 0

    @classmethod
    def load(cls, txn: ReadTxn, generation: int, present: int) -> "Window":
        """The window as the store has it; `present` is how many messages there are in all."""
        window = cls(QueueRows(generation))
        rows = window.rows
        cursor, counted = txn.get_many([rows.cursor, rows.counted])
        window.cursor = window.fresh_from = int.from_bytes(cursor, "big") if cursor else 0
        window.counted = decode_point(counted) if counted else Point(0, 0)
        window.fresh_complete = False
        window.bound = Point(0, 0)
        window.fill_timed(txn)
        window.in_flight = txn.counter(IN_FLIGHT)
        window.delayed = txn.counter(DELAYED)
        window.visible = present - window.in_flight - window.delayed
        return window

    # Filling: reads only, before a transaction's own writes.

    def fill_timed(self, txn: ReadTxn) -> None:
        """Read on where the visibility rows in memory end."""
        assert self.bound is not None
        start = self.rows.visibility(*self.bound)
        found = txn.scan(start, self.rows.visibility(END_OF_IDS, END_OF_IDS), FILL_TIMED)
        self.bound = None
        if len(found) == FILL_TIMED:
            last = point_of(found[-1][0])
            self.bound = Point(last.at, last.number + 1)
        for key, value in found:
            point = point_of(key)
            self.timed.append(point)
            self.states[point.number] = decode_state(point.at, value)

    def fill_fresh(self, txn: ReadTxn, wanted: int) -> None:
        """Read on where the arrivals in memory end, until `wanted` are there or there are no more."""
        while not self.fresh_complete and len(self.fresh) < wanted:
            average = self.fresh_bytes // len(self.fresh) if self.fresh else 0
            limit = FIRST_FILL_FRESH
            if average:
                limit = max(FIRST_FILL_FRESH, min(MAX_FILL_FRESH, MAX_FRESH_BYTES // average))
            found = txn.scan(self.rows.body(self.fresh_from, 0), self.rows.fresh_end, limit)
            for key, value in found:
                self.fresh.append((number_of(key), decode_message(value), len(value)))
                self.fresh_bytes += len(value)
            if found:
                self.fresh_from = number_of(found[-1][0]) + 1
            self.fresh_complete = len(found) < limit

    # Looking.

    def due(self, now: int) -> int:
        """How many of the visibility rows in memory have come due: they are the first ones of `timed`."""
        timed = self.timed
        if not timed or timed[0].at > now:
            return 0
        return bisect_right(timed, (now, END_OF_IDS))

    def next_due(self, now: int) -> int | None:
        """The next moment at which a message becomes visible by itself."""
        position = self.due(now)
        if position < len(self.timed):
            return self.timed[position].at
        return None if self.bound is None else self.bound.at

    def uncounted(self, now: int) -> bool:
        """Whether timeouts have ended that the counts don't know of yet."""
        due = self.due(now)
        if due and self.timed[due - 1] > self.counted:
            return True
        return self.bound is not None and self.bound.at <= now and self.counted.at < now

    # Changing: through `Txn.then` alone.

    def arrived(self, arrivals: Sequence[Arrival]) -> None:
        """New messages that may be received at once."""
        self.visible += len(arrivals)
        for arrival in arrivals:
            if not self.fresh_complete:
                return
            if len(self.fresh) >= MAX_FRESH or self.fresh_bytes >= MAX_FRESH_BYTES:
                self.fresh_complete = False
                return
            self.fresh.append(arrival)
            self.fresh_bytes += arrival[2]
            self.fresh_from = arrival[0] + 1

    def left_fresh(self, n: int) -> None:
        """The first `n` arrivals in memory were received or have expired."""
        fresh = self.fresh
        for _ in range(n):
            number, _message, size = fresh.popleft()
            self.fresh_bytes -= size
        self.cursor = number + 1

    def add(self, number: int, state: State) -> None:
        """A visibility row was written."""
        point = Point(state.visible_at, number)
        timed = self.timed
        if self.bound is not None and point >= self.bound:
            return
        if not timed or point > timed[-1]:
            if len(timed) >= MAX_TIMED:
                self.bound = point
                return
            timed.append(point)
        else:
            insort(timed, point)
            if len(timed) > MAX_TIMED:
                self.bound = timed.pop()
                del self.states[self.bound.number]
        self.states[number] = state

    def drop(self, number: int, state: State) -> None:
        """A visibility row was deleted."""
        if self.states.pop(number, None) is None:
            return
        point = Point(state.visible_at, number)
        position = bisect_left(self.timed, point)
        assert self.timed[position] == point
        del self.timed[position]

    def tally(self, visible: int, in_flight: int, delayed: int) -> None:
        """Counts have moved by so much."""
        self.visible += visible
        self.in_flight += in_flight
        self.delayed += delayed
