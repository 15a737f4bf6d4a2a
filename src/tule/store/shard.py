"""A shard as its owner keeps it in memory. All of it can be rebuilt from the store."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tule.store.keys import pack
from tule.store.overlay import Overlay
from tule.store.space import COUNTER, shard_prefix, slot_of
from tule.store.transaction import ShardKey

if TYPE_CHECKING:
    from tule.store.backend import Pair, Range, Reader
    from tule.store.batch import Batch
    from tule.store.runner import Run


class Counter:
    """The sum of everything counted under one name, transactions that are not committed yet included."""

    __slots__ = ("key", "value")

    def __init__(self, key: bytes, value: int) -> None:
        self.key = key
        self.value = value


@runtime_checkable
class Remembered(Protocol):
    """What `Txn.memory` built may have this method: others may wait for it who must look again."""

    def forgotten(self) -> None:
        """The store has dropped it; the next handler builds another."""


class Shard:
    """Its overlay, counters and what services remember of it."""

    __slots__ = (
        "batch",
        "counters",
        "fetched",
        "fetched_ranges",
        "fetching",
        "key",
        "memory",
        "overlay",
        "prefix",
        "reader",
        "slot",
        "uncached",
        "waiting",
    )

    def __init__(self, key: ShardKey, prefix: bytes | None = None) -> None:
        self.key = key
        self.reader: Reader
        self.uncached: Reader
        """For counters, whose values no overlay holds until they are durable."""
        self.prefix = shard_prefix(key) if prefix is None else prefix
        self.slot = slot_of(self.prefix) if prefix is None else -1
        self.overlay = Overlay()
        self.batch: Batch | None = None
        self.counters: dict[str, Counter] = {}
        self.memory: dict[str, Any] = {}
        self.fetching = False
        self.waiting: list[Run] = []
        self.fetched: dict[bytes, bytes | None] = {}
        self.fetched_ranges: dict[Range, Sequence[Pair]] = {}

    def is_idle(self) -> bool:
        """Whether it holds nothing that is worth keeping or waited for."""
        return not (self.memory or self.batch or self.overlay.entries or self.overlay.ranges or self.fetching)

    def counter_key(self, name: str) -> bytes:
        return self.prefix + COUNTER + pack(name)

    def forget(self) -> None:
        """A commit was refused: what was built on it is gone."""
        self.overlay.clear()
        self.counters.clear()
        self.batch = None
        self.forget_memory()

    def forget_memory(self) -> None:
        """What services remember can't be trusted any more; those who want to know it are told."""
        memory, self.memory = self.memory, {}
        for value in memory.values():
            if isinstance(value, Remembered):
                value.forgotten()
