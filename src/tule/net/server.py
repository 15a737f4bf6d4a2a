"""The HTTP/1.1 server: listeners, limits over all connections, pausing and draining."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from email.utils import formatdate

from tule.kernel.clocks import Handle, MachineClock
from tule.kernel.tasks import Supervisor
from tule.net.connection import Connection
from tule.net.exchange import Exchange
from tule.net.limits import ServerLimits
from tule.net.messages import HttpRequest
from tule.net.plain import FRAMING

Application = Callable[[HttpRequest, Exchange], None]
"""Called on the loop with a complete request (or, for streamed ones, a complete head). It must not block; it answers
by calling the exchange with an `HttpResponse`, at once or later."""

WantsStream = Callable[[HttpRequest], bool]

LONGEST_TICK_S = 5.0
"""How late a connection's deadline may be noticed."""

MOST_HEADER_NAMES = 1024
LONGEST_KEPT_HEADER_NAME = 64
"""Names are remembered for as long as the listener lives, so strangers must not fill memory with them (ours)."""


class HttpServer:
    """One application on any number of listening sockets."""

    def __init__(  # noqa: PLR0913 - a listener's properties, all named
        self,
        app: Application,
        machine: MachineClock,
        tasks: Supervisor,
        *,
        listener: str = "public",
        wants_stream: WantsStream | None = None,
        limits: ServerLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.app = app
        self.tasks = tasks
        self.listener = listener
        self.wants_stream = wants_stream
        self.limits = limits or ServerLimits()
        self.scheme = "https" if tls is not None else "http"
        self.draining = False
        self.reading_paused = False
        self.header_names: dict[bytes, str] = {}
        self.plain_names: dict[str, str] = {}
        """The same by text, without those that change how a message is read."""
        self._tls = tls
        self._machine = machine
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._held_bytes = 0
        self._tick_s = min(LONGEST_TICK_S, self.limits.header_s / 4, self.limits.idle_s / 4, self.limits.stall_s / 4)
        self._tick: Handle | None = None
        self._now_s = machine.monotonic_s()
        self._date_second = 0
        self._date_line = ""
        self._empty: asyncio.Future[None] | None = None

    # -- life

    async def listen(self, host: str, port: int, *, backlog: int = 1024) -> int:
        """Listen on `host`; port 0 takes a free one. Returns the port. Raises OSError when it is taken."""
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), host, port, backlog=backlog, ssl=self._tls
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def listen_on(self, sock: socket.socket, *, backlog: int = 1024) -> None:
        """Listen on a bound socket, of any family."""
        create = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            self._servers.append(await create.create_unix_server(lambda: Connection(self), sock=sock, backlog=backlog))
        else:
            self._servers.append(
                await create.create_server(lambda: Connection(self), sock=sock, backlog=backlog, ssl=self._tls)
            )

    async def drain(self, timeout_s: float) -> bool:
        """Take no more connections, answer what has come in, close. False if `timeout_s` ended it."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.drain()
        in_time = True
        if self._connections:
            self._empty = asyncio.get_running_loop().create_future()
            guard = self.later(timeout_s, self._abort_all)
            await self._empty
            guard.cancel()
            in_time = not self._aborted
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        return in_time

    _aborted = False

    def _abort_all(self) -> None:
        self._aborted = True
        for connection in list(self._connections):
            connection.abort()

    # -- pressure

    def pause_reading(self) -> None:
        """Read nothing from anybody until `resume_reading`: the store can't keep up."""
        self._set_reading_paused(paused=True)

    def resume_reading(self) -> None:
        self._set_reading_paused(paused=False)

    def _set_reading_paused(self, *, paused: bool) -> None:
        self.reading_paused = paused
        for connection in list(self._connections):
            connection.update_reading()

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    # -- for connections

    def admit(self, connection: Connection) -> bool:
        """Note a new connection; False when there are too many."""
        if len(self._connections) >= self.limits.connections or self.draining:
            return False
        self._connections.add(connection)
        if self._tick is None:
            self._now_s = self._machine.monotonic_s()
            self._tick = self.later(self._tick_s, self._check)
        return True

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def hold(self, size: int) -> bool:
        """Reckon `size` bytes of a body that is being buffered; False when all bodies together are too large."""
        self._held_bytes += size
        return self._held_bytes <= self.limits.all_bodies_bytes

    def release(self, size: int) -> None:
        self._held_bytes -= size

    def deadline_s(self, seconds: float) -> float:
        """A moment at least `seconds` ahead on the clock of `_check`; coarse, so that it costs nothing."""
        return self._now_s + seconds + self._tick_s

    def later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        return self._machine.call_later(delay_s, callback)

    def learn_header_name(self, raw: bytes) -> str:
        """The lower-case text of a header name; the usual ones are remembered."""
        name = raw.decode("latin-1").lower()
        if len(self.header_names) < MOST_HEADER_NAMES and len(raw) <= LONGEST_KEPT_HEADER_NAME:
            self.header_names[raw] = name
            if name not in FRAMING:
                self.plain_names[raw.decode("latin-1")] = name
        return name

    def date_line(self) -> str:
        """The Date header, made once a second."""
        second = self._machine.wall_ms() // 1000
        if second != self._date_second:
            self._date_second = second
            self._date_line = f"date: {formatdate(second, usegmt=True)}\r\n"
        return self._date_line

    def _check(self) -> None:
        self._tick = None
        if not self._connections:
            return
        self._now_s = now_s = self._machine.monotonic_s()
        for connection in list(self._connections):
            connection.check(now_s)
        self._tick = self.later(self._tick_s, self._check)
