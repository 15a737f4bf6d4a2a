"""Values of committed keys in memory: what was fetched or written lately, without asking the backend again."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from tule.store.backend import Reader

if TYPE_CHECKING:
    from tule.store.batch import Batch
    from tule.store.shard import Shard

MISSING: Final[Any] = object()
"""What `Cache.get` says of a key it knows nothing of; None says that there is no such row."""

ENTRY_BYTES: Final = 120
"""What an entry costs beside its key and value (measured)."""


class Cache:
    """Two generations of values: what is used moves to the younger one, and the older one leaves as a whole.

    That bounds it as an order of use would, and costs a look-up where an order costs a list.
    """

    __slots__ = ("_bytes", "_old", "limit_bytes", "young")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        """0 keeps nothing."""
        self._bytes = 0
        self._old: dict[bytes, bytes | None] = {}
        self.young: dict[bytes, bytes | None] = {}
        """The younger generation, for readers in a hurry."""

    def __contains__(self, key: bytes) -> bool:
        return key in self.young or key in self._old

    def get(self, key: bytes) -> Any:
        """The value, None if it is known that there is none, or `MISSING`."""
        value = self.young.get(key, MISSING)
        if value is MISSING:
            value = self._old.pop(key, MISSING)
            if value is not MISSING:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: bytes | None) -> None:
        self.young[key] = value
        self._bytes += len(key) + (len(value) if value is not None else 0) + ENTRY_BYTES
        if 2 * self._bytes > self.limit_bytes:
            self._bytes = 0
            self._old, self.young = self.young if self.limit_bytes else {}, {}

    def absorb(self, batch: "Batch") -> None:
        """The batch is durable now: keep all it wrote, since a miss is a journey to the database."""
        if batch.ranges:
            self._erase(batch.ranges)
        writes, put = batch.writes, self.put
        for key in _rows_of_shards(batch):
            put(key, writes[key])

    def renew(self, batch: "Batch") -> None:
        """The batch is durable now: keep what it wrote of what somebody has asked for."""
        if batch.ranges:
            self._erase(batch.ranges)
        writes = batch.writes
        for key in _rows_of_shards(batch):
            if key in self.young or key in self._old:
                self.put(key, writes[key])

    def clear(self) -> None:
        self.young, self._old = {}, {}
        self._bytes = 0

    def _erase(self, ranges: list[tuple[bytes, bytes]]) -> None:
        for generation in (self.young, self._old):
            for start, end in ranges:
                for key in [key for key in generation if start <= key < end]:
                    del generation[key]


def _rows_of_shards(batch: "Batch") -> Iterator[bytes]:
    """What handlers wrote, without the store's own rows and counters, which are read past the cache."""
    writes = batch.writes
    for shard, keys in batch.touched.items():
        if shard.slot >= 0:
            for key in keys:
                if key in writes:
                    yield key


class CachedReader:
    """One shard's committed rows on an embedded backend, by key from memory where they are known.

    The backend's snapshot may be newer than what is acknowledged, and the cache is not. So what a batch on its way has
    written is read from the snapshot, and not kept: all reads of one handler are of one state.
    """

    __slots__ = ("_cache", "_entries", "_overlay", "_rows", "range", "refresh")

    def __init__(self, shard: "Shard", rows: Reader, cache: Cache) -> None:
        self._cache = cache
        self._overlay = shard.overlay
        self._entries = shard.overlay.entries
        self._rows = rows.get
        self.range = rows.range
        self.refresh = rows.refresh

    def get(self, key: bytes) -> bytes | None:
        if key in self._entries or self._overlay.ranges:
            return self._rows(key)
        cache = self._cache
        value: Any = cache.young.get(key, MISSING)
        if value is MISSING:
            value = cache.get(key)
            if value is MISSING:
                value = self._rows(key)
                cache.put(key, value)
        found: bytes | None = value
        return found
