"""An answer that a function streams: its chunks on their way to whoever asked, no faster than that one takes them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tule.runtime.contract import ResponseSink

STREAMED_MAX_BYTES: Final = 200 * 1024 * 1024
"""AWS: the largest streamed response (since July 2025; it was 20 MB before). Its bandwidth after the first 6 MB is not
modelled."""

HIGH_BYTES: Final = 256 * 1024
"""What may wait for the caller before the function is made to wait (ours); it goes on at a quarter of it."""


class ResponseStream:
    """Hands chunks to a sink in order. `pause` and `resume` stop and start what feeds it.

    A sink that raises is a caller that has left: AWS lets the function go on, so the rest is thrown away.
    """

    def __init__(self, sink: ResponseSink, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._sink = sink
        self._pause, self._resume = pause, resume
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._paused = False
        self._left = False
        self._pump: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.total_bytes = 0

    @property
    def begun(self) -> bool:
        return self.total_bytes > 0

    @property
    def too_large(self) -> bool:
        return self.total_bytes > STREAMED_MAX_BYTES

    def feed(self, content_type: str, chunk: bytes) -> None:
        """Take a chunk; the first one says what the answer is."""
        if not chunk or self.too_large:
            return
        if not self.begun and content_type:
            self._sink.content_type = content_type
        self.total_bytes += len(chunk)
        if self.too_large or self._left:
            return
        self._chunks.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._deliver())
        if self._waiting_bytes > HIGH_BYTES and not self._paused:
            self._paused = True
            self._pause()

    async def room(self) -> None:
        """Wait until another chunk may be fed: for feeders that can't be paused."""
        while self._paused:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    async def _deliver(self) -> None:
        while self._chunks:
            chunk = self._chunks.popleft()
            try:
                await self._sink(chunk)
            except (OSError, RuntimeError, ValueError):
                self._left = True
                self._chunks.clear()
                self._waiting_bytes = 0
            else:
                self._waiting_bytes -= len(chunk)
            if self._paused and self._waiting_bytes <= HIGH_BYTES // 4:
                self._paused = False
                self._resume()
                if self._drained is not None and not self._drained.done():
                    self._drained.set_result(None)

    async def finish(self) -> None:
        """Wait until the caller has everything."""
        if self._pump is not None:
            await self._pump


class Gathered:
    """The sink of a caller who wants the answer in one piece, as Invoke gives it."""

    def __init__(self, most_bytes: int) -> None:
        self.content_type = ""
        self._most_bytes = most_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    async def __call__(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= self._most_bytes + 1:
            self._pieces.append(chunk)

    def payload(self) -> bytes | None:
        """Everything, or None if it is more than may be."""
        return b"".join(self._pieces) if self._size <= self._most_bytes else None
