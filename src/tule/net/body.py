"""The body of a request that a route reads as it arrives."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self


class ClientGoneError(ConnectionError):
    """The client went away, or broke the protocol, in the middle of its body."""


class BodyStream:
    """Chunks of a request's body in order; iterate once. The connection stops reading while much is unread."""

    __slots__ = ("_chunks", "_failed", "_on_read", "_waiter", "ended", "unread_bytes")

    def __init__(self, on_read: Callable[[], None]) -> None:
        self._chunks: deque[bytes] = deque()
        self._on_read = on_read
        self._waiter: asyncio.Future[None] | None = None
        self._failed = False
        self.ended = False
        self.unread_bytes = 0

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.unread_bytes += len(chunk)
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def fail(self) -> None:
        """No more will come although the body is incomplete."""
        self._failed = True
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self.ended:
                raise StopAsyncIteration
            if self._failed:
                raise ClientGoneError
            self._on_read()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk = self._chunks.popleft()
        self.unread_bytes -= len(chunk)
        self._on_read()
        return chunk

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
