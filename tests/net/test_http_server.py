"""The server as a client on a socket sees it."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import uvloop

from tule.kernel.clocks import SystemClock
from tule.kernel.tasks import Supervisor
from tule.net.body import ClientGoneError
from tule.net.exchange import Exchange
from tule.net.limits import ServerLimits
from tule.net.messages import HttpRequest, HttpResponse
from tule.net.server import HttpServer

PATIENCE_S = 10


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something has happened."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens on the server's side of a socket
        await asyncio.sleep(0)


async def turns(n: int = 200) -> None:
    """Let the loop run for so many turns, for what must not happen."""
    for _ in range(n):
        await asyncio.sleep(0)


@dataclass
class Site:
    """A running server with an application that the test chooses."""

    server: HttpServer
    port: int
    tasks: Supervisor
    seen: list[HttpRequest] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, **options: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        self.writers.append(writer)
        return reader, writer

    async def talk(self, *parts: bytes, eof: bool = False) -> bytes:
        """Send and read until the server closes."""
        reader, writer = await self.connect()
        for part in parts:
            writer.write(part)
            await writer.drain()
        if eof:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        return answer


def echo(request: HttpRequest, reply: Exchange) -> None:
    reply(HttpResponse(200, [("x-path", request.path)], request.body))


def serve(
    test: Callable[[Site], Awaitable[None]],
    app: Callable[[HttpRequest, Exchange], None] = echo,
    limits: ServerLimits | None = None,
    wants_stream: Callable[[HttpRequest], bool] | None = None,
) -> None:
    async def main() -> None:
        machine = SystemClock()
        tasks = Supervisor(machine)
        seen: list[HttpRequest] = []

        def noted(request: HttpRequest, reply: Exchange) -> None:
            seen.append(request)
            app(request, reply)

        server = HttpServer(noted, machine, tasks, limits=limits, wants_stream=wants_stream)
        port = await server.listen("127.0.0.1", 0)
        site = Site(server, port, tasks, seen)
        try:
            await asyncio.wait_for(test(site), PATIENCE_S)
        finally:
            for writer in site.writers:
                writer.transport.abort()
            await server.drain(1.0)
            await tasks.close()
        assert tasks.crashes == {}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


CLOSE = b"Connection: close\r\n\r\n"


def test_a_request_reaches_the_application_with_its_parts():
    async def test(site: Site) -> None:
        answer = await site.talk(
            b"PUT /a%20b/c?x=1&y HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 3\r\n" + CLOSE + b"abc"
        )
        request = site.seen[0]
        assert (request.method, request.path, request.query) == ("PUT", "/a%20b/c", "x=1&y")
        assert request.target == "/a%20b/c?x=1&y"
        assert request.headers["x-two"] == "1, 2"
        assert request.peer == "127.0.0.1"
        assert request.body == b"abc"
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"content-length: 3" in head
        assert re.search(rb"date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", head)
        assert body == b"abc"

    serve(test)


def test_a_request_in_single_bytes_is_the_same_request():
    async def test(site: Site) -> None:
        raw = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + CLOSE
        raw += b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
        answer = await site.talk(*[bytes([byte]) for byte in raw])
        assert answer.endswith(b"\r\n\r\nabcde")
        assert "trailer" not in site.seen[0].headers

    serve(test)


def test_pipelined_requests_are_answered_one_at_a_time_in_order():
    replies: list[Exchange] = []

    async def test(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(12)))
        answered = b""
        for n in range(12):
            await until(lambda: len(replies) > n)  # noqa: B023 - waited for at once
            assert len(replies) == n + 1
            replies[n](HttpResponse(200, [], b"<%d>" % n))
            answered = await reader.readuntil(b"<%d>" % n)
            assert answered.endswith(b"<%d>" % n)
        writer.close()

    serve(test, lambda _, reply: replies.append(reply))


def test_a_connection_is_kept_unless_somebody_says_otherwise():
    async def test(site: Site) -> None:
        answer = await site.talk(
            b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n" + CLOSE + b"GET /3 HTTP/1.1\r\n\r\n"
        )
        assert [request.path for request in site.seen] == ["/1", "/2"]
        assert answer.count(b"connection: close") == 1
        assert b"connection: close" in await site.talk(b"GET /old HTTP/1.0\r\n\r\n")

    serve(test)


def test_expect_continue_is_answered_before_the_body_is_sent():
    async def test(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        await reader.readuntil(b"ok")
        writer.close()

    serve(test)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"BLAH\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nBad Name: 1\r\n\r\n", 400),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 3000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 9000, 431),
        (b"GET /" + b"x" * 9000, 431),
        (b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n", 413),
        (b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n", 413),
        (
            b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9c4\r\n" + b"x" * 2500 + b"\r\n0\r\n\r\n",
            413,
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_and_reaches_nobody(raw: bytes, status: int):
    async def test(site: Site) -> None:
        half = len(raw) // 2
        for parts in ([raw], [raw[:half], raw[half:]]):
            answer = await site.talk(*parts, eof=True)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"connection: close" in answer
        assert site.seen == []

    serve(test, limits=ServerLimits(header_bytes=2000, body_bytes=2000, linger_s=0.1))


def test_a_request_before_a_broken_one_is_still_answered():
    async def test(site: Site) -> None:
        answer = await site.talk(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n", eof=True)
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400"]

    serve(test)


def test_an_upgrade_nobody_offers_is_ignored():
    async def test(site: Site) -> None:
        upgrade = b"Host: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
        for body in (b"", b"abc"):
            answer = await site.talk(
                b"POST /1 HTTP/1.1\r\n" + upgrade + b"Content-Length: %d\r\n\r\n" % len(body) + body,
                b"GET /2 HTTP/1.1\r\nHost: h\r\n" + CLOSE,
            )
            assert answer.count(b"HTTP/1.1 200 OK") == 2

    serve(test)


def test_half_closed_clients_get_their_answer():
    async def test(site: Site) -> None:
        answer = await site.talk(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n", eof=True)
        assert answer.startswith(b"HTTP/1.1 200")

    def later(_: HttpRequest, reply: Exchange) -> None:
        asyncio.get_running_loop().call_later(0.01, reply, HttpResponse(200))

    serve(test, later)


def test_slow_and_silent_clients_are_cut_off():
    async def test(site: Site) -> None:
        assert await site.talk(b"GET / HTTP/1.1\r\nHos") == b""
        assert await site.talk(b"") == b""
        assert await site.talk(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc") == b""
        assert (await site.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")).startswith(b"HTTP/1.1 200")

    async def cut(site: Site) -> None:
        try:
            await test(site)
        except ConnectionResetError:
            pytest.fail("an orderly end was expected")

    serve(cut, limits=ServerLimits(header_s=0.05, idle_s=0.05, stall_s=0.05))


def test_nobody_is_cut_off_while_the_application_works():
    async def test(site: Site) -> None:
        replies: list[Exchange] = []
        site.server.app = lambda _, reply: replies.append(reply)
        for upload in (
            b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
            b"GET /x HTTP/1.1\r\nHost: h\r\n\r\nGET",
        ):
            reader, writer = await site.connect()
            writer.write(upload)
            await until(lambda: len(replies) == 1)
            await turns(20)
            for connection in list(site.server._connections):
                connection.check(float("inf"))
            replies.pop()(HttpResponse(200, [], b"late"))
            assert (await reader.readuntil(b"late")).startswith(b"HTTP/1.1 200")
            writer.transport.abort()
            await until(lambda: site.server.open_connections == 0)

    serve(test, wants_stream=lambda request: request.method == "PUT")


def test_too_many_connections_are_told_so():
    async def test(site: Site) -> None:
        _, writer = await site.connect()
        await until(lambda: site.server.open_connections > 0)
        assert (await site.talk(b"", eof=True)).startswith(b"HTTP/1.1 503")
        writer.close()

    serve(test, limits=ServerLimits(connections=1, linger_s=0.1))


async def _counting(n: int) -> AsyncIterator[bytes]:
    for number in range(n):
        yield b"%d," % number
        yield b""


@pytest.mark.parametrize(
    ("version", "headers", "expected"),
    [
        ("1.1", [], b"1\r\n>\r\n2\r\n0,\r\n2\r\n1,\r\n0\r\n\r\n"),
        ("1.1", [("Content-Length", "5")], b">0,1,"),
        ("1.0", [], b">0,1,"),
        ("1.1", [("Content-Length", "9")], b">0,1,"),
        ("1.1", [("Content-Length", "3")], b">0,"),
    ],
)
def test_answers_can_be_streamed(version: str, headers: list[tuple[str, str]], expected: bytes):
    async def test(site: Site) -> None:
        answer = await site.talk(b"GET / HTTP/" + version.encode() + b"\r\nHost: h\r\n\r\n", eof=True)
        assert answer.partition(b"\r\n\r\n")[2] == expected
        assert (b"chunked" in answer) == (version == "1.1" and not headers)

    serve(test, lambda _, reply: reply(HttpResponse(200, list(headers), b">", _counting(2))))


def test_a_head_request_gets_the_head_alone():
    async def test(site: Site) -> None:
        answer = await site.talk(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n" + CLOSE)
        assert answer.count(b"content-length: 77\r\n") == 2
        assert answer.endswith(b"\r\n\r\n" + b"x" * 77)

    def app(request: HttpRequest, reply: Exchange) -> None:
        if request.method == "HEAD":
            reply(HttpResponse(200, [("Content-Length", "77")]))
        else:
            reply(HttpResponse(200, [], b"x" * 77))

    serve(test, app)


def test_a_client_that_does_not_read_stops_the_producer():
    produced = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield b"x" * 65536

    async def test(site: Site) -> None:
        reader, writer = await site.connect(limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readexactly(10)
        await turns()
        before = produced
        await turns()
        assert produced == before
        assert produced < 2000
        writer.close()

    serve(test, lambda _, reply: reply(HttpResponse(200, [], b"", endless())), ServerLimits(stall_s=0.2))


def test_a_line_break_in_a_header_is_never_sent():
    async def test(site: Site) -> None:
        answer = await site.talk(b"GET / HTTP/1.1\r\nHost: h\r\n" + CLOSE)
        assert b"evil" not in answer

    serve(test, lambda _, reply: reply(HttpResponse(200, [("x", "1\r\nevil: 1")])))


def test_bodies_can_be_read_as_they_arrive():
    parts: list[bytes] = []

    async def read(request: HttpRequest, reply: Exchange) -> None:
        assert request.stream is not None
        parts.extend([chunk async for chunk in request.stream])
        reply(HttpResponse(200, [], b"%d" % sum(map(len, parts))))

    tasks: list[asyncio.Task[None]] = []

    def app(request: HttpRequest, reply: Exchange) -> None:
        tasks.append(asyncio.get_running_loop().create_task(read(request, reply)))

    async def test(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"x" * 3_000_000 + b"GET /y HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n3000000")
        assert site.seen[0].body == b""
        assert len(parts) > 1
        writer.close()

    serve(test, app, ServerLimits(body_bytes=1000), wants_stream=lambda request: request.method == "PUT")


def test_an_unread_body_does_not_pile_up():
    streams: list[HttpRequest] = []

    async def test(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n")
        writer.write(b"x" * 50_000_000)
        await until(lambda: bool(streams) and streams[0].stream.unread_bytes >= 1000)
        await turns()
        assert streams[0].stream.unread_bytes < 2_000_000
        replies[0](HttpResponse(403, [], b"no"))
        assert b"connection: close" in await reader.readuntil(b"\r\n\r\nno")
        writer.transport.abort()

    replies: list[Exchange] = []

    def app(request: HttpRequest, reply: Exchange) -> None:
        streams.append(request)
        replies.append(reply)

    serve(test, app, ServerLimits(stream_high_bytes=1000, linger_s=0.1), wants_stream=lambda _: True)


def test_a_body_cut_short_is_an_error_for_its_reader():
    outcome: list[str] = []

    async def read(request: HttpRequest) -> None:
        try:
            async for _ in request.stream:
                pass
        except ClientGoneError:
            outcome.append("gone")

    tasks: list[asyncio.Task[None]] = []

    def app(request: HttpRequest, reply: Exchange) -> None:
        del reply
        tasks.append(asyncio.get_running_loop().create_task(read(request)))

    async def test(site: Site) -> None:
        _, writer = await site.connect()
        writer.write(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nabc")
        await until(lambda: bool(tasks))
        writer.close()
        await tasks[0]
        assert outcome == ["gone"]

    serve(test, app, wants_stream=lambda _: True)


def test_the_application_learns_that_a_client_left():
    async def test(site: Site) -> None:
        left = asyncio.get_running_loop().create_future()
        replies: list[Exchange] = []
        site.server.app = lambda _, reply: replies.append(reply)
        _, writer = await site.connect()
        writer.write(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: bool(replies))
        replies[0].when_gone(lambda: left.set_result(None))
        writer.transport.abort()
        await left
        assert not replies[0].answered
        replies[0](HttpResponse(200))

    serve(test)


def test_nothing_is_read_while_the_store_cannot_keep_up():
    async def test(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        site.server.pause_reading()
        writer.write(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        late = asyncio.create_task(site.talk(b"GET /3 HTTP/1.1\r\nHost: h\r\n" + CLOSE))
        await turns()
        assert [request.path for request in site.seen] == ["/1"]
        site.server.resume_reading()
        await reader.readuntil(b"\r\n\r\n")
        await late
        assert sorted(request.path for request in site.seen) == ["/1", "/2", "/3"]
        writer.close()

    serve(test)


def test_draining_answers_what_came_and_takes_no_more():
    async def test(site: Site) -> None:
        replies: list[Exchange] = []
        site.server.app = lambda _, reply: replies.append(reply)
        idle_reader, idle_writer = await site.connect()
        busy = asyncio.create_task(site.talk(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"))
        await until(lambda: bool(replies) and site.server.open_connections == 2)
        drained = asyncio.create_task(site.server.drain(5))
        assert await idle_reader.read() == b""
        replies[0](HttpResponse(200, [], b"last"))
        assert (await busy).endswith(b"last")
        assert await drained
        with pytest.raises(ConnectionRefusedError):
            await site.talk(b"")
        idle_writer.close()

    serve(test)


def test_a_failing_application_is_a_500_and_the_next_request_is_served():
    async def test(site: Site) -> None:
        answer = await site.talk(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n" + CLOSE)
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"500", b"500"]
        assert b"ZeroDivision" not in answer

    def app(_: HttpRequest, __: Exchange) -> None:
        raise ZeroDivisionError

    serve(test, app)
