"""How a handler reads: committed state, and the overlay above it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext
from tule.store.backend import Pair, Range
from tule.store.keys import after
from tule.store.space import COUNT
from tule.store.transaction import ReadTxn, ShardKey

if TYPE_CHECKING:
    from tule.store.engine import Engine
    from tule.store.shard import Shard

T = TypeVar("T")

Covering = Callable[[bytes], tuple[bytes, bytes] | None]
RangeRead = Callable[[bytes, bytes, int, bool], list[Pair]]


class Miss(BaseException):
    """What a handler asked for is not in memory. Not an `Exception`, so that no handler catches it by accident."""

    def __init__(self, keys: Sequence[bytes] = (), ranges: Sequence[Range] = ()) -> None:
        super().__init__(keys, ranges)
        self.keys = keys
        self.ranges = ranges


class CommittedView:
    """Committed state alone: what a read-only handler sees on an embedded backend."""

    __slots__ = ("_base", "_base_range", "_engine", "_prefix", "_state", "context", "hints", "now", "shard")

    def __init__(self, engine: "Engine", state: "Shard", context: RequestContext) -> None:
        self._engine = engine
        self._state = state
        self._prefix = state.prefix
        reader = state.reader
        self._base = reader.get
        self._base_range = reader.range
        self.shard: ShardKey = state.key
        self.context = context
        self.now: Instant = engine.clock.now()
        self.hints: list[bytes] | None = None

    def get(self, key: bytes) -> bytes | None:
        return self._base(self._prefix + key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = []
        missing: list[bytes] = []
        get = self.get
        for key in keys:
            try:
                found.append(get(key))
            except Miss as miss:
                missing.extend(miss.keys)
        if missing:
            raise Miss(missing)
        return found

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[Pair]:
        prefix = self._prefix
        skip = len(prefix)
        return [(key[skip:], value) for key, value in self._base_range(prefix + start, prefix + end, limit, reverse)]

    def ahead(self, keys: Sequence[bytes]) -> None:
        if self._engine.remote:
            prefix = self._prefix
            self.hints = [*(self.hints or ()), *(prefix + key for key in keys)]

    def counter(self, name: str) -> int:
        state = self._state
        if self._engine.remote and (counter := state.counters.get(name)) is not None:
            return counter.value
        raw = state.uncached.get(state.counter_key(name))
        return 0 if raw is None else int(COUNT.unpack(raw)[0])

    def memory(self, name: str, build: Callable[[ReadTxn], T]) -> T:
        kept = self._state.memory
        if name not in kept:
            # Built from everything appended, without what this transaction wrote: that reaches memory by `then`.
            kept[name] = build(AppendedView(self._engine, self._state, self.context))
        value: T = kept[name]
        return value


class AppendedView(CommittedView):
    """Committed state under what has been appended since."""

    __slots__ = ()

    def get(self, key: bytes) -> bytes | None:
        return self._appended(self._prefix + key)

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[Pair]:
        return self._merged(start, end, limit, reverse, {}, None)

    def _appended(self, key: bytes) -> bytes | None:
        overlay = self._state.overlay
        entry = overlay.entries.get(key)
        if entry is not None:
            return entry[0]
        if overlay.ranges and overlay.covering(key) is not None:
            return None
        return self._base(key)

    def _merged(
        self,
        start: bytes,
        end: bytes,
        limit: int,
        reverse: bool,  # noqa: FBT001 - passed on from a keyword
        writes: Mapping[bytes, bytes | None],
        ranges: Sequence[tuple[bytes, bytes]] | None,
    ) -> list[Pair]:
        prefix = self._prefix
        skip = len(prefix)
        start, end = prefix + start, prefix + end
        overlay = self._state.overlay
        if not (writes or ranges or overlay.touches(start, end)):
            return [(key[skip:], value) for key, value in self._base_range(start, end, limit, reverse)]
        changes = overlay.within(start, end, reverse=reverse)
        covering: Covering | None = overlay.covering if overlay.ranges else None
        if ranges:
            changes = (change for change in changes if _within(ranges, change[0]) is None)
            covering = _either(ranges, covering)
        if writes:
            changes = _above(_sorted(writes, start, end, reverse), changes, reverse)
        rows = _uncovered(self._base_range, covering, Range(start, end, limit, reverse))
        return _merge(rows, changes, limit, reverse, skip)


def _within(ranges: Sequence[tuple[bytes, bytes]], key: bytes) -> tuple[bytes, bytes] | None:
    for start, end in ranges:
        if start <= key < end:
            return start, end
    return None


def _either(ranges: Sequence[tuple[bytes, bytes]], other: Covering | None) -> Covering:
    def covering(key: bytes) -> tuple[bytes, bytes] | None:
        return _within(ranges, key) or (other(key) if other is not None else None)

    return covering


Change = tuple[bytes, bytes | None]


def _sorted(writes: Mapping[bytes, bytes | None], start: bytes, end: bytes, reverse: bool) -> Iterator[Change]:  # noqa: FBT001 - passed on from a keyword
    keys = sorted((key for key in writes if start <= key < end), reverse=reverse)
    return iter([(key, writes[key]) for key in keys])


def _above(upper: Iterator[Change], lower: Iterator[Change], reverse: bool) -> Iterator[Change]:  # noqa: FBT001 - passed on from a keyword
    """Both in order; where they have the same key, the upper one's change."""
    high, low = next(upper, None), next(lower, None)
    while high is not None and low is not None:
        if high[0] == low[0]:
            low = next(lower, None)
        elif (high[0] < low[0]) != reverse:
            yield high
            high = next(upper, None)
        else:
            yield low
            low = next(lower, None)
    while high is not None:
        yield high
        high = next(upper, None)
    while low is not None:
        yield low
        low = next(lower, None)


def _uncovered(read: RangeRead, covering: Covering | None, asked: Range) -> Iterator[Pair]:
    """Committed rows that no deleted range covers, read in chunks and jumping over the deleted ranges."""
    start, end, limit, reverse = asked
    while start < end:
        # A range that holds everything from here on to its border is skipped without reading it.
        hidden = covering(start) if covering is not None and not reverse else None
        if hidden is not None:
            start = hidden[1]
            continue
        chunk = read(start, end, limit, reverse)
        for row in chunk:
            if covering is None or covering(row[0]) is None:
                yield row
        if len(chunk) < limit:
            return
        if reverse:
            end = chunk[-1][0]
            hidden = covering(end) if covering is not None else None
            end = end if hidden is None else min(end, hidden[0])
        else:
            start = after(chunk[-1][0])


def _merge(rows: Iterator[Pair], changes: Iterator[Change], limit: int, reverse: bool, skip: int) -> list[Pair]:  # noqa: FBT001 - passed on from a keyword
    found: list[Pair] = []
    change = next(changes, None)
    row: Pair | None = None
    unread = True
    while len(found) < limit:
        if unread:
            row, unread = next(rows, None), False
        if change is None:
            if row is None:
                break
            found.append((row[0][skip:], row[1]))
            unread = True
        elif row is None or change[0] == row[0] or (change[0] < row[0]) != reverse:
            unread = row is not None and change[0] == row[0]
            if change[1] is not None:
                found.append((change[0][skip:], change[1]))
            change = next(changes, None)
        else:
            found.append((row[0][skip:], row[1]))
            unread = True
    return found
