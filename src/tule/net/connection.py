"""One client connection: bytes in, requests out in order, answers back."""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import httptools
import structlog

from tule.net.body import BodyStream, ClientGoneError
from tule.net.exchange import Exchange, close_stream
from tule.net.heads import render_head
from tule.net.limits import REFUSALS
from tule.net.messages import HttpRequest, HttpResponse
from tule.net.plain import read_plain

if TYPE_CHECKING:
    from tule.net.server import HttpServer

_log = structlog.get_logger("tule.net")

NEVER = float("inf")


class Connection(asyncio.Protocol):
    """Parses with httptools. One request at a time is with the application, the next ones wait in order."""

    # fmt: off
    __slots__ = (
        "_active", "_begun", "_body", "_body_size", "_continue_due", "_discarding", "_eof", "_head_done",
        "_head_size", "_header_names", "_headers", "_parser", "_paused", "_queue", "_refusal", "_request", "_server",
        "_serving", "_stream", "_transport", "_unfinished_head_size", "_upgrading", "_url", "_write_waiter",
        "_writing_paused", "date_line", "deadline_s", "lost", "peer",
    )
    # fmt: on

    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._header_names = server.header_names
        self.date_line = server.date_line
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[tuple[HttpRequest, bool, bool]] = deque()
        self._active: Exchange | None = None
        self._request: HttpRequest | None = None
        self._upgrading: HttpRequest | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._begun = 0
        self._head_size = 0
        self._unfinished_head_size = 0
        self._head_done = True
        self._body: list[bytes] = []
        self._body_size = 0
        self._stream: BodyStream | None = None
        self._continue_due = False
        self._refusal = 0
        self._paused = False
        self._writing_paused = False
        self._write_waiter: asyncio.Future[None] | None = None
        self._serving = False
        self._discarding = False
        self._eof = False
        self.lost = False
        self.deadline_s = NEVER
        self.peer = ""

    # -- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else "unix"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not self._server.admit(self):
            self._refusal = 503
            self._serve()
            return
        self.deadline_s = self._server.deadline_s(self._server.limits.idle_s)
        if self._server.reading_paused:
            asyncio.get_running_loop().call_soon(self.update_reading)  # uvloop starts reading after this method

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost = True
        self._server.forget(self)
        self._release_body()
        self._queue.clear()
        if self._stream is not None:
            self._stream.fail()
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_result(None)
        if self._active is not None:
            if isinstance(stream := self._active.request.stream, BodyStream) and not stream.ended:
                stream.fail()
            self._active.client_left()

    def eof_received(self) -> bool:
        """Half-closed: the client has said all it will, and still gets its answers."""
        self._eof = True
        if self._stream is not None:
            self._stream.fail()
        if self._active is not None:
            self._active.client_left()
        return self._active is not None or bool(self._queue)

    def pause_writing(self) -> None:
        self._writing_paused = True
        self.deadline_s = self._server.deadline_s(self._server.limits.stall_s)

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.deadline_s = NEVER if self._active is not None else self._server.deadline_s(self._server.limits.idle_s)
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_result(None)
        self._serve()

    def data_received(self, data: bytes) -> None:
        if self._discarding or self._refusal:
            return
        if self._resting() and (request := self._plain(data)) is not None:
            self._give(request, keep_alive=True, speaks_1_0=False)
            return
        begun, alone = self._begun, self._request is None and self._stream is None
        self._feed(data)
        if self._head_done:
            self._unfinished_head_size = 0
            if self._request is not None:
                self.deadline_s = self._server.deadline_s(self._server.limits.stall_s)
        else:
            self._count_unfinished_head(len(data) if alone and self._begun - begun <= 1 else 0)
        self._serve()

    def _resting(self) -> bool:
        """Whether nothing is under way: the parser is between two messages, and the last answer is written."""
        return (
            self._active is None
            and self._head_done
            and self._request is None
            and self._stream is None
            and self._upgrading is None
            and not (self._queue or self._writing_paused or self._serving or self._eof)
        )

    def _plain(self, data: bytes) -> HttpRequest | None:
        """The one request that `data` is, if it is so plain that the parser need not look at it."""
        server = self._server
        limits, wants_stream = server.limits, server.wants_stream
        request = read_plain(data, server.plain_names, limits.header_bytes)
        if request is None:
            return None
        body = request.body
        if body and (len(body) > limits.body_bytes or (wants_stream is not None and wants_stream(request))):
            return None
        request.peer = self.peer
        request.scheme = server.scheme
        request.listener = server.listener
        return request

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refusal = self._refusal or 400

    # -- httptools' side

    def on_message_begin(self) -> None:
        if self._upgrading is not None:
            return
        self._begun += 1
        self._url = b""
        self._headers = {}
        self._head_size = 0
        self._head_done = False

    def on_url(self, url: bytes) -> None:
        if self._upgrading is not None:
            return
        self._url += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # a trailer: nothing of ours reads them
        self._head_size += len(name) + len(value) + 4
        headers = self._headers
        key = self._header_names.get(name) or self._server.learn_header_name(name)
        if key in headers:
            headers[key] += f"{'; ' if key == 'cookie' else ', '}{value.decode('latin-1')}"
        else:
            headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._head_done = True
        self._grow_head(0)
        if self._refusal or self._upgrading is not None:
            return
        target = self._url.decode("latin-1")
        path, _, query = target.partition("?")
        headers = self._headers
        if not path.startswith("/"):
            path, query = self._absolute(target)
        method = self._parser.get_method().decode("latin-1")
        server = self._server
        request = self._request = HttpRequest(
            method, target, path, query, headers, b"", None, self.peer, server.scheme, server.listener
        )
        if method == "CONNECT":
            self._refusal = 405
        elif "host" not in headers and self._parser.get_http_version() == "1.1":
            self._refusal = 400
        elif self._has_body(request):
            self._expect_body(request)

    def on_body(self, chunk: bytes) -> None:
        if self._refusal:
            return
        if self._stream is not None:
            self._stream.feed(chunk)
            self.update_reading()
            return
        size = self._body_size = self._body_size + len(chunk)
        if size > self._server.limits.body_bytes:
            self._refusal = 413
        elif not self._server.hold(len(chunk)):
            self._refusal = 503
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        if self._request is not None and self._parser.should_upgrade() and self._has_body(self._request):
            self._upgrading = self._request
            return
        request, self._request = self._request, None
        if self._refusal or request is None:
            return
        if self._stream is not None:
            self._stream.end()
            self._stream = None
            return  # it was handed on when its head was complete
        body = self._body
        if body:
            request.body = body[0] if len(body) == 1 else b"".join(body)
            self._release_body()
        self._hand_on(request)

    # -- requests in

    def _has_body(self, request: HttpRequest) -> bool:
        return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers

    def _absolute(self, target: str) -> tuple[str, str]:
        """Path and query of a target in absolute form (RFC 9112, 3.2.2), or of "*"."""
        rest = target.partition("://")[2]
        path, _, query = rest.partition("?")
        _, slash, tail = path.partition("/")
        return slash + tail or "/", query

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._server.limits.header_bytes:
            self._refusal = self._refusal or 431

    def _count_unfinished_head(self, size: int) -> None:
        """A header line without end stays inside the parser, so what came in counts, if it can be this head's alone."""
        if self._unfinished_head_size == 0:
            self.deadline_s = self._server.deadline_s(self._server.limits.header_s)
        self._unfinished_head_size += size
        if self._unfinished_head_size > self._server.limits.header_bytes:
            self._refusal = self._refusal or 431

    def _expect_body(self, request: HttpRequest) -> None:
        expects = request.headers.get("expect", "").lower() == "100-continue"
        if self._server.wants_stream is not None and self._server.wants_stream(request):
            request.stream = self._stream = BodyStream(self._stream_read)
            self._continue_due = expects
            self._hand_on(request)
            return
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._server.limits.body_bytes:
            self._refusal = 413
        elif expects:
            self._continue_due = True
            if self._active is None and not self._queue:
                self._say_continue()

    def _stream_read(self) -> None:
        if self._continue_due:
            self._say_continue()
        self.update_reading()

    def _say_continue(self) -> None:
        self._continue_due = False
        if not self.lost:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hand_on(self, request: HttpRequest) -> None:
        self._queue.append((request, self._parser.should_keep_alive(), self._parser.get_http_version() == "1.0"))

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Nobody here upgrades (Java's client offers h2c with every first request): a new parser takes the rest.

        httptools ends an upgrading request with its head; for its body the new parser is told the framing again.
        """
        request, self._parser = self._upgrading, httptools.HttpRequestParser(self)
        if request is not None:
            framing = "content-length" if "content-length" in request.headers else "transfer-encoding"
            head = f"{request.method} / HTTP/1.1\r\n{framing}: {request.headers[framing]}\r\n\r\n"
            self._parser.feed_data(head.encode("latin-1"))
            self._upgrading = None
        if rest:
            self._feed(rest)

    def _release_body(self) -> None:
        if self._body_size:
            self._server.release(self._body_size)
            self._body, self._body_size = [], 0

    # -- answers out

    def _serve(self) -> None:
        """Give the application the next request, for as long as it answers at once."""
        if self._serving:
            return
        self._serving = True
        while self._active is None and self._queue and not self._writing_paused and not self.lost:
            request, keep_alive, speaks_1_0 = self._queue.popleft()
            self._give(request, keep_alive=keep_alive, speaks_1_0=speaks_1_0)
        self._serving = False
        if self._active is None and not self._queue:
            self._after_last()
        self.update_reading()

    def _give(self, request: HttpRequest, *, keep_alive: bool, speaks_1_0: bool) -> None:
        exchange = self._active = Exchange(self, request, keep_alive=keep_alive, speaks_1_0=speaks_1_0)
        self.deadline_s = NEVER
        try:
            self._server.app(request, exchange)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the particulars
            _log.exception("application failed", method=request.method, path=request.path)
            if not exchange.answered:
                exchange(HttpResponse(500, [("content-type", "text/plain")], b"Tule failed; its log says why.\n"))

    def _after_last(self) -> None:
        if self._refusal and not self._discarding and not self.lost:
            body = REFUSALS[self._refusal]
            headers = [("content-type", "text/plain")]
            self._transport.write(render_head(self._refusal, headers, self.date_line(), len(body), close=True) + body)
            self._linger()
        elif self._eof and not self.lost:
            self._transport.close()
        elif self._continue_due and self._stream is None and not self._refusal:
            self._say_continue()

    def must_close(self, exchange: Exchange) -> bool:
        """Whether the answer is this connection's last."""
        if not exchange.keep_alive or self._server.draining or (self._eof and not self._queue):
            return True
        stream = exchange.request.stream
        return stream is not None and isinstance(stream, BodyStream) and not stream.ended

    def write(self, data: bytes) -> None:
        if not self.lost:
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the client has taken enough of what was written."""
        if self._writing_paused and not self.lost:
            self._write_waiter = asyncio.get_running_loop().create_future()
            await self._write_waiter

    def finished(self, exchange: Exchange, *, close: bool) -> None:
        """The whole answer is written."""
        if exchange is not self._active:
            return
        self._active = None
        if self.lost:
            return
        if close:
            self._queue.clear()
            stream = exchange.request.stream
            if isinstance(stream, BodyStream) and not stream.ended:
                stream.fail()
                self._linger()
            else:
                self._discarding = True
                self._transport.close()
            return
        if not self._writing_paused:
            self.deadline_s = self._server.deadline_s(self._server.limits.idle_s)
        if self._queue or self._refusal or self._eof or self._continue_due or self._paused:
            self._serve()  # which does nothing while it runs already

    def spawn_stream(self, exchange: Exchange, response: HttpResponse, *, chunked: bool, length: int | None) -> None:
        self._server.tasks.spawn("http answer", self._stream_out(exchange, response, chunked=chunked, length=length))

    async def _stream_out(
        self, exchange: Exchange, response: HttpResponse, *, chunked: bool, length: int | None
    ) -> None:
        try:
            await exchange.send_stream(response, chunked=chunked, length=length)
        except ClientGoneError:
            self.abort()

    def discard(self, stream: AsyncIterator[bytes]) -> None:
        """Close a stream that nobody will read."""
        self._server.tasks.spawn("http discard", close_stream(stream))

    # -- flow and end

    def update_reading(self) -> None:
        """Read only while what came in can be kept: see `ServerLimits` and `HttpServer.pause_reading`."""
        if self.lost:
            return
        limits, stream = self._server.limits, self._stream
        mark = limits.stream_high_bytes // 4 if self._paused else limits.stream_high_bytes
        full = len(self._queue) >= limits.pipelined or (stream is not None and stream.unread_bytes > mark)
        pause = (full or self._server.reading_paused) and not self._discarding
        if pause == self._paused or self._transport.is_closing():
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def check(self, now_s: float) -> None:
        """End a connection whose client is too slow or has nothing to say; never one that waits for us."""
        if now_s < self.deadline_s:
            return
        reading_late = (self._active is None or self._stream is not None) and not self._paused
        if self._writing_paused or reading_late:
            self.abort()

    def abort(self) -> None:
        if not self.lost:
            self._transport.abort()

    def drain(self) -> None:
        """Close when the requests at hand are answered."""
        if self._active is None and not self._queue and not self.lost and not self._discarding:
            self._transport.close()

    def _linger(self) -> None:
        """Say goodbye, then throw away what still comes, for a while: closing at once would reset the connection."""
        self._discarding = True
        self._release_body()
        self.update_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._server.later(self._server.limits.linger_s, self.abort)
        else:
            self._transport.close()
