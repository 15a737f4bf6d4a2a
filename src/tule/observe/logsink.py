"""Function output on its way to CloudWatch Logs: a bounded queue that the logs service empties."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""Messages that wait for the logs service (ours). Beyond it the newest are shed: order within a stream stays whole."""

_EVENT_BYTES: Final = 26
"""What CloudWatch Logs adds to every event's size."""


class LogBatch(NamedTuple):
    """Events of one stream, as one `write` brought them."""

    account: str
    region: str
    group: str
    stream: str
    events: Sequence[tuple[int, str]]
    size_bytes: int


class LogQueue:
    """The `LogSink` port. `first` is called when something comes and nobody has ever taken: the consumer is to start.

    One consumer calls `take`; while there is none, writing goes on up to the limit."""

    def __init__(self, first: Callable[[], None] = lambda: None) -> None:
        self._first = first
        self._waiting: deque[LogBatch] = deque()
        self._arrived = asyncio.Event()
        self._consumed = False
        self.waiting_bytes = 0
        self.shed_events = 0

    def write(self, account: str, region: str, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Append (timestamp in ms, message) pairs, or shed and count them when there is no room."""
        size = sum(len(message) + _EVENT_BYTES for _, message in events)
        if self.waiting_bytes + size > MAX_WAITING_BYTES:
            self.shed_events += len(events)
            return
        if not self._consumed and not self._waiting:
            self._first()
        self._waiting.append(LogBatch(account, region, group, stream, events, size))
        self.waiting_bytes += size
        self._arrived.set()

    async def take(self, limit: int = 100) -> list[LogBatch]:
        """The oldest batches, at most `limit`; waits until there is one."""
        self._consumed = True
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        self.waiting_bytes -= sum(batch.size_bytes for batch in taken)
        return taken
