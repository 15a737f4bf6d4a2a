"""A small HTTP/1.1 client with kept connections, for what Tule itself asks of others."""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

from tule.kernel.clocks import MachineClock
from tule.net.messages import Headers

MOST_IDLE_PER_HOST = 8
LONGEST_IDLE_S = 30.0
"""Servers commonly close after 60 s or more; a connection that is younger is most likely still there (ours)."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ANSWER_HEAD_BYTES = 64 * 1024


class ClientError(ConnectionError):
    """No complete answer came: refused, cut off, too large, not HTTP."""


@dataclass(slots=True)
class ClientResponse:
    """An answer, its body complete. Header names are lower-case; repeated ones are joined by ", "."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Origin = tuple[str, str, int]


class HttpClient:
    """Keeps connections by origin. Close it when done."""

    def __init__(self, machine: MachineClock, *, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._machine = machine
        self._max_answer_bytes = max_answer_bytes
        self._idle: dict[Origin, list[tuple[float, _Wire]]] = {}
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers | None = None,
        body: bytes = b"",
        timeout_s: float = 30.0,
    ) -> ClientResponse:
        """Send and wait for the complete answer. Raises ClientError, TimeoutError, or ValueError for a bad URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no http or https URL.")
        origin = (parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        message = _render(method, target, parts.netloc.rpartition("@")[2], headers or [], body)
        async with asyncio.timeout(timeout_s):
            wire = self._take(origin) or await self._connect(origin)
            try:
                response = await wire.exchange(message, method)
            except BaseException:
                wire.abort()
                raise
        if wire.reusable and not self._closed:
            self._keep(origin, wire)
        else:
            wire.abort()
        return response

    def close(self) -> None:
        """Close what is idle; requests at hand end by themselves."""
        self._closed = True
        for kept in self._idle.values():
            for _, wire in kept:
                wire.abort()
        self._idle.clear()

    def _take(self, origin: Origin) -> "_Wire | None":
        kept = self._idle.get(origin, [])
        while kept:
            since_s, wire = kept.pop()
            if not wire.lost and self._machine.monotonic_s() - since_s < LONGEST_IDLE_S:
                return wire
            wire.abort()
        return None

    def _keep(self, origin: Origin, wire: "_Wire") -> None:
        kept = self._idle.setdefault(origin, [])
        kept.append((self._machine.monotonic_s(), wire))
        if len(kept) > MOST_IDLE_PER_HOST:
            kept.pop(0)[1].abort()

    async def _connect(self, origin: Origin) -> "_Wire":
        scheme, host, port = origin
        if scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: _Wire(self._max_answer_bytes), host, port, ssl=self._tls if scheme == "https" else None
            )
        except OSError as error:
            raise ClientError(f"No connection to {host}:{port}: {error}") from error
        return wire


def _render(method: str, target: str, host: str, headers: Headers, body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {len(body)}")
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError("A header or the URL contains a line break.")
    return head.encode("latin-1") + b"\r\n\r\n" + body


class _Wire(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, max_answer_bytes: int) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[ClientResponse] | None = None
        self._response = ClientResponse()
        self._method = ""
        self._body: list[bytes] = []
        self._size = 0
        self.lost = False
        self.reusable = False

    async def exchange(self, message: bytes, method: str) -> ClientResponse:
        self._parser = httptools.HttpResponseParser(self)
        self._method = method
        self.reusable = False
        self._answer = asyncio.get_running_loop().create_future()
        if self.lost:
            raise ClientError("The server closed the connection.")
        self._transport.write(message)
        return await self._answer

    def abort(self) -> None:
        if not self.lost:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._answer is None or self._answer.done():
            self.abort()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"The server does not speak HTTP/1.1: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done() and self._response.status and not self._framed():
            self._finish()  # a body that ends with its connection
            return
        self._fail(f"The server closed the connection{f': {exc}' if exc else '.'}")

    def _framed(self) -> bool:
        return "content-length" in self._response.headers or "transfer-encoding" in self._response.headers

    def on_message_begin(self) -> None:
        self._response = ClientResponse()
        self._body, self._size = [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        headers, key, text = self._response.headers, name.decode("latin-1").lower(), value.decode("latin-1")
        self._size += len(name) + len(value)
        if self._size > MAX_ANSWER_HEAD_BYTES:
            self._fail("The answer's head is too large.")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._response.status = self._parser.get_status_code()
        self._size = 0
        if self._method == "HEAD":
            self._finish()

    def on_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._max_answer_bytes:
            self._fail("The answer is too large.")
            return
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if 100 <= self._response.status < 200:
            return
        if self._method != "HEAD":
            self.reusable = bool(self._parser.should_keep_alive())
            self._finish()

    def _finish(self) -> None:
        self._response.body = b"".join(self._body)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._response)

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ClientError(reason))
        self.abort()
