"""One run of a transact handler: its own writes, unseen by anyone until the engine appends them."""

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext
from tule.kernel.limits import MAX_BATCH_BYTES, MAX_KEY_BYTES
from tule.store.backend import Pair
from tule.store.keys import KeyTooLongError, pack
from tule.store.outbox import Letter
from tule.store.records import DueRecord, encode
from tule.store.shard import Counter
from tule.store.space import COUNT, DIRECTORY, DUE, NUMBER, TIMER
from tule.store.transaction import Target
from tule.store.view import AppendedView

if TYPE_CHECKING:
    from tule.store.engine import Engine
    from tule.store.shard import Shard


class TransactionTooLargeError(ValueError):
    """More than `MAX_BATCH_BYTES` of values in one transaction; services bound their requests below that."""

    def __init__(self, size: int) -> None:
        super().__init__(f"A transaction of {size} bytes was made; at most {MAX_BATCH_BYTES} are allowed.")


class Transaction(AppendedView):
    """What a handler has written so far; appended as a whole when it returns, dropped when it raises."""

    __slots__ = ("commits", "counts", "dues", "effects", "ranges", "raw", "sends", "size", "writes")

    def __init__(self, engine: "Engine", state: "Shard", context: RequestContext) -> None:
        # As in `CommittedView`, without the call: one of these is made for every request that writes.
        self._engine = engine
        self._state = state
        self._prefix = state.prefix
        reader = state.reader
        self._base = reader.get
        self._base_range = reader.range
        self.shard = state.key
        self.context = context
        self.now = engine.clock.now()
        self.hints = None
        self.writes: dict[bytes, bytes | None] = {}
        self.size = 0
        self.ranges: list[tuple[bytes, bytes]] | None = None
        self.counts: list[tuple[Counter, int]] | None = None
        self.raw: dict[bytes, bytes | None] | None = None
        self.dues: dict[bytes, bytes | None] | None = None
        self.sends: list[Letter] | None = None
        self.effects: list[Callable[[], None]] | None = None
        self.commits: list[Callable[[], None]] | None = None

    def wrote(self) -> bool:
        """Whether anything of it must be committed."""
        return bool(self.writes or self.ranges or self.counts or self.raw or self.dues or self.sends)

    def abandon(self) -> None:
        """Forget everything written so far, as if the handler had just begun."""
        self.writes.clear()
        self.size = 0
        self.ranges = self.counts = self.raw = self.dues = self.sends = self.effects = self.commits = None

    def get(self, key: bytes) -> bytes | None:
        return self._current(self._prefix + key)

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[Pair]:
        return self._merged(start, end, limit, reverse, self.writes, self.ranges)

    def put(self, key: bytes, value: bytes) -> None:
        key = self._prefix + key
        if len(key) > MAX_KEY_BYTES:
            raise KeyTooLongError(len(key))
        self.writes[key] = value
        self.size += len(value)
        if self.size > MAX_BATCH_BYTES:
            raise TransactionTooLargeError(self.size)

    def delete(self, key: bytes) -> None:
        self.writes[self._prefix + key] = None

    def delete_range(self, start: bytes, end: bytes) -> None:
        start, end = self._prefix + start, self._prefix + end
        for key in [key for key in self.writes if start <= key < end]:
            del self.writes[key]
        if self.ranges is None:
            self.ranges = []
        self.ranges.append((start, end))

    def count(self, name: str, n: int) -> None:
        counter = self._state.counters.get(name) or self._counter(name)
        if self.counts is None:
            self.counts = []
        self.counts.append((counter, n))

    def enlist(self, kind: str, name: str, value: bytes) -> None:
        self.write(self._entry(kind, name), value)

    def delist(self, kind: str, name: str) -> None:
        self.erase(self._entry(kind, name))

    def send(self, target: Target, message: bytes) -> None:
        if self.sends is None:
            self.sends = []
        self.sends.append(Letter(0, self.shard, target, message, self.context.trace.header()))
        self.size += len(message)
        if self.size > MAX_BATCH_BYTES:
            raise TransactionTooLargeError(self.size)

    def due(self, at: Instant, timer: str, key: bytes, payload: bytes = b"") -> None:
        index = self._prefix + TIMER + pack(timer, key)
        self._forget_due(index)
        dues = self.dues = self.dues if self.dues is not None else {}
        record = DueRecord(self.shard, timer, key, payload, self.context.trace.header())
        dues[_due_key(index, at)] = encode(record)
        self.writes[index] = NUMBER.pack(max(at, 0))

    def cancel_due(self, timer: str, key: bytes) -> None:
        index = self._prefix + TIMER + pack(timer, key)
        if self._forget_due(index):
            self.writes[index] = None

    def due_at(self, timer: str, key: bytes) -> Instant | None:
        """When an entry is due, or None if there is none."""
        found = self._current(self._prefix + TIMER + pack(timer, key))
        return None if found is None else Instant(NUMBER.unpack(found)[0])

    def write(self, key: bytes, value: bytes) -> None:
        """Put a row outside the shard that no handler reads: a list's entry, a fate."""
        if self.raw is None:
            self.raw = {}
        self.raw[key] = value

    def erase(self, key: bytes) -> None:
        """Delete such a row."""
        if self.raw is None:
            self.raw = {}
        self.raw[key] = None

    def then(self, effect: Callable[[], None]) -> None:
        if self.effects is None:
            self.effects = []
        self.effects.append(effect)

    def after_commit(self, effect: Callable[[], None]) -> None:
        if self.commits is None:
            self.commits = []
        self.commits.append(effect)

    def new_id(self) -> int:
        return self._engine.ids.take(self._state.slot)

    def random(self, n: int) -> bytes:
        return self._engine.random.token(n)

    def _current(self, key: bytes) -> bytes | None:
        if key in self.writes:
            return self.writes[key]
        if self.ranges:
            for start, end in self.ranges:
                if start <= key < end:
                    return None
        return self._appended(key)

    def _counter(self, name: str) -> Counter:
        key = self._state.counter_key(name)
        raw = self._state.uncached.get(key)
        counter = Counter(key, 0 if raw is None else COUNT.unpack(raw)[0])
        self._state.counters[name] = counter
        return counter

    def _entry(self, kind: str, name: str) -> bytes:
        shard = self.shard
        return DIRECTORY + pack(shard.service, shard.account, shard.region, kind, name)

    def _forget_due(self, index: bytes) -> bool:
        before = self._current(index)
        if before is None:
            return False
        dues = self.dues = self.dues if self.dues is not None else {}
        dues[_due_key(index, Instant(NUMBER.unpack(before)[0]))] = None
        return True


def _due_key(index: bytes, at: Instant) -> bytes:
    """In order of time; entries of one instant in no particular order, but always the same."""
    return DUE + NUMBER.pack(max(at, 0)) + blake2b(index, digest_size=16).digest()
