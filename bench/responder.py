"""A server that reads requests and answers each with the same bytes: what the client could reach at most."""

import asyncio
import re
import sys
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Responder(asyncio.Protocol):
    """Understands no more of HTTP than where a request ends."""

    def __init__(self, answer: bytes) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclasses of it

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            match = _LENGTH.search(data, 0, end + 2)
            total = end + 4 + (int(match[1]) if match else 0)
            if len(data) < total:
                break
            data = data[total:]
            self._transport.write(self._answer)
        self._buffer = data


async def _serve(answer: bytes) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Responder(answer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main_runner:
        main_runner.run(_serve(sys.argv[1].encode() if len(sys.argv) > 1 else b"{}"))
