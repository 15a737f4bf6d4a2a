"""The engine: runs handlers on the loop, appends what they wrote to the open batch, answers when it is durable.

Named fault points: "store.commit.before" and "store.commit.after" (around a backend's commit, on the writer's
thread), "store.append" (before a transaction is appended), "store.courier.deliver" and "store.timer.fire" (before such
a transaction runs), "store.answer" (before what became durable is told).
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import structlog

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext
from tule.store.appending import Appending
from tule.store.backend import EmbeddedBackend, Pair, Range, RemoteBackend
from tule.store.cache import CachedReader
from tule.store.contract import Done
from tule.store.directory import entries, listing
from tule.store.due import Alarm, Timers, advance, due_shard
from tule.store.format import check_format
from tule.store.outbox import RETRY_S, Courier
from tule.store.recovery import Fingerprint, recover
from tule.store.runner import Run, Runner
from tule.store.shard import Shard
from tule.store.surroundings import Surroundings, Work
from tule.store.transact import Transaction
from tule.store.transaction import DirectoryEntry, Handler, ReadHandler, ReadTxn, ShardKey, Txn
from tule.store.view import AppendedView, CommittedView, Miss
from tule.store.writer import InlineWriter, TaskWriter, ThreadWriter

T = TypeVar("T")

MAX_SHARDS = 50_000
"""Shards kept in memory before the idle ones are let go (ours; an idle one is about 1 KiB)."""

_log = structlog.get_logger("tule.store")


class Engine(Appending):
    """Implements `tule.store.contract.Store`. Everything here runs on one loop."""

    def __init__(self, backend: EmbeddedBackend | RemoteBackend, around: Surroundings) -> None:
        super().__init__(backend, around)
        self.closing = False
        self._shards: dict[ShardKey, Shard] = {}
        self._shards_limit = MAX_SHARDS
        self._due = due_shard()
        self.timers = Timers(self, self._due)
        self.courier = Courier(self)
        self._watchers: list[asyncio.Future[None]] = []

    # --- life

    async def start(self) -> None:
        """Open the backend, recover ids, clock, outbox and timers. Raises what the backend raises."""
        self._loop = asyncio.get_running_loop()
        backend = self.backend
        if isinstance(backend, RemoteBackend):
            await backend.open()
            self._runner = Runner(self, backend, self.cache)
            self._writer = TaskWriter(backend, self.faults, self._told, self.tasks)
            self._due.reader = self._runner.reader(self._due)
        else:
            self._reader = self._due.reader = backend.open()
            kind = ThreadWriter if backend.threaded else InlineWriter
            self._writer = kind(backend, self.faults, self._told)
        self._writer.start()
        try:
            await check_format(self)
            self._clock_saved = await recover(self, first=True)
        except BaseException:
            await self.close()
            raise
        self.clock.subscribe(self._clock_changed)
        self._clock_changed()

    async def close(self, *, erase: bool = False) -> None:
        """Commit what was appended, then let go of everything. Nothing may be submitted any more.

        With `erase` a remote store is left empty; a directory is its owner's to remove.
        """
        self.closing = True
        self.timers.disarm()
        self._turn()
        while self.open_batch is not None or self._inflight or (self.remote and self._runner.busy):
            await self._change()
        await self._writer.close()
        if erase and isinstance(self.backend, RemoteBackend):
            await self.backend.erase()
        closed = self.backend.close()
        if closed is not None:
            await closed
        if self._release is not None:
            self._release()

    # --- handlers

    def submit(self, shard: ShardKey, handler: Handler, request: Any, context: RequestContext, done: Done) -> None:
        """See `Store.submit`. `done` may be called before this returns, when nothing has to be waited for."""
        if self.pressure.throttling and (refusal := self.pressure.refusal()) is not None:
            done(None, refusal)
            return
        self._transact(self._shards.get(shard) or self._add_shard(shard), handler, request, context, done, None)

    def run(self, key: ShardKey, handler: Work, request: Any, context: RequestContext, done: Done) -> None:
        """`submit` for the store's own work, which is never throttled."""
        shard = self._shards.get(key) or self._add_shard(key)
        self._transact(shard, handler, request, context, done, None)

    def submit_read(
        self, shard: ShardKey, handler: ReadHandler, request: Any, context: RequestContext, done: Done
    ) -> None:
        """See `Store.submit_read`."""
        state = self._shards.get(shard) or self._add_shard(shard)
        if self.remote:
            self.peek(state, handler, request, context, done)
            return
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)
        try:
            result = handler(CommittedView(self, state, context), request)
        except Exception as error:  # noqa: BLE001 - the caller is told, be it a refusal or a defect
            done(None, error)
        else:
            done(result, None)

    def peek(self, shard: Shard, handler: Work, request: Any, context: RequestContext, done: Done) -> None:
        """Read what has been appended; the answer waits until that is durable."""
        self._look(shard, handler, request, context, done, None)

    def run_again(self, run: Run) -> None:
        """What it missed has been fetched."""
        step = self._look if run.plain else self._transact
        step(run.shard, run.handler, run.request, run.context, run.done, run)

    def _transact(
        self, shard: Shard, handler: Work, request: Any, context: RequestContext, done: Done, run: Run | None
    ) -> None:
        txn = Transaction(self, shard, context)
        try:
            result = handler(txn, request)
            if txn.wrote() or self.ids.unsaved:
                self._append(txn, shard).answers.append((done, result, None))
                if txn.effects is not None:
                    self._perform(shard, txn.effects)
                return
        except Miss as miss:
            run = run or Run(shard, handler, request, context, done, plain=False)
            self._runner.missed(run, miss, txn.hints)
            return
        except Exception as error:  # noqa: BLE001 - the caller is told, be it a refusal or a defect
            self._answer(shard, done, None, error)
            return
        if txn.effects is not None:
            self._perform(shard, txn.effects)
        if txn.commits is not None:
            for effect in txn.commits:
                self._answer(shard, partial(_call, effect), None, None)
        self._answer(shard, done, result, None)

    def _look(
        self, shard: Shard, handler: Work, request: Any, context: RequestContext, done: Done, run: Run | None
    ) -> None:
        view = AppendedView(self, shard, context)
        try:
            result = handler(view, request)
        except Miss as miss:
            run = run or Run(shard, handler, request, context, done, plain=True)
            self._runner.missed(run, miss, view.hints)
        except Exception as error:  # noqa: BLE001 - the caller is told, be it a refusal or a defect
            self._answer(shard, done, None, error)
        else:
            self._answer(shard, done, result, None)

    async def transact(self, shard: ShardKey, work: Callable[[Txn], T], context: RequestContext) -> T:
        """See `Store.transact`."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit(shard, _apply, work, context, partial(_settle, future))
        return await future

    async def read(self, shard: ShardKey, work: Callable[[ReadTxn], T], context: RequestContext) -> T:
        """See `Store.read`."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit_read(shard, _apply, work, context, partial(_settle, future))
        return await future

    async def directory(  # noqa: PLR0913 - the contract's
        self,
        service: str,
        account: str,
        region: str,
        kind: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
    ) -> list[DirectoryEntry]:
        """See `Store.directory`."""
        asked = listing(service, account, region, kind, prefix=prefix, after=after, limit=limit)
        return entries(await self.rows(asked))

    async def rows(self, asked: Range) -> list[Pair]:
        """Committed rows anywhere in the key space, for recovery and lists."""
        if isinstance(self.backend, RemoteBackend):
            return (await self.backend.fetch((), (asked,)))[1][0]
        self._reader.refresh()
        found = self._reader.range(*asked)
        self._reader.refresh()
        return found

    def digest(self) -> str:
        """See `Store.digest`; of an embedded store. A remote one is asked with `fingerprint`."""
        if self.remote:
            raise NotImplementedError("A remote store is asked with `await store.fingerprint()`.")
        self._reader.refresh()
        fingerprint = Fingerprint()
        while (asked := fingerprint.next_range()) is not None:
            fingerprint.add(self._reader.range(*asked))
        self._reader.refresh()
        return fingerprint.hexdigest()

    async def fingerprint(self) -> str:
        """The same as `digest`, on every backend."""
        fingerprint = Fingerprint()
        while (asked := fingerprint.next_range()) is not None:
            fingerprint.add(await self.rows(asked))
        return fingerprint.hexdigest()

    # --- time

    def alarm(self, at: Instant, callback: Callable[[], None]) -> Alarm:
        """See `Store.alarm`."""
        return self.timers.alarm(at, callback)

    async def advance(self, to: Instant, settle: Callable[[], Awaitable[None]] | None = None) -> None:
        """Step service time to `to`, stopping where something is due; `settle` waits for what the store can't see."""
        await advance(self, to, settle)

    def _clock_changed(self) -> None:
        self._save_clock()
        self.timers.clock_changed()

    async def stamp(self, key: bytes, value: bytes) -> None:
        """Write a row of the store's own, outside all shards, durably."""
        future: asyncio.Future[None] = self._loop.create_future()
        batch = self._begin()
        batch.writes[key] = value
        batch.answers.append((partial(_settle, future), None, None))
        await future

    # --- waiting for quiet

    def settled(self) -> None:
        """Something was finished: whoever waits for quiet looks again."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    async def quiet(self, at_most_s: float) -> None:
        """Return when nothing is due, undelivered or uncommitted, or after `at_most_s` of machine time."""
        deadline_s = self.machine.monotonic_s() + at_most_s
        await self.machine.sleep(0)
        while self._busy():
            left_s = deadline_s - self.machine.monotonic_s()
            if left_s <= 0:
                return
            await self._change(left_s)

    def _busy(self) -> bool:
        if self.open_batch is not None or self._inflight or self._recovering:
            return True
        if not self.courier.idle or self.timers.busy():
            return True
        return self.remote and self._runner.busy > 0

    async def _change(self, at_most_s: float | None = None) -> None:
        watcher: asyncio.Future[None] = self._loop.create_future()
        self._watchers.append(watcher)
        handle = None if at_most_s is None else self.machine.call_later(at_most_s, self.settled)
        await watcher
        if handle is not None:
            handle.cancel()

    async def _recover(self) -> None:
        """After a refusal. Requests go on meanwhile; letters and timers wait until everything is loaded again."""
        loaded_at = -1
        while loaded_at != self.refusals and not self.closing:
            await self.machine.sleep(RETRY_S)
            refusals = self.refusals
            try:
                await recover(self, first=False)
            except Exception:  # noqa: BLE001 - a connection may raise anything, and recovery goes on
                _log.exception("recovery failed")
            else:
                loaded_at = refusals
        self._recovering = False
        self.courier.resume()
        self.settled()

    def _add_shard(self, key: ShardKey) -> Shard:
        if len(self._shards) >= self._shards_limit:
            self._shards = {name: shard for name, shard in self._shards.items() if not shard.is_idle()}
            self._shards_limit = max(MAX_SHARDS, 2 * len(self._shards))
        shard = self._shards[key] = Shard(ShardKey(*key))
        if self.remote:
            shard.reader = shard.uncached = self._runner.reader(shard)
        else:
            shard.uncached = self._reader
            shard.reader = CachedReader(shard, self._reader, self.cache) if self.cache.limit_bytes else self._reader
        return shard


def _apply(txn: Any, work: Callable[[Any], T]) -> T:
    return work(txn)


def _call(effect: Callable[[], None], _: Any, error: BaseException | None) -> None:
    if error is None:
        effect()


def _settle(future: "asyncio.Future[T]", result: T, error: BaseException | None) -> None:
    if future.done():
        return  # whoever waited has gone
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
