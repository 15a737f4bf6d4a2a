"""A world in which time is virtual, chance is seeded, and processes die: the real handlers run in it, over and over.

One `World` has a disk and a line of processes. A process is a real engine with real services; it crashes at a moment
that chance picks, with commits under way that the disk got or did not get, and the next one opens the same disk.
Whoever called a process that crashed never hears of it. The same seed gives the same story.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from tule.gateway.calls import operation_names
from tule.gateway.credentials import KeyRing
from tule.kernel.clocks import Handle, ServiceClock
from tule.kernel.context import RequestContext, new_trace, root_principal
from tule.kernel.faults import FaultPoints
from tule.kernel.ports import Ports, Span
from tule.kernel.randomness import RandomSource, SeededRandom
from tule.kernel.tasks import Supervisor
from tule.observe.logsink import LogQueue
from tule.services.declaration import Context, Coordinate, Environment, Service, Transact
from tule.store import Engine, open_store
from tule.store.backend import CommitLostError, Pair, Range
from tule.store.batch import Batch
from tule.store.memory import MemoryBackend

T = TypeVar("T")

EPOCH_MS: Final = 1_700_000_000_000
SLOWEST_DISK_S: Final = 0.01
ACCOUNT: Final = "111111111111"
REGION: Final = "us-east-1"


class _VirtualSelector(selectors.SelectSelector):
    """Where a loop would wait for the world, time passes instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("Everything waits and nothing is due: a deadlock in the simulated world.")
        self.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time costs nothing."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


class VirtualMachineClock:
    """Machine time of a simulated world."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def monotonic_s(self) -> float:
        return self._loop.time()

    def monotonic_ns(self) -> int:
        return int(self._loop.time() * 1_000_000_000)

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self._loop.time() * 1000)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        return self._loop.call_later(delay_s, callback)


class CrashedError(Exception):
    """The process died before it answered: what became of the call is unknown."""


class Disk:
    """What outlives processes: rows, and who may write them."""

    def __init__(self) -> None:
        self.rows = MemoryBackend()
        self.epoch = 0


class SimulatedBackend:
    """A process's way to the disk: it takes a while, and a crash may come before or after the rows have changed."""

    cache_bytes = 1 << 20

    def __init__(self, disk: Disk, random: RandomSource, machine: VirtualMachineClock) -> None:
        self.disk = disk
        self.random = random
        self.machine = machine
        self.crashed = False
        self.epoch = 0

    async def open(self) -> None:
        self.disk.epoch += 1
        self.epoch = self.disk.epoch

    async def fetch(
        self, keys: Sequence[bytes], ranges: Sequence[Range]
    ) -> tuple[list[bytes | None], list[list[Pair]]]:
        await self.wait()
        found = [self.disk.rows.get(key) for key in keys], [self.disk.rows.range(*asked) for asked in ranges]
        await self.wait()
        return found

    async def commit(self, batches: Sequence[Batch]) -> None:
        await self.wait()
        if self.fenced():
            raise CommitLostError("another process has the disk")
        self.apply(batches)
        await self.wait()

    async def erase(self) -> None:
        self.disk.rows = MemoryBackend()

    def fenced(self) -> bool:
        return self.epoch != self.disk.epoch

    def apply(self, batches: Sequence[Batch]) -> None:
        self.disk.rows.commit(batches)

    async def wait(self) -> None:
        """Some time passes; a process that crashed meanwhile waits for ever."""
        await self.machine.sleep(self.random.fraction() * SLOWEST_DISK_S)
        if self.crashed:
            await asyncio.get_running_loop().create_future()

    async def close(self) -> None: ...


class _Calls:
    """`ctx.aws` in a simulated process: other services' operations, without a gateway."""

    def __init__(self, process: "Process", context: RequestContext, service: str = "") -> None:
        self._process = process
        self._context = context
        self._service = service

    def __getattr__(self, name: str) -> Any:
        if not self._service:
            return _Calls(self._process, self._context, name.rstrip("_"))
        operation = operation_names(self._service)[name]

        def call(**request: Any) -> Awaitable[Any]:
            return self._process.run(self._service, operation, request, self._context)

        return call


class _NoSpans:
    def record(self, span: Span) -> None: ...


class Process:
    """One life: an engine and the services on it."""

    def __init__(self, world: "World", backend: SimulatedBackend) -> None:
        self.world = world
        self.backend = backend
        self.dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        machine = world.machine
        self._started = asyncio.Event()
        self.tasks = Supervisor(machine)
        self.clock = ServiceClock(machine)
        self.engine: Engine = open_store(
            "simulated",
            machine=machine,
            clock=self.clock,
            random=world.random,
            faults=FaultPoints(),
            tasks=self.tasks,
            service_of=world.services.get,
            on_lost=lambda _: self.die(),
            backend=backend,
        )
        ports = Ports(KeyRing(), _NoSpans(), LogQueue(), world.blobs, FaultPoints())
        ports.functions = world.functions
        self.environment = Environment(
            self.engine,
            self.clock,
            machine,
            world.random,
            self.tasks,
            ports,
            lambda context: _Calls(self, context),
            lambda account, region: world.context(account=account, region=region),
        )

    async def start(self) -> None:
        await self.engine.start()
        for service in self.world.services.values():
            if service.start is not None:
                await service.start(self.environment)
        self._started.set()

    def die(self) -> None:
        """The process is gone: nothing of it is told or written any more."""
        self.backend.crashed = True
        if not self.dead.done():
            self.dead.set_result(None)

    async def call(self, service: str, operation: str, request: dict[str, Any]) -> Any:
        """Run an operation as the gateway would; `CrashedError` if the process dies first."""
        context = self.world.context(service, operation)
        return await self._unless_dead(self._call(service, operation, request, context))

    async def _call(self, service: str, operation: str, request: dict[str, Any], context: RequestContext) -> Any:
        await self._started.wait()
        return await self.run(service, operation, request, context)

    async def run(self, service: str, operation: str, request: dict[str, Any], context: RequestContext) -> Any:
        """Run an operation in the name of `context`, for a service of this process."""
        declared = self.world.services[service].operations[operation]
        if isinstance(declared, Coordinate):
            return await declared.handler(Context(context, self.environment), request)
        shard = declared.shard(context, request)
        if isinstance(declared, Transact):
            return await self.engine.transact(shard, lambda txn: declared.handler(txn, request), context)
        return await self.engine.read(shard, lambda txn: declared.handler(txn, request), context)

    async def _unless_dead(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        waited: set[asyncio.Future[Any]] = {task, self.dead}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if self.dead.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise CrashedError
        return task.result()


class World:
    """The disk, the process of the moment, and whoever calls it."""

    def __init__(
        self,
        seed: int,
        services: dict[str, Service],
        backend: type[SimulatedBackend] = SimulatedBackend,
        prepare: Callable[[Engine], None] | None = None,
        *,
        functions: Any = None,
        blobs: Any = None,
    ) -> None:
        self.random = SeededRandom(seed)
        self.services = services
        self.machine = VirtualMachineClock(asyncio.get_running_loop())
        self.disk = Disk()
        self.crashes = 0
        self._backend = backend
        self._prepare = prepare
        self.functions = functions
        """What runs functions, in this process: a `FunctionRuntime`, or what of it a story needs."""
        self.blobs = blobs
        self.process: Process

    async def start(self) -> None:
        """Bring up a process on the disk as it is."""
        self.process = Process(self, self._backend(self.disk, self.random, self.machine))
        if self._prepare is not None:
            self._prepare(self.process.engine)
        await self.process.start()

    async def crash(self, *, zombie: bool = False) -> None:
        """Kill the process and start the next. A zombie lives on for a while without knowing that it lost the disk."""
        old = self.process
        self.crashes += 1
        if not zombie:
            old.die()
            await old.tasks.close()
        await self.start()
        if zombie:
            await self.machine.sleep(SLOWEST_DISK_S * 4)
            old.die()
            await old.tasks.close()

    def context(
        self, service: str = "simulation", operation: str = "work", account: str = ACCOUNT, region: str = REGION
    ) -> RequestContext:
        trace = new_trace(self.random, self.machine.wall_ms() // 1000)
        principal = root_principal(account)
        return RequestContext(
            self.random.uuid(), service, operation, account, region, principal, trace, "http://localhost:4566"
        )


def simulate(story: Callable[[], Awaitable[T]]) -> T:
    """Run a story to its end on a loop of its own."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_as_coroutine(story()))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable
