"""Rows in memory, gone with the process; and the same behind fetches, which forces every handler to be run again."""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from tule.store.backend import Pair, Range
from tule.store.batch import Batch, steps

_FEW = 16


class MemoryBackend:
    """A dict and its keys in order."""

    threaded = False
    cache_bytes = 0

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def open(self) -> "MemoryBackend":
        return self

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def range(self, start: bytes, end: bytes, limit: int, reverse: bool) -> list[Pair]:  # noqa: FBT001 - as `Reader`
        keys, rows = self._keys, self._rows
        low, high = bisect_left(keys, start), bisect_left(keys, end)
        if reverse:
            found = keys[max(low, high - limit) : high]
            found.reverse()
        else:
            found = keys[low : min(high, low + limit)]
        return [(key, rows[key]) for key in found]

    def refresh(self) -> None: ...

    def commit(self, batches: Sequence[Batch]) -> None:
        for step in steps(batches):
            for start, end in step.ranges:
                low, high = bisect_left(self._keys, start), bisect_left(self._keys, end)
                for key in self._keys[low:high]:
                    del self._rows[key]
                del self._keys[low:high]
            self._write(step.writes)

    def close(self) -> None: ...

    def close_writer(self) -> None: ...

    def _write(self, writes: dict[bytes, bytes | None]) -> None:
        rows, keys = self._rows, self._keys
        fresh = []
        for key, value in writes.items():
            if value is None:
                if rows.pop(key, None) is not None:
                    del keys[bisect_left(keys, key)]
            else:
                if key not in rows:
                    fresh.append(key)
                rows[key] = value
        if len(fresh) <= _FEW:
            for key in fresh:
                insort(keys, key)
        else:
            keys.extend(fresh)
            keys.sort()


async def _turn() -> None:
    """Let the loop turn once."""
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


@dataclass
class ForcedMissBackend:
    """Memory that must be fetched and is forgotten at once: every first read of a run misses."""

    rows: MemoryBackend = field(default_factory=MemoryBackend)
    cache_bytes: int = 0
    fetches: int = 0

    async def open(self) -> None: ...

    async def fetch(
        self, keys: Sequence[bytes], ranges: Sequence[Range]
    ) -> tuple[list[bytes | None], list[list[Pair]]]:
        self.fetches += 1
        found = [self.rows.get(key) for key in keys], [self.rows.range(*asked) for asked in ranges]
        await _turn()  # the snapshot is older than what is appended meanwhile, as over a connection
        return found

    async def commit(self, batches: Sequence[Batch]) -> None:
        await _turn()
        self.rows.commit(batches)
        await _turn()

    async def erase(self) -> None:
        self.rows = MemoryBackend()

    async def close(self) -> None: ...
