"""What transactions have written to a shard that is not acknowledged yet, in key order, above committed state."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence

_FEW = 16
"""Up to this many new keys are inserted one by one; more are sorted in, which Python does by merging runs."""
_SLACK = 256
"""How many keys may be listed that have left before the list is made anew."""


class Overlay:
    """Keys with their newest value (None: deleted) and the number of the batch that wrote it last."""

    __slots__ = ("_acknowledged", "_fresh", "_keys", "_listed", "_pins", "_waiting", "entries", "ranges")

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[bytes | None, int]] = {}
        self.ranges: list[tuple[bytes, bytes, int]] = []
        self._keys: list[bytes] = []
        self._fresh: list[bytes] = []
        self._listed: set[bytes] = set()
        self._pins = 0
        self._acknowledged = 0
        self._waiting: list[Sequence[bytes]] = []

    def append(self, writes: Mapping[bytes, bytes | None], number: int) -> None:
        entries, listed, fresh = self.entries, self._listed, self._fresh
        for key, value in writes.items():
            if key not in listed:
                listed.add(key)
                fresh.append(key)
            entries[key] = (value, number)

    def delete_range(self, start: bytes, end: bytes, number: int) -> None:
        keys = self._sorted()
        for key in keys[bisect_left(keys, start) : bisect_left(keys, end)]:
            self.entries.pop(key, None)
        self.ranges.append((start, end, number))

    def acknowledge(self, keys: Sequence[bytes], number: int) -> None:
        """The batch `number`, and so every one before it, is durable; `keys` are those it wrote here."""
        self._acknowledged = number
        if self._pins:
            self._waiting.append(keys)
        else:
            self._leave(keys)

    def pin(self) -> None:
        """Let nothing leave until `unpin`: a fetch is under way that must not win over newer values."""
        self._pins += 1

    def unpin(self) -> None:
        self._pins -= 1
        if not self._pins:
            waiting, self._waiting = self._waiting, []
            for keys in waiting:
                self._leave(keys)

    def clear(self) -> None:
        """Forget everything: the batches were refused. Pins stay with those who hold them."""
        self.entries.clear()
        self.ranges.clear()
        self._waiting.clear()
        self._keys, self._fresh, self._listed = [], [], set()

    def covering(self, key: bytes) -> tuple[bytes, bytes] | None:
        """A deleted range that `key` lies in."""
        for start, end, _ in self.ranges:
            if start <= key < end:
                return start, end
        return None

    def touches(self, start: bytes, end: bytes) -> bool:
        """Whether it may hold anything about start <= key < end."""
        if self.ranges:
            return True
        if not self.entries:
            return False
        keys = self._sorted()
        return bisect_left(keys, start) < bisect_left(keys, end)

    def within(self, start: bytes, end: bytes, *, reverse: bool) -> Iterator[tuple[bytes, bytes | None]]:
        """Its entries with start <= key < end, in order or from the end backwards. Not to be changed meanwhile."""
        keys, entries = self._sorted(), self.entries
        low, high = bisect_left(keys, start), bisect_left(keys, end)
        places = range(high - 1, low - 1, -1) if reverse else range(low, high)
        for place in places:
            key = keys[place]
            if (entry := entries.get(key)) is not None:
                yield key, entry[0]

    def _leave(self, keys: Sequence[bytes]) -> None:
        entries, number = self.entries, self._acknowledged
        for key in keys:
            entry = entries.get(key)
            if entry is not None and entry[1] <= number:
                del entries[key]
        if self.ranges:
            self.ranges = [entry for entry in self.ranges if entry[2] > number]
        if len(self._listed) > 2 * len(entries) + _SLACK:
            self._keys, self._fresh, self._listed = [], list(entries), set(entries)

    def _sorted(self) -> list[bytes]:
        fresh, keys = self._fresh, self._keys
        if fresh:
            if len(fresh) <= _FEW:
                for key in fresh:
                    insort(keys, key)
            else:
                keys.extend(fresh)
                keys.sort()
            fresh.clear()
        return keys
