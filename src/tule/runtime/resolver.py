"""A DNS responder for functions: AWS's names are Tule, everything else is asked of the machine's own resolvers."""

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tule.kernel.clocks import MachineClock
from tule.runtime.authority import SUFFIXES

RESOLV_CONF: Final = Path("/etc/resolv.conf")
PORT: Final = 53

FORWARDED_MAX: Final = 256
"""Questions under way to other resolvers at once (ours); more are refused, and their askers try again."""

ANSWERED_WITHIN_S: Final = 5.0
"""glibc's own patience with a resolver."""

TTL_S: Final = 60
DATAGRAM_MAX: Final = 65_535

_HEADER: Final = struct.Struct("!HHHHHH")
_LENGTH: Final = struct.Struct("!H")
_A: Final = 1
_IN: Final = 1
_RESPONSE, _AUTHORITATIVE, _RECURSION_DESIRED, _RECURSION = 0x8000, 0x0400, 0x0100, 0x0080
_SERVER_FAILURE, _REFUSED = 2, 5


def question(query: bytes) -> tuple[str, int, int] | None:
    """(name in lower case, type, where the question ends) of a query with one question; None for anything else."""
    if len(query) < _HEADER.size:
        return None
    _, flags, questions, *_ = _HEADER.unpack_from(query)
    if flags & _RESPONSE or questions != 1:
        return None
    labels, at = [], _HEADER.size
    while at < len(query) and query[at]:
        length = query[at]
        if length > 63:  # compression has no place in a question
            return None
        labels.append(query[at + 1 : at + 1 + length])
        at += 1 + length
    if at + 5 > len(query):
        return None
    kind, _ = struct.unpack_from("!HH", query, at + 1)
    return b".".join(labels).decode("latin-1").lower(), kind, at + 5


def is_cloud(name: str) -> bool:
    """Whether a name is AWS's."""
    return name.endswith(tuple(f".{suffix}" for suffix in SUFFIXES))


def answer(query: bytes, kind: int, end: int, address: str) -> bytes:
    """The answer that names `address`; to questions for anything but IPv4 there is none, and no error."""
    number, flags, *_ = _HEADER.unpack_from(query)
    records = b""
    if kind == _A:
        records = struct.pack("!HHHIH", 0xC00C, _A, _IN, TTL_S, 4) + socket.inet_aton(address)
    said = _RESPONSE | _AUTHORITATIVE | _RECURSION | (flags & _RECURSION_DESIRED)
    return _HEADER.pack(number, said, 1, int(bool(records)), 0, 0) + query[_HEADER.size : end] + records


def failure(query: bytes, code: int) -> bytes:
    """An answer that has none."""
    number, flags, *_ = _HEADER.unpack_from(query)
    return _HEADER.pack(number, _RESPONSE | _RECURSION | (flags & _RECURSION_DESIRED) | code, 0, 0, 0, 0)


class Upstream:
    """The machine's resolvers, as its resolv.conf names them now: laptops change networks."""

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._path = path
        self._read_ns = -1
        self._servers: list[str] = []

    def servers(self) -> list[str]:
        with suppress(OSError):
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns != self._read_ns:
                self._read_ns = changed_ns
                self._servers = [words[1] for words in self._lines() if words[0] == "nameserver" and len(words) > 1]
        return self._servers

    def searching(self) -> str:
        """The lines of resolv.conf that say how names are completed."""
        with suppress(OSError):
            return "".join(f"{' '.join(words)}\n" for words in self._lines() if words[0] in ("search", "options"))
        return ""

    def _lines(self) -> list[list[str]]:
        text = self._path.read_text(encoding="utf-8", errors="replace")
        return [line.split() for line in text.splitlines() if line.split()]


class Resolver(asyncio.DatagramProtocol):
    """Answers on one address."""

    def __init__(self, address: str, machine: MachineClock, upstream: Upstream | None) -> None:
        self._address = address
        self._machine = machine
        self._upstream = upstream
        self._transport: Any = None
        self._server: asyncio.Server | None = None
        self._under_way: set[socket.socket] = set()

    async def serve(self, datagrams: socket.socket, streams: socket.socket) -> None:
        """Answer on bound sockets until `close`."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, sock=datagrams)
        self._server = await asyncio.start_server(self._converse, sock=streams)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for sock in list(self._under_way):
            self._end(sock)

    # -- datagrams

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        asked = question(data)
        if asked is None:
            return
        name, kind, end = asked
        if is_cloud(name):
            self._transport.sendto(answer(data, kind, end, self._address), addr)
        else:
            self._forward(data, addr)

    def _forward(self, query: bytes, asker: Any) -> None:
        """Pass the question on as it is, and its answer back, each through a socket of its own."""
        servers = self._upstream.servers() if self._upstream else []
        if not servers or len(self._under_way) >= FORWARDED_MAX:
            self._transport.sendto(failure(query, _SERVER_FAILURE if servers else _REFUSED), asker)
            return
        family = socket.AF_INET6 if ":" in servers[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._under_way.add(sock)
        try:
            sock.connect((servers[0], PORT))
            sock.send(query)
        except OSError:
            self._end(sock)
            self._transport.sendto(failure(query, _SERVER_FAILURE), asker)
            return
        patience = self._machine.call_later(ANSWERED_WITHIN_S, lambda: self._end(sock))

        def answered() -> None:
            patience.cancel()
            with suppress(OSError):
                self._transport.sendto(sock.recv(DATAGRAM_MAX), asker)
            self._end(sock)

        asyncio.get_running_loop().add_reader(sock, answered)

    def _end(self, sock: socket.socket) -> None:
        if sock in self._under_way:
            self._under_way.discard(sock)
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()

    # -- streams: what an answer needs that is too long for a datagram

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                told = await self._told(await reader.readexactly(size))
                writer.write(_LENGTH.pack(len(told)) + told)
                await writer.drain()
        writer.close()

    async def _told(self, query: bytes) -> bytes:
        asked = question(query)
        if asked is not None and is_cloud(asked[0]):
            return answer(query, asked[1], asked[2], self._address)
        servers = self._upstream.servers() if self._upstream else []
        if not servers:
            return failure(query.ljust(_HEADER.size, b"\0"), _REFUSED)
        reader, writer = await asyncio.open_connection(servers[0], PORT)
        try:
            writer.write(_LENGTH.pack(len(query)) + query)
            (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            return await reader.readexactly(size)
        finally:
            writer.close()
