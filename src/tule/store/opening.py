"""Opening a store: which backend, whose directory, which format."""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Self

from tule.kernel.clocks import MachineClock, ServiceClock
from tule.kernel.context import Principal, RequestContext, new_trace, trace_from_header
from tule.kernel.faults import FaultPoints
from tule.kernel.randomness import RandomSource
from tule.kernel.tasks import Supervisor
from tule.store.backend import EmbeddedBackend, RemoteBackend, StoreUnusableError
from tule.store.engine import Engine
from tule.store.memory import MemoryBackend
from tule.store.sqlite import SqliteBackend, database_in
from tule.store.surroundings import ServiceOf, Surroundings, end_process
from tule.store.transaction import ShardKey

MEMORY = ":memory:"


class DirectoryInUseError(StoreUnusableError):
    """Another process has the directory; the message names it."""


class DirectoryLock:
    """The right to use a directory, held while the process lives; the kernel lets it go however that ends."""

    __slots__ = ("_file",)

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def take(cls, directory: Path) -> Self:
        """Make `directory` if it is missing (0700), and lock it; `DirectoryInUseError` names who has it."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        path = directory / "lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise DirectoryInUseError(
                f"{directory} is in use by the process {owner}. Stop it (`tule down`) or choose another --dir."
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        return cls(file)

    def release(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


def _no_service(_: str) -> None:
    return None


def _ignore(_: bool) -> None:  # noqa: FBT001 - the hook's argument
    return None


def open_store(  # noqa: PLR0913 - everything an engine stands on is named here, once
    location: str,
    *,
    machine: MachineClock,
    clock: ServiceClock,
    random: RandomSource,
    faults: FaultPoints,
    tasks: Supervisor,
    service_of: ServiceOf = _no_service,
    base_url: str = "http://localhost:4566",
    on_pressure: Callable[[bool], None] = _ignore,
    on_lost: Callable[[BaseException], None] = end_process,
    backend: EmbeddedBackend | RemoteBackend | None = None,
) -> Engine:
    """An engine over the store at `location`; `await engine.start()` opens it and `await engine.close()` ends it.

    `location` is ":memory:", a postgresql:// URL, or a directory, which is made if it is missing, made 0700 and locked
    (`DirectoryInUseError`). `service_of(name)` gives a service's `receivers` and `timers` (a `Service` declaration will
    do), or None; it is asked when something is delivered or due. `base_url` is what such work finds in its context.
    `on_pressure(True)` asks for sockets to be paused, `on_pressure(False)` to go on. `on_lost` is called when a failed
    sync left it unknown what the disk has; it must end the process. `backend` stands in for the one that `location`
    would choose.
    """

    def context_for(shard: ShardKey, operation: str, trace: str) -> RequestContext:
        now_s = machine.wall_ms() // 1000
        principal = Principal("service", f"{shard.service}.amazonaws.com", shard.service)
        return RequestContext(
            request_id=random.uuid(),
            service=shard.service,
            operation=operation,
            account=shard.account,
            region=shard.region,
            principal=principal,
            trace=trace_from_header(trace, random, now_s) if trace else new_trace(random, now_s),
            base_url=base_url,
        )

    lock: DirectoryLock | None = None
    if backend is None and location != MEMORY and not location.startswith(("postgresql://", "postgres://")):
        lock = DirectoryLock.take(Path(location))
    try:
        chosen = backend if backend is not None else backend_for(location)
        around = Surroundings(
            machine,
            clock,
            random,
            faults,
            tasks,
            service_of,
            context_for,
            on_lost,
            on_pressure,
            lock.release if lock is not None else None,
        )
        return Engine(chosen, around)
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def backend_for(location: str) -> EmbeddedBackend | RemoteBackend:
    """The backend that a location names."""
    if location == MEMORY:
        return MemoryBackend()
    if location.startswith(("postgresql://", "postgres://")):
        # By name, because it needs a driver that is an optional dependency.
        try:
            module = import_module("tule.store.postgres")
        except ModuleNotFoundError as error:
            raise StoreUnusableError(
                f"--store postgresql://... needs {error.name}: pip install 'tule[postgresql]'."
            ) from error
        backend: RemoteBackend = module.PostgresBackend(location)
        return backend
    return SqliteBackend(str(database_in(Path(location))))
