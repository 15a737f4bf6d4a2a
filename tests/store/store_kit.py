"""What the store's tests share: engines over every backend, and a context to call them with."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tule.kernel.clocks import ServiceClock, SystemClock
from tule.kernel.context import RequestContext, new_trace, root_principal
from tule.kernel.faults import FaultPoints
from tule.kernel.randomness import SeededRandom
from tule.kernel.tasks import Supervisor
from tule.store import Engine, open_store
from tule.store.backend import EmbeddedBackend, RemoteBackend
from tule.store.memory import ForcedMissBackend, MemoryBackend
from tule.store.opening import backend_for
from tule.store.sqlite import SqliteBackend
from tule.store.transaction import ShardKey

ACCOUNT = "123456789012"
REGION = "eu-west-1"

MAX_TURNS = 2_000


def shard(name: str = "one", service: str = "test") -> ShardKey:
    return ShardKey(service, ACCOUNT, REGION, "thing", name)


def context(service: str = "test") -> RequestContext:
    return RequestContext(
        "request-1",
        service,
        "Operation",
        ACCOUNT,
        REGION,
        root_principal(ACCOUNT),
        new_trace(SeededRandom(1), 1_700_000_000),
        "http://localhost:4566",
    )


@dataclass
class Handlers:
    """A service as far as the store knows it."""

    receivers: dict = field(default_factory=dict)
    timers: dict = field(default_factory=dict)


@dataclass
class Bench:
    """Makes engines; the same backend again after `reopen`."""

    kind: str
    directory: Path
    handlers: Handlers = field(default_factory=Handlers)
    faults: FaultPoints = field(default_factory=FaultPoints)
    pressure: list = field(default_factory=list)
    lost: list = field(default_factory=list)
    kept: EmbeddedBackend | RemoteBackend | None = None
    url: str = ""

    @property
    def durable(self) -> bool:
        return self.kind not in ("memory", "misses")

    def backend(self) -> EmbeddedBackend | RemoteBackend:
        if self.kind == "sqlite":
            return SqliteBackend(str(self.directory / "store.db"))
        if self.kind == "postgresql":
            return backend_for(self.url)
        if self.kept is None:
            self.kept = MemoryBackend() if self.kind == "memory" else ForcedMissBackend()
        return self.kept

    async def open(self, **options) -> Engine:
        machine = SystemClock()
        clock = options.pop("clock", None) or ServiceClock(machine)
        engine = open_store(
            ":memory:",
            machine=machine,
            clock=clock,
            random=options.pop("random", None) or SeededRandom(7),
            faults=self.faults,
            tasks=Supervisor(machine),
            service_of=lambda _: self.handlers,
            on_pressure=self.pressure.append,
            on_lost=self.lost.append,
            backend=options.pop("backend", None) or self.backend(),
        )
        await engine.start()
        return engine

    async def reopen(self, engine: Engine, **options) -> Engine:
        await self.close(engine)
        return await self.open(**options)

    async def close(self, engine: Engine) -> None:
        await engine.close()
        await engine.tasks.close()

    def run(self, test: Callable[[Engine], Awaitable[None]], **options) -> None:
        """Run `test` on an engine of its own."""

        async def whole() -> None:
            engine = await self.open(**options)
            try:
                await test(engine)
            finally:
                await self.close(engine)

        asyncio.run(whole())


KINDS = ["memory", "misses", "sqlite", "postgresql"]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds; machine time passes only while other threads work."""
    for _ in range(MAX_TURNS):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("what the test waits for did not happen")


class Answers:
    """Collects what `submit` answers."""

    def __init__(self) -> None:
        self.got: list = []

    def __call__(self, result, error) -> None:
        self.got.append(result if error is None else error)
