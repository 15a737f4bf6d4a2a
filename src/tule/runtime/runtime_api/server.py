"""The listener of one execution environment: HTTP on a socket that only its own processes reach."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, cast

from tule.kernel.clocks import MachineClock
from tule.kernel.tasks import Supervisor
from tule.net.connection import Connection
from tule.net.exchange import Exchange
from tule.net.limits import ServerLimits
from tule.net.messages import HttpRequest, HttpResponse
from tule.net.server import HttpServer
from tule.runtime.runtime_api import rendering
from tule.runtime.runtime_api.extensions import Extensions
from tule.runtime.runtime_api.telemetry import LOGS_API, TELEMETRY_API, Telemetry
from tule.runtime.runtime_api.turns import ERROR_BODY, ERROR_TYPE, Turns

DAY_S: Final = 86_400.0
LIMITS: Final = ServerLimits(connections=256, idle_s=DAY_S, stall_s=DAY_S)
"""Runtimes and extensions keep connections for as long as they live, and may be frozen in the middle of a body."""

_INVOCATION: Final = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
_TRAILERS: Final = frozenset({ERROR_TYPE, ERROR_BODY})


class ApiConnection(Connection):
    """A connection that keeps the trailers which a streamed response may end with."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self.trailers: dict[str, str] = {}

    def on_message_begin(self) -> None:
        self.trailers = {}
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            key = name.decode("latin-1").lower()
            if key in _TRAILERS:
                self.trailers[key] = value.decode("latin-1")
            return
        super().on_header(name, value)


@dataclass(slots=True)
class Apis:
    """What one environment's requests reach."""

    turns: Turns
    extensions: Extensions
    telemetry: Telemetry


_POSTS: Final[dict[str, Callable[[Apis, HttpRequest], Awaitable[HttpResponse]]]] = {
    "/2018-06-01/runtime/init/error": lambda apis, request: apis.turns.failed_init(request),
    "/2020-01-01/extension/register": lambda apis, request: apis.extensions.register(request),
    "/2020-01-01/extension/init/error": lambda apis, request: apis.extensions.failed(request, "init"),
    "/2020-01-01/extension/exit/error": lambda apis, request: apis.extensions.failed(request, "exit"),
}


class RuntimeApiServer(HttpServer):
    """Routes requests to the APIs of one execution environment."""

    def __init__(
        self, apis: Apis, machine: MachineClock, tasks: Supervisor, may_connect: Callable[[socket.socket], bool]
    ) -> None:
        super().__init__(self._answer, machine, tasks, listener="runtime", wants_stream=lambda _: True, limits=LIMITS)
        self._apis = apis
        self._may_connect = may_connect
        self._running: set[asyncio.Task[None]] = set()

    async def open(self, listener: socket.socket) -> None:
        """Serve a listening socket."""
        create = asyncio.get_running_loop().create_server
        self._servers.append(await create(lambda: ApiConnection(self), sock=listener))

    def admit(self, connection: Connection) -> bool:
        """Only processes of the environment are let in."""
        sock = connection._transport.get_extra_info("socket")  # noqa: SLF001 - the listener's own connection
        return self._may_connect(sock) and super().admit(connection)

    def close(self) -> None:
        """Hang up at once."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    # -- routing

    def _answer(self, request: HttpRequest, exchange: Exchange) -> None:
        if request.method == "GET" and request.path == "/2018-06-01/runtime/invocation/next":
            self._apis.turns.next(exchange)
        elif request.method == "GET" and request.path == "/2020-01-01/extension/event/next":
            self._apis.extensions.next(request, exchange)
        else:
            work = self._operation(request, exchange)
            if work is None:
                exchange(rendering.not_found())
            else:
                self._later(work, exchange)

    def _operation(self, request: HttpRequest, exchange: Exchange) -> Awaitable[HttpResponse] | None:
        apis, path = self._apis, request.path.rstrip("/")
        if request.method == "PUT":
            if path in (TELEMETRY_API, LOGS_API):
                return apis.telemetry.subscribe(path, request, apis.extensions)
            return None
        if request.method != "POST":
            return None
        if match := _INVOCATION.fullmatch(path):
            if match[2] == "error":
                return apis.turns.error(match[1], request)
            carrier = cast("ApiConnection", exchange._carrier)  # noqa: SLF001 - the trailers are the connection's
            return apis.turns.response(match[1], request, carrier.trailers)
        operation = _POSTS.get(path)
        return operation(apis, request) if operation is not None else None

    def _later(self, work: Awaitable[HttpResponse], exchange: Exchange) -> None:
        async def answer() -> None:
            exchange(await work)

        task = asyncio.get_running_loop().create_task(answer())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
