"""What is committed together: the writes of all transactions of one turn of the loop."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tule.store.contract import Done
    from tule.store.shard import Counter, Shard

OPEN = 0
CLOSED = 1
DURABLE = 2
REFUSED = 3


class Batch:
    """Range deletions first, then the last value of every key that was written (None deletes)."""

    __slots__ = (
        "answers",
        "bytes",
        "closed_s",
        "counted",
        "effects",
        "epoch",
        "number",
        "ranges",
        "state",
        "touched",
        "writes",
    )

    def __init__(self, number: int, epoch: int) -> None:
        self.number = number
        self.epoch = epoch
        self.state = OPEN
        self.writes: dict[bytes, bytes | None] = {}
        self.ranges: list[tuple[bytes, bytes]] = []
        self.touched: dict[Shard, list[bytes]] = {}
        self.counted: set[Counter] = set()
        self.answers: list[tuple[Done, Any, BaseException | None]] = []
        self.effects: list[Callable[[], None]] = []
        self.bytes = 0
        self.closed_s = 0.0

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Forget what was written in the range so far and delete what is stored there."""
        for key in [key for key in self.writes if start <= key < end]:
            del self.writes[key]
        self.ranges.append((start, end))

    def slots(self) -> list[int]:
        """The slots whose shards it writes, ascending: what a fence must cover. Rows of no shard count as slot 0's."""
        return sorted({max(shard.slot, 0) for shard in self.touched}) or [0]


class Step:
    """Part of what several batches do together: ranges to delete, then keys to delete and pairs to put."""

    __slots__ = ("ranges", "writes")

    def __init__(self, ranges: list[tuple[bytes, bytes]], writes: dict[bytes, bytes | None]) -> None:
        self.ranges = ranges
        self.writes = writes

    def puts(self) -> list[tuple[bytes, bytes]]:
        return [(key, value) for key, value in self.writes.items() if value is not None]

    def deletes(self) -> list[bytes]:
        return [key for key, value in self.writes.items() if value is None]


def steps(batches: Iterable[Batch]) -> Iterator[Step]:
    """The fewest steps that do in order what the batches do, each key once a step."""
    step: Step | None = None
    for batch in batches:
        if step is None:
            step = Step(batch.ranges, batch.writes)
        elif batch.ranges:
            yield step
            step = Step(batch.ranges, batch.writes)
        else:
            step = Step(step.ranges, {**step.writes, **batch.writes})
    if step is not None:
        yield step
