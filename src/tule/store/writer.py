"""Who commits the closed batches: the loop itself, a thread of its own, or a task.

A writer takes all that are closed, commits them as one, and tells the engine on the loop. After a refusal it takes
nothing of that epoch any more, because what came later was built on what is gone; the engine begins a new epoch.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from tule.kernel.faults import FaultPoints
from tule.kernel.tasks import Supervisor
from tule.store.backend import CommitRefusedError, EmbeddedBackend, RemoteBackend
from tule.store.batch import Batch
from tule.store.slices import ask_short_slice

Told = Callable[[Sequence[Batch], BaseException | None], None]
"""Called on the loop with what was committed, or with what was not and why."""


class Writer(Protocol):
    """Takes closed batches in append order."""

    def start(self) -> None: ...

    def take(self, batch: Batch) -> None: ...

    async def close(self) -> None:
        """Return when everything taken was committed or refused."""


class InlineWriter:
    """For a backend that never blocks."""

    __slots__ = ("_backend", "_faults", "_told")

    def __init__(self, backend: EmbeddedBackend, faults: FaultPoints, told: Told) -> None:
        self._backend = backend
        self._faults = faults
        self._told = told

    def start(self) -> None: ...

    def take(self, batch: Batch) -> None:
        batches = (batch,)
        try:
            self._faults.hit("store.commit.before")
            self._backend.commit(batches)
            self._faults.hit("store.commit.after")
        except Exception as error:  # noqa: BLE001 - the engine tells refusals from the rest
            self._told(batches, error)
        else:
            self._told(batches, None)

    async def close(self) -> None:
        self._backend.close_writer()


class ThreadWriter:
    """For a backend that waits for a disk."""

    __slots__ = ("_backend", "_closed", "_faults", "_loop", "_queue", "_refused_epoch", "_thread", "_told")

    def __init__(self, backend: EmbeddedBackend, faults: FaultPoints, told: Told) -> None:
        self._backend = backend
        self._faults = faults
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._refused_epoch = -1
        self._closed = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="tule-store-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, batch: Batch) -> None:
        self._queue.put(batch)

    async def close(self) -> None:
        self._queue.put(None)
        await self._closed.wait()
        self._thread.join()

    def _work(self) -> None:
        ask_short_slice()
        queue = self._queue
        going_on = True
        while going_on:
            batches = []
            item = queue.get()
            try:
                while item is not None:
                    if item.epoch > self._refused_epoch:
                        batches.append(item)
                    item = queue.get_nowait()
                going_on = False
            except Empty:
                pass
            if batches:
                self._commit(batches)
        self._backend.close_writer()
        self._loop.call_soon_threadsafe(self._closed.set)

    def _commit(self, batches: list[Batch]) -> None:
        error: Exception | None = None
        try:
            self._faults.hit("store.commit.before")
            self._backend.commit(batches)
            self._faults.hit("store.commit.after")
        except Exception as caught:  # noqa: BLE001 - the engine tells refusals from the rest
            self._refused_epoch = batches[-1].epoch
            error = caught
        self._loop.call_soon_threadsafe(self._told, batches, error)


class TaskWriter:
    """For a backend on the other end of a connection."""

    __slots__ = ("_backend", "_batches", "_faults", "_refused_epoch", "_supervisor", "_task", "_told", "_wake")

    def __init__(self, backend: RemoteBackend, faults: FaultPoints, told: Told, supervisor: Supervisor) -> None:
        self._backend = backend
        self._faults = faults
        self._told = told
        self._supervisor = supervisor
        self._batches: list[Batch] = []
        self._refused_epoch = -1
        self._wake: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None: ...

    def take(self, batch: Batch) -> None:
        self._batches.append(batch)
        if self._task is None:
            self._task = self._supervisor.spawn("store writer", self._work())

    async def close(self) -> None:
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def _work(self) -> None:
        try:
            while self._batches:
                taken, self._batches = self._batches, []
                batches = [batch for batch in taken if batch.epoch > self._refused_epoch]
                if batches:
                    await self._commit(batches)
        finally:
            self._task = None

    async def _commit(self, batches: list[Batch]) -> None:
        try:
            self._faults.hit("store.commit.before")
            await self._backend.commit(batches)
            self._faults.hit("store.commit.after")
        except asyncio.CancelledError:
            self._told(batches, CommitRefusedError("Tule is stopping."))
            raise
        except Exception as error:  # noqa: BLE001 - the engine tells refusals from the rest
            self._refused_epoch = batches[-1].epoch
            self._told(batches, error)
        else:
            self._told(batches, None)
