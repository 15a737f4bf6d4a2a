"""The client against our server, and against servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from tule.kernel.clocks import SystemClock
from tule.kernel.tasks import Supervisor
from tule.net.client import ClientError, HttpClient
from tule.net.exchange import Exchange
from tule.net.messages import HttpRequest, HttpResponse
from tule.net.server import HttpServer


async def letters() -> AsyncIterator[bytes]:
    for letter in b"abc":
        yield bytes([letter])


def app(request: HttpRequest, reply: Exchange) -> None:
    if request.path == "/stream":
        reply(HttpResponse(200, [("x-a", "1"), ("X-A", "2")], b"", letters()))
    else:
        reply(HttpResponse(201, [("x-method", request.method), ("x-peer", request.peer)], request.body))


def run(test: Callable[[HttpClient, str, HttpServer], Awaitable[None]]) -> None:
    async def main() -> None:
        machine = SystemClock()
        tasks = Supervisor(machine)
        server = HttpServer(app, machine, tasks)
        port = await server.listen("127.0.0.1", 0)
        client = HttpClient(machine, max_answer_bytes=100_000)
        try:
            async with asyncio.timeout(10):
                await test(client, f"http://127.0.0.1:{port}", server)
        finally:
            client.close()
            await server.drain(1)
            await tasks.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_requests_share_a_connection():
    async def test(client: HttpClient, url: str, server: HttpServer) -> None:
        for n in range(5):
            answer = await client.request("POST", f"{url}/x?n={n}", headers=[("x-n", "1")], body=b"body")
            assert (answer.status, answer.headers["x-method"], answer.body) == (201, "POST", b"body")
        assert server.open_connections == 1

    run(test)


def test_streamed_answers_and_heads():
    async def test(client: HttpClient, url: str, _: HttpServer) -> None:
        answer = await client.request("GET", f"{url}/stream")
        assert (answer.body, answer.headers["x-a"]) == (b"abc", "1, 2")
        assert (await client.request("HEAD", f"{url}/x")).body == b""

    run(test)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "closed the connection"),
        (b"SSH-2.0-x\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000, "too large"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n", "too large"),
    ],
)
def test_what_is_no_answer_is_an_error(sent: bytes, reason: str):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async def test(client: HttpClient, _: str, __: HttpServer) -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        with pytest.raises(ClientError, match=reason):
            await client.request("GET", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        server.close()

    run(test)


def test_a_body_may_end_with_its_connection():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        writer.close()

    async def test(client: HttpClient, _: str, __: HttpServer) -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await client.request("GET", url)).body == b"all of it"
        server.close()

    run(test)


def test_a_dead_port_and_a_silent_server():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def test(client: HttpClient, _: str, __: HttpServer) -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(TimeoutError):
            await client.request("GET", url, timeout_s=0.05)
        server.close()
        await server.wait_closed()
        with pytest.raises(ClientError, match="No connection"):
            await client.request("GET", url)

    run(test)


def test_line_breaks_never_leave_the_client():
    async def test(client: HttpClient, url: str, _: HttpServer) -> None:
        with pytest.raises(ValueError, match="line break"):
            await client.request("GET", url, headers=[("x", "1\r\ny: 2")])
        with pytest.raises(ValueError, match="no http"):
            await client.request("GET", "file:///etc/passwd")

    run(test)
