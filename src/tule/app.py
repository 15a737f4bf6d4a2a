"""The composition root: the one place that knows every concrete class.

`python -m tule.app '{"memory": true}'` runs Tule until SIGTERM or SIGINT; `tule up` becomes this process.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are loaded just ends the process

import tule.kernel.lean  # noqa: F401 - before whatever imports structlog

# isort: split

import asyncio
import errno
import json
import os
import socket
import ssl
import sys
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import structlog

from tule.admin import banner, clock, counters, functions, house, ledger, traces
from tule.admin.api import AdminApi, Page
from tule.gateway.admission import Admission, is_loopback
from tule.gateway.authentication import Authenticator
from tule.gateway.calls import InnerCalls
from tule.gateway.chain import Gateway, Parts
from tule.gateway.contexts import Contexts
from tule.gateway.credentials import KeyRing, root_pair
from tule.gateway.edges import Edges
from tule.gateway.ongoing import Ongoing
from tule.gateway.registry import Services, discover
from tule.gateway.resumption import Resumption
from tule.gateway.traffic import Traffic
from tule.kernel import garbage
from tule.kernel.clocks import Instant, ServiceClock, SystemClock
from tule.kernel.faults import FaultPoints
from tule.kernel.home import Home, HomeError
from tule.kernel.ports import AccessKey, Ports
from tule.kernel.randomness import SystemRandom
from tule.kernel.settings import Settings, SettingsError, load
from tule.kernel.tasks import Supervisor
from tule.net.listening import Sockets
from tule.net.messages import HttpResponse
from tule.net.server import HttpServer
from tule.observe import ownlog
from tule.observe.logsink import LogQueue
from tule.observe.metering import record_reads
from tule.observe.spans import SpanRecorder
from tule.observe.tracefile import TraceFile
from tule.runtime import rungs
from tule.runtime.cloud_names import CloudNames
from tule.runtime.functions import Functions
from tule.runtime.reach import Reach, Sandbox
from tule.services.declaration import Environment
from tule.store import Engine, StoreUnusableError, open_store
from tule.store.blobs import FileBlobs
from tule.store.opening import DirectoryLock
from tule.store.transaction import ShardKey, Txn
from tule.wire.streaming import wants_stream

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
DRAIN_S: Final = 10.0
"""How long requests that have begun may take after SIGTERM (ours)."""

READ_USAGE_EVERY_S: Final = 1.0
"""How often usage of reads is written (ours; the bill says that it is relaxed)."""

SETTLE_S: Final = 30.0
"""How long an advance of the clock waits for the work it released (ours)."""

_log = structlog.get_logger("tule")


class Tule:
    """One running Tule: everything it is made of, from start to end."""

    def __init__(self, settings: Settings, home: Home, sockets: Sockets) -> None:
        self.settings = settings
        self.home = home
        self.sockets = sockets
        self.machine = SystemClock()
        self.clock = ServiceClock(self.machine)
        self.random = SystemRandom()
        self.tasks = Supervisor(self.machine)
        self.faults = FaultPoints()
        self.credentials = KeyRing()
        self.logs = LogQueue(first=self._logs_begin)
        self.spans = SpanRecorder(self.machine, TraceFile("" if settings.memory else str(home.path / "traces.db")))
        self.public_url = settings.public_url or sockets.url
        self.contexts = Contexts(self.machine, self.random, self.credentials, settings.region, self.public_url)
        self.services = Services(discover(), self._environment)
        self.traffic = Traffic(self.spans)
        self.ongoing = Ongoing(self.machine, self.tasks)
        self.stopping = asyncio.Event()
        self.resetting = False
        self.servers: list[HttpServer] = []
        self.store: Engine = open_store(
            settings.store or (":memory:" if settings.memory else str(home.data)),
            machine=self.machine,
            clock=self.clock,
            random=self.random,
            faults=self.faults,
            tasks=self.tasks,
            service_of=self.services.declaration,
            base_url=self.public_url,
            on_pressure=self._under_pressure,
        )
        self.blobs = FileBlobs(home.scratch / "blobs", self.random)
        self.functions = Functions(
            home.scratch / "functions",
            self.machine,
            self.random,
            self.logs,
            sockets.functions_url,
            cache=home.path / "cache",
            parked=settings.parked,
            sandbox=Sandbox(Reach(sockets.port, tuple(settings.host_ports)), settings.egress, settings.min_sandbox),
            names=CloudNames(home.path / "tls", home.scratch / "functions", self.machine, self._serve_names),
        )
        self.ports = Ports(
            self.credentials,
            self.spans,
            self.logs,
            self.blobs,
            self.faults,
            sockets.functions_url,
            self.public_url,
            str(home.scratch),
            self.functions,
            settings.verify_signatures,
        )

    # -- life

    async def start(self) -> None:
        """Open the store, listen, and let services resume what they were doing."""
        settings = self.settings
        await self.store.start()
        await self.functions.start()
        background = self.contexts.background(settings.account, settings.region)
        root = await root_pair(self.store, background, self.random)
        self.credentials.remember(root)
        edges = Edges()
        self.services.on_declared = edges.learn
        for service in self.services.declared():
            edges.learn(service)
        resumption = Resumption(self.store, self.services, self.contexts, settings)
        beyond_loopback = bool(settings.host) and not is_loopback(settings.host)
        parts = Parts(
            Admission(settings.allowed_hosts, settings.allowed_origins, any_address=beyond_loopback),
            Authenticator(self.credentials, self.contexts, self.machine, verify_all=settings.verify_signatures),
            self.contexts,
            self.services,
            edges,
            self.traffic,
            self.ongoing,
            self.faults,
            self.machine,
            self.tasks,
        )
        self.gateway = Gateway(parts, self._admin(root))
        self.calls = InnerCalls(self.gateway, self.contexts, self.services, self.faults, self.machine)
        await resumption.begin(self.tasks)
        await self._listen()
        self.tasks.keep("usage of reads", self._keep_read_usage)
        self.services.on_started = garbage.settle
        garbage.settle()

    async def _listen(self) -> None:
        public = HttpServer(self.gateway, self.machine, self.tasks, wants_stream=wants_stream)
        inner = HttpServer(self.gateway, self.machine, self.tasks, listener="functions", wants_stream=wants_stream)
        for sock in self.sockets.public:
            await public.listen_on(sock)
        await inner.listen_on(self.sockets.functions)
        self.servers = [public, inner]

    async def _serve_names(self, sock: socket.socket, tls: ssl.SSLContext) -> None:
        """Functions that call AWS by its own names: the same door, under TLS."""
        server = HttpServer(
            self.gateway, self.machine, self.tasks, listener="functions", wants_stream=wants_stream, tls=tls
        )
        await server.listen_on(sock)
        self.servers.append(server)

    async def stop(self) -> None:
        """Answer what has begun, stop the services, write what is waiting, close the store."""
        drained = asyncio.gather(*(server.drain(DRAIN_S) for server in self.servers))
        self.ongoing.break_off()
        await drained
        await self._write_read_usage()
        await self.services.stop()
        await self.functions.stop()
        await self.tasks.close()
        await self.store.close(erase=self.resetting)
        self.spans.close()

    def _environment(self) -> Environment:
        return Environment(
            self.store,
            self.clock,
            self.machine,
            self.random,
            self.tasks,
            self.ports,
            self.calls.aws_for,
            self.contexts.background,
        )

    def _under_pressure(self, paused: bool) -> None:  # noqa: FBT001 - the store's own signature
        for server in self.servers:
            if paused:
                server.pause_reading()
            else:
                server.resume_reading()

    def _logs_begin(self) -> None:
        if "logs" in self.services:
            self.tasks.spawn("start logs", self._start("logs"))

    async def _start(self, name: str) -> None:
        await self.services.start(name)

    async def _keep_read_usage(self) -> None:
        while True:
            await self.machine.sleep(READ_USAGE_EVERY_S)
            await self._write_read_usage()

    async def _write_read_usage(self) -> None:
        for (account, region), usage in self.traffic.take_read_usage().items():
            shard = ShardKey("tule", account, region, "reads")
            context = self.contexts.background(account, region)
            await self.store.transact(shard, partial(_write_usage, usage), context)

    # -- what it says of itself

    def _admin(self, root: AccessKey) -> AdminApi:
        endpoints = [
            *house.endpoints(self.status, root, self.services, self.store.fingerprint, self._reset),
            *clock.endpoints(self.clock, self._clock_kept, self._advance),
            *ledger.endpoints(self._counters, partial(counters.abnormal, self.store)),
            *traces.endpoints(self.spans),
            *functions.endpoints(self.functions),
        ]
        pages: dict[str, Page] = {
            "/_tule/health": partial(house.health, self.services),
            "/_localstack/health": partial(house.health, self.services),
            "/_tule/metrics": self._metrics,
        }
        return AdminApi(self.home.token(self.random), endpoints, pages, self.tasks)

    async def _counters(self, prefix: str) -> dict[str, int]:
        await self._write_read_usage()
        return await counters.totals(self.store, prefix)

    def _metrics(self) -> HttpResponse:
        return house.metrics(
            house.Measured(self.traffic, self.spans, self.logs, self.tasks, self.store, self._open_connections)
        )

    def _open_connections(self) -> int:
        return sum(server.open_connections for server in self.servers)

    def status(self) -> house.Status:
        """What `tule status` and the banner say."""
        settings = self.settings
        kept = _database(settings.store) if settings.store else f"SQLite in {self.home.data}"
        store = ("memory", False) if settings.memory else (kept, True)
        urls = (self.sockets.url, self.sockets.functions_url)
        calls = (list(self.services.started), self.ongoing.waiting)
        return banner.status(settings, self.clock, urls, store, self.functions.rung(), calls)

    def note(self) -> dict[str, Any]:
        """What the command line must know to find this Tule."""
        return {
            "pid": os.getpid(),
            "url": self.sockets.url,
            "port": self.sockets.port,
            "region": self.settings.region,
            "token_file": str(self.home.token_file),
            "started_ms": self.machine.wall_ms(),
        }

    async def _clock_kept(self) -> None:
        await self.store.quiet(SETTLE_S)

    async def _advance(self, to: Instant) -> bool:
        before, until_s = self.tasks.latest, self.machine.monotonic_s() + SETTLE_S
        settled = True

        async def settle() -> None:
            nonlocal settled
            settled = await self.ongoing.settle(before, until_s)
            await self.store.quiet(max(0.0, until_s - self.machine.monotonic_s()))

        await self.store.advance(to, settle)
        await settle()
        return settled

    async def _reset(self) -> None:
        self.resetting = True
        self.machine.call_later(0.05, self.stopping.set)  # the answer is on its way first


def _database(url: str) -> str:
    """Which database it is, without the password that its URL may hold."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
    return f"PostgreSQL, database {parts.path.strip('/') or 'of the user'} at {host}"


def _write_usage(usage: dict[str, int], txn: Txn) -> None:
    record_reads(txn, usage)


async def serve(settings: Settings, home: Home, sockets: Sockets, ready: int) -> bool:
    """Run until told to end. True if Tule is to start again, with nothing in it."""
    tule = Tule(settings, home, sockets)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tule.stopping.set)
    await tule.start()
    home.write_note(tule.note())
    _say_ready(settings, tule.status(), ready)
    try:
        await tule.stopping.wait()
    finally:
        await tule.stop()
    return tule.resetting


def _say_ready(settings: Settings, status: house.Status, ready: int) -> None:
    text = banner.text(status, as_json=settings.json)
    if ready >= 0:
        with os.fdopen(ready, "w", encoding="utf-8") as pipe:
            pipe.write(text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def run(settings: Settings, ready: int = -1) -> int:
    """Run Tule in this process. `ready` is a descriptor to which the banner goes, or -1 for stdout.

    Returns the port to start again on after a reset, else 0. Raises `SettingsError`, `HomeError`,
    `StoreUnusableError` and `OSError` with what people can do about them.
    """
    if settings.production:
        raise SettingsError(
            "production means enforced permissions, and this release has no policy engine yet. Leave --production out."
        )
    import uvloop

    home = Home(settings.home(), memory=settings.memory)
    log = ownlog.configure(settings.log_level, home.log_file)
    try:
        if settings.min_sandbox:
            rungs.require(rungs.look(), settings.min_sandbox)
        if not settings.memory and not settings.store:
            DirectoryLock.take(home.data).release()  # who has the directory matters more than who has the port
        sockets = Sockets(settings)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                again = runner.run(serve(settings, home, sockets, ready))
        finally:
            sockets.close()
        if again:
            home.forget()
    finally:
        home.leave()
        if log is not None:
            log.close()
    return sockets.port if again else 0


def main(arguments: list[str]) -> int:
    """`python -m tule.app FLAGS-AS-JSON [READY-DESCRIPTOR]`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    flags = json.loads(arguments[0]) if arguments else {}
    ready = int(arguments[1]) if len(arguments) > 1 else -1
    try:
        settings = load(flags)
        port = run(settings, ready)
    except SettingsError as error:
        return _complain(str(error), USAGE)
    except (HomeError, StoreUnusableError, rungs.TooLowError) as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        return _complain(_why_not(settings, error), FAILED)
    except KeyboardInterrupt:  # before the event loop took the signal over
        return INTERRUPTED
    if port:
        flags |= {"json": True, "port": port}
        os.execv(sys.executable, [sys.executable, "-m", "tule.app", json.dumps(flags)])  # noqa: S606 - ourselves
    return 0


def _why_not(settings: Settings, error: OSError) -> str:
    where = f"{settings.host or 'localhost'}:{settings.port}"
    named = error.errno not in (errno.EADDRNOTAVAIL, None) and not isinstance(error, socket.gaierror)
    fix = "Choose another --port." if named else "Choose a --host that is an address of this machine."
    return f"Tule can't start at {where}: {error.strerror or error}. {fix}"


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"tule: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
