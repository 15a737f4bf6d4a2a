"""The engine: runs handlers on the loop, appends what they wrote to the open batch, answers when it is durable.

Named fault points: "store.commit.before" and "store.commit.after" (around a backend's commit, on the writer's
thread), "store.append" (before a transaction is appended), "store.courier.deliver" and "store.timer.fire" (before such
a transaction runs), "store.answer" (before what became durable is told).
"""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from tule.kernel.clocks import Instant, MachineClock, ServiceClock
from tule.kernel.context import RequestContext
from tule.kernel.errors import ServiceUnavailableError
from tule.kernel.faults import FaultPoints
from tule.kernel.randomness import RandomSource
from tule.kernel.tasks import Supervisor
from tule.store.backend import CommitRefusedError, EmbeddedBackend, Pair, Range, Reader, RemoteBackend
from tule.store.batch import CLOSED, DURABLE, REFUSED, Batch
from tule.store.contract import Done
from tule.store.directory import entries, listing
from tule.store.due import Alarm, Timers, advance, due_shard
from tule.store.ids import SlotIds
from tule.store.outbox import Courier
from tule.store.pressure import Pressure
from tule.store.records import ClockRecord, encode
from tule.store.recovery import Fingerprint, recover
from tule.store.runner import Run, Runner
from tule.store.shard import Shard
from tule.store.space import CLOCK_KEY, COUNT, OUTBOX, outbox_key
from tule.store.transact import Transaction
from tule.store.transaction import DirectoryEntry, Handler, ReadHandler, ReadTxn, ShardKey, Txn
from tule.store.view import AppendedView, CommittedView, Miss
from tule.store.writer import InlineWriter, TaskWriter, ThreadWriter, Writer

T = TypeVar("T")

MAX_SHARDS = 50_000
"""Shards kept in memory before the idle ones are let go (ours; an idle one is about 1 KiB)."""
MAX_COUNTERS = 512
"""Counters of a shard kept in memory before it is asked for them again (ours)."""

_log = structlog.get_logger("tule.store")


class Handlers(Protocol):
    """What the store must know of a service: what runs on delivery and when something is due."""

    @property
    def receivers(self) -> Mapping[str, Callable[[Txn, bytes], None]]: ...

    @property
    def timers(self) -> Mapping[str, Callable[[Txn, bytes, bytes], None]]: ...


Work = Callable[[Any, Any], Any]
ServiceOf = Callable[[str], Handlers | None]
ContextFor = Callable[[ShardKey, str, str], RequestContext]
"""A context for work that no request causes: (shard, operation, trace header or "")."""


def end_process(error: BaseException) -> None:
    """What a store does when it can't know what the disk has kept: the next start will."""
    _log.critical("the store lost track of the disk; Tule ends", error=str(error))
    os._exit(70)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine needs beside its backend."""

    machine: MachineClock
    clock: ServiceClock
    random: RandomSource
    faults: FaultPoints
    tasks: Supervisor
    service_of: ServiceOf
    context_for: ContextFor
    on_lost: Callable[[BaseException], None]
    on_pressure: Callable[[bool], None]
    release: Callable[[], None] | None = None
    """Called when the store has been closed."""


class Engine:
    """Implements `tule.store.contract.Store`. Everything here runs on one loop."""

    def __init__(self, backend: EmbeddedBackend | RemoteBackend, around: Surroundings) -> None:
        self.machine = around.machine
        self.clock = around.clock
        self.random = around.random
        self.faults = around.faults
        self.tasks = around.tasks
        self.service_of = around.service_of
        self.context_for = around.context_for
        self._on_lost = around.on_lost
        self._release = around.release
        self.backend = backend
        self.remote = not hasattr(backend, "threaded")
        self.ids = SlotIds()
        self.open_batch: Batch | None = None
        self.pressure = Pressure(around.machine, around.on_pressure)
        self.closing = False
        self._shards: dict[ShardKey, Shard] = {}
        self._due = due_shard()
        self.timers = Timers(self, self._due)
        self.courier = Courier(self)
        self._number = 0
        self._epoch = 0
        self._inflight: deque[Batch] = deque()
        self._turning = False
        self._reader: Reader
        self._runner: Runner
        self._writer: Writer
        self._loop: asyncio.AbstractEventLoop
        self._watchers: list[asyncio.Future[None]] = []
        self._clock_saved: tuple[int, Instant | None] | None = None
        self.refusals = 0
        """Commits that were refused."""

    # --- life

    async def start(self) -> None:
        """Open the backend, recover ids, clock, outbox and timers. Raises what the backend raises."""
        self._loop = asyncio.get_running_loop()
        backend = self.backend
        if isinstance(backend, RemoteBackend):
            await backend.open()
            self._runner = Runner(self, backend)
            self._writer = TaskWriter(backend, self.faults, self._told, self.tasks)
            self._due.reader = self._runner.reader(self._due)
        else:
            self._reader = self._due.reader = backend.open()
            kind = ThreadWriter if backend.threaded else InlineWriter
            self._writer = kind(backend, self.faults, self._told)
        self._writer.start()
        self._clock_saved = await recover(self, first=True)
        self.clock.subscribe(self._clock_changed)
        self._clock_changed()

    async def close(self) -> None:
        """Commit what was appended, then let go of everything. Nothing may be submitted any more."""
        self.closing = True
        self.timers.disarm()
        self._turn()
        while self._inflight:
            await self._change()
        await self._writer.close()
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
        self.run(shard, handler, request, context, done)

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
        state = self.clock.state()
        if state != self._clock_saved:
            self._clock_saved = state
            self._begin().writes[CLOCK_KEY] = encode(ClockRecord(*state))
        self.timers.clock_changed()

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
        await asyncio.sleep(0)
        while self._busy():
            left_s = deadline_s - self.machine.monotonic_s()
            if left_s <= 0:
                return
            await self._change(left_s)

    def _busy(self) -> bool:
        if self.open_batch is not None or self._inflight or not self.courier.idle or self.timers.busy():
            return True
        return self.remote and self._runner.busy > 0

    async def _change(self, at_most_s: float | None = None) -> None:
        watcher: asyncio.Future[None] = self._loop.create_future()
        self._watchers.append(watcher)
        handle = None if at_most_s is None else self.machine.call_later(at_most_s, self.settled)
        await watcher
        if handle is not None:
            handle.cancel()

    # --- batches

    def wake(self) -> None:
        """Have a turn end soon, for work that nobody's request causes."""
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _begin(self) -> Batch:
        batch = self.open_batch
        if batch is None:
            self._number += 1
            batch = self.open_batch = Batch(self._number, self._epoch)
            if not self._turning:
                self._turning = True
                self._loop.call_soon(self._turn)
        return batch

    def _append(self, txn: Transaction, shard: Shard) -> Batch:
        """Make what `txn` wrote part of the open batch and of what the shard's next run sees."""
        self.faults.hit("store.append")
        batch = self.open_batch or self._begin()
        writes, number, overlay = txn.writes, batch.number, shard.overlay
        if txn.ranges is not None:
            for start, end in txn.ranges:
                batch.delete_range(start, end)
                overlay.delete_range(start, end, number)
        batch.writes.update(writes)
        overlay.append(writes, number)
        touched = batch.touched.get(shard)
        if touched is None:
            batch.touched[shard] = list(writes)
        else:
            touched.extend(writes)
        shard.batch = batch
        batch.bytes += txn.size
        if txn.counts is not None:
            for counter, n in txn.counts:
                counter.value += n
                batch.counted.add(counter)
        if self.ids.unsaved:
            self._save_ids(batch)
        if txn.commits is not None:
            batch.effects.extend(txn.commits)
        if txn.raw is not None or txn.dues is not None or txn.sends is not None:
            self._append_rest(txn, shard, batch)
        return batch

    def _append_rest(self, txn: Transaction, shard: Shard, batch: Batch) -> None:
        """What goes to the store's own spaces: lists, due times, the outbox."""
        for key, value in (txn.raw or {}).items():
            if value is None and key.startswith(OUTBOX) and batch.writes.pop(key, None) is not None:
                continue  # taken before its batch was closed: it never becomes a row
            batch.writes[key] = value
        if txn.sends is not None:
            for draft in txn.sends:
                number = self.ids.take(shard.slot)
                letter = draft._replace(number=number, slot=shard.slot, batch=batch)
                batch.writes[outbox_key(shard.slot, number)] = encode(letter.record())
                self.courier.post(letter)
            if self.ids.unsaved:
                self._save_ids(batch)
        if txn.dues is not None:
            batch.writes.update(txn.dues)
            self._due.overlay.append(txn.dues, batch.number)
            batch.touched.setdefault(self._due, []).extend(txn.dues)
            self._due.batch = batch
            self.timers.note(txn.dues)

    def _save_ids(self, batch: Batch) -> None:
        batch.writes.update(self.ids.unsaved)
        self.ids.unsaved.clear()

    def _turn(self) -> None:
        """The end of a turn of the loop: deliver, close the batch, hand it to the writer, let the snapshot go."""
        courier = self.courier
        if courier.ready:
            courier.pump()
        self._turning = False
        batch = self.open_batch
        if batch is not None:
            self.open_batch = None
            batch.state = CLOSED
            for counter in batch.counted:
                batch.writes[counter.key] = COUNT.pack(counter.value)
            self._inflight.append(batch)
            self.pressure.closed(batch)
            self._writer.take(batch)
        if not self.remote:
            self._reader.refresh()
        if courier.ready and not courier.paused:
            self.wake()

    def _answer(self, shard: Shard, done: Done, result: Any, error: BaseException | None) -> None:
        """Tell when the newest transaction of the shard is durable, which may be now."""
        batch = shard.batch
        if batch is None:
            done(result, error)
        else:
            batch.answers.append((done, result, error))

    def _perform(self, shard: Shard, effects: Sequence[Callable[[], None]]) -> None:
        for effect in effects:
            try:
                effect()
            except Exception:  # noqa: BLE001 - a defect, after which what the service remembers can't be trusted
                _log.exception("effect failed", shard=shard.key)
                shard.memory.clear()

    # --- after the commit

    def _told(self, batches: Sequence[Batch], error: BaseException | None) -> None:
        if not self.remote:
            self._reader.refresh()
        if error is None:
            self._durable(batches)
        elif isinstance(error, CommitRefusedError):
            if batches[0].epoch == self._epoch:
                self._refused(error)
        else:
            self._on_lost(error)
            self._refused(error)
        self.settled()

    def _durable(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            batch.state = DURABLE
            self._inflight.popleft()
            self.pressure.done(batch)
            number = batch.number
            for shard, keys in batch.touched.items():
                shard.overlay.acknowledge(keys, number)
                if shard.batch is batch:
                    shard.batch = None
                    if len(shard.counters) > MAX_COUNTERS and not shard.fetching:
                        shard.counters.clear()
            if self.remote:
                self._runner.cache.absorb(batch)
        self.faults.hit("store.answer")
        for batch in batches:
            for effect in batch.effects:
                try:
                    effect()
                except Exception:  # noqa: BLE001 - one caller's defect is not the others'
                    _log.exception("effect after commit failed")
            for done, result, error in batch.answers:
                try:
                    done(result, error)
                except Exception:  # noqa: BLE001 - one caller's defect is not the others'
                    _log.exception("answer failed")

    def _refused(self, error: BaseException) -> None:
        """Nothing that is not durable yet ever happened: answer who waits, and rebuild from the store."""
        _log.error("commit refused", error=str(error), refusals=self.refusals)
        self.refusals += 1
        self._epoch += 1
        lost = [*self._inflight, *([self.open_batch] if self.open_batch is not None else [])]
        self._inflight.clear()
        self.open_batch = None
        for batch in lost:
            batch.state = REFUSED
            for shard in batch.touched:
                shard.forget()
        self.pressure.clear()
        self.ids.distrust()
        self._clock_saved = None
        self.courier.pause()
        self.timers.pause()
        self.tasks.spawn("store recovery", self._recover())
        refusal = ServiceUnavailableError(f"The store could not keep this request: {error}")
        for batch in lost:
            for done, _, __ in batch.answers:
                try:
                    done(None, refusal)
                except Exception:  # noqa: BLE001 - one caller's defect is not the others'
                    _log.exception("answer failed")

    async def _recover(self) -> None:
        await recover(self, first=False)

    def _add_shard(self, key: ShardKey) -> Shard:
        if len(self._shards) >= MAX_SHARDS:
            self._shards = {name: shard for name, shard in self._shards.items() if not shard.is_idle()}
        shard = self._shards[key] = Shard(ShardKey(*key))
        shard.reader = self._runner.reader(shard) if self.remote else self._reader
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
