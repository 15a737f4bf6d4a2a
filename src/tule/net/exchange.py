"""One request and its answer on a connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from tule.net.heads import BODILESS, declared_length, render_head
from tule.net.messages import HttpRequest, HttpResponse


class Carrier(Protocol):
    """What an exchange needs of its connection."""

    @property
    def lost(self) -> bool: ...

    def date_line(self) -> str: ...

    def must_close(self, exchange: "Exchange") -> bool: ...

    def write(self, data: bytes) -> None: ...

    async def writable(self) -> None: ...

    def finished(self, exchange: "Exchange", *, close: bool) -> None: ...

    def abort(self) -> None: ...

    def spawn_stream(
        self, exchange: "Exchange", response: HttpResponse, *, chunked: bool, length: int | None
    ) -> None: ...

    def discard(self, stream: AsyncIterator[bytes]) -> None: ...


class Exchange:
    """Call it once with the answer, at once or later, on the loop. An answer nobody waits for any more is dropped."""

    __slots__ = ("_carrier", "_gone_callbacks", "answered", "keep_alive", "request", "speaks_1_0")

    def __init__(self, carrier: Carrier, request: HttpRequest, *, keep_alive: bool, speaks_1_0: bool) -> None:
        self._carrier = carrier
        self._gone_callbacks: list[Callable[[], None]] | None = None
        self.request = request
        self.keep_alive = keep_alive
        self.speaks_1_0 = speaks_1_0
        self.answered = False

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        return self._carrier.lost

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` once if the client closes, or half-closes, before the answer: to end a long poll.

        Which of the two it is nobody can tell before writing, so an answer is still written if one is given.
        """
        if self._gone_callbacks is None:
            self._gone_callbacks = []
        self._gone_callbacks.append(callback)

    def client_left(self) -> None:
        """Told by the connection."""
        callbacks, self._gone_callbacks = self._gone_callbacks, None
        if not self.answered:
            for callback in callbacks or ():
                callback()

    def __call__(self, response: HttpResponse) -> None:
        if self.answered:
            raise RuntimeError(f"{self.request.method} {self.request.path} was answered twice.")
        carrier = self._carrier
        if carrier.lost:
            self.answered = True
            if response.stream is not None:
                carrier.discard(response.stream)
            return
        close = carrier.must_close(self)
        if response.stream is not None or self.request.method == "HEAD" or response.status in BODILESS:
            self._answer_specially(response, close=close)
            return
        body = response.body
        head = render_head(response.status, response.headers, carrier.date_line(), len(body), close=close)
        self.answered = True
        carrier.write(head + body)
        carrier.finished(self, close=close)

    def _answer_specially(self, response: HttpResponse, *, close: bool) -> None:
        carrier = self._carrier
        length = declared_length(response.headers)
        bodiless = self.request.method == "HEAD" or response.status in BODILESS
        if length is None and response.stream is None and response.status not in BODILESS:
            length = len(response.body)
        if length is None and self.speaks_1_0 and not bodiless:
            close = True  # the end of the connection is the only end of a body that HTTP/1.0 knows without a length
        head = render_head(response.status, response.headers, carrier.date_line(), length, close=close)
        self.answered = True
        carrier.write(head)
        if bodiless:
            if response.stream is not None:
                carrier.discard(response.stream)
            carrier.finished(self, close=close)
            return
        self.keep_alive = not close
        carrier.spawn_stream(self, response, chunked=length is None and not close, length=length)

    async def send_stream(self, response: HttpResponse, *, chunked: bool, length: int | None) -> None:
        """Send the body as it is produced, never faster than the client reads. A broken promise ends the connection."""
        carrier, sent = self._carrier, 0
        stream = response.stream
        assert stream is not None
        complete = False
        try:
            if response.body:
                sent = len(response.body)
                carrier.write(frame(response.body) if chunked else response.body)
            async for chunk in stream:
                if carrier.lost:
                    return
                if not chunk:
                    continue
                sent += len(chunk)
                if length is not None and sent > length:
                    break
                carrier.write(frame(chunk) if chunked else chunk)
                await carrier.writable()
            complete = length is None or sent == length
        finally:
            if not complete:
                carrier.abort()
                carrier.discard(stream)
        if chunked:
            carrier.write(b"0\r\n\r\n")
        carrier.finished(self, close=not self.keep_alive)


def frame(chunk: bytes) -> bytes:
    """One chunk of the chunked transfer coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)


async def close_stream(stream: AsyncIterator[bytes]) -> None:
    """Let a generator that nobody will read to its end run its clean-up."""
    closer = getattr(stream, "aclose", None)
    if closer is not None:
        try:
            await closer()
        except (RuntimeError, asyncio.CancelledError):
            return
