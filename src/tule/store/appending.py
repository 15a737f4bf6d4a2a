"""From what a handler wrote to its answer: the open batch, the end of the turn, and what follows the commit."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from tule.kernel.clocks import Instant
from tule.kernel.errors import ServiceUnavailableError
from tule.store.backend import CommitRefusedError, CommitUnknownError, EmbeddedBackend, Reader, RemoteBackend
from tule.store.batch import CLOSED, DURABLE, REFUSED, Batch
from tule.store.cache import Cache
from tule.store.contract import Done
from tule.store.ids import SlotIds
from tule.store.pressure import Pressure
from tule.store.records import ClockRecord, encode
from tule.store.shard import Shard
from tule.store.space import CLOCK_KEY, COUNT, OUTBOX, outbox_key
from tule.store.surroundings import Surroundings
from tule.store.transact import Transaction
from tule.store.writer import Writer

if TYPE_CHECKING:
    from tule.store.due import Timers
    from tule.store.outbox import Courier
    from tule.store.runner import Runner

MAX_COUNTERS = 512
"""Counters of a shard kept in memory before it is asked for them again (ours)."""

_log = structlog.get_logger("tule.store")


class Appending(ABC):
    """The half of the engine that knows batches. Everything here runs on one loop."""

    timers: "Timers"
    courier: "Courier"
    _reader: Reader
    _runner: "Runner"
    _writer: Writer
    _loop: asyncio.AbstractEventLoop
    _due: Shard

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
        self.remote = isinstance(backend, RemoteBackend)
        self.cache = Cache(backend.cache_bytes)
        self._keep = self.cache.absorb if self.remote else self.cache.renew
        self.ids = SlotIds()
        self.open_batch: Batch | None = None
        self.pressure = Pressure(around.machine, around.on_pressure)
        self.refusals = 0
        """Commits that were refused."""
        self._number = 0
        self._epoch = 0
        self._inflight: deque[Batch] = deque()
        self._turning = False
        self._clock_saved: tuple[int, Instant | None] | None = None
        self._recovering = False

    @abstractmethod
    async def _recover(self) -> None:
        """Load again what memory held of the store's own rows."""

    @abstractmethod
    def settled(self) -> None:
        """Something was finished: whoever waits for quiet looks again."""

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

    def _save_clock(self) -> None:
        """Keep the service clock's state, if it isn't what the store has."""
        state = self.clock.state()
        if state != self._clock_saved:
            self._clock_saved = state
            self._begin().writes[CLOCK_KEY] = encode(ClockRecord(*state))

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
                shard.forget_memory()

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
            self._keep(batch)
        if self._clock_saved is None:
            self._save_clock()
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
        """What is not durable yet never happened, or nobody knows: answer who waits, and rebuild from the store."""
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
        self.cache.clear()
        if any(CLOCK_KEY in batch.writes for batch in lost):
            self._clock_saved = None
        self.courier.pause()
        self.timers.pause()
        if not self._recovering:
            self._recovering = True
            self.tasks.spawn("store recovery", self._recover())
        unknown = isinstance(error, CommitUnknownError)
        told = "Whether the store kept this request is unknown" if unknown else "The store could not keep this request"
        refusal = ServiceUnavailableError(f"{told}: {error}")
        for batch in lost:
            for done, _, __ in batch.answers:
                try:
                    done(None, refusal)
                except Exception:  # noqa: BLE001 - one caller's defect is not the others'
                    _log.exception("answer failed")
