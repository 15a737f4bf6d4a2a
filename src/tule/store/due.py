"""One timer service: durable due times as keys in order of time, and alarms in memory. It sleeps until the earliest."""

import heapq
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from tule.kernel.clocks import Handle, Instant
from tule.kernel.errors import AwsError
from tule.store.backend import Pair
from tule.store.records import DueRecord, decode_due, encode
from tule.store.shard import Shard
from tule.store.space import DUE, NUMBER
from tule.store.sweeping import OWN_TIMERS
from tule.store.transaction import ShardKey, Txn

if TYPE_CHECKING:
    from tule.store.engine import Engine
    from tule.store.transact import Transaction
    from tule.store.view import CommittedView

LONGEST_SLEEP_S = 3_600.0
"""The machine's calendar may be set while we sleep; service time follows it within this (ours)."""
PAGE = 256
"""Due entries taken at once (ours)."""
RETRY_S = 0.25
"""Until timers run again after the store took nothing (ours)."""
ATTEMPTS = 8
"""How often a timer that fails by a defect is run, with waits of 1, 2, 4 ... seconds (ours)."""
MAX_STEPS = 200_000
"""Instants that one advance stops at before it goes straight to its end (ours)."""
SETTLE_S = 30.0
"""How long an advance waits at one instant for the work it released (ours)."""

FAILED = "ledger/timer/dropped"

_log = structlog.get_logger("tule.store")


class Alarm:
    """A call at a moment of service time, in memory."""

    __slots__ = ("_callback", "at")

    def __init__(self, at: Instant, callback: Callable[[], None]) -> None:
        self.at = at
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    @property
    def cancelled(self) -> bool:
        return self._callback is None

    def ring(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timers:
    """Fires what is due."""

    __slots__ = (
        "_alarms",
        "_engine",
        "_firing",
        "_handle",
        "_handle_at",
        "_noted",
        "_paused",
        "_scanning",
        "_serial",
        "_state",
        "earliest",
    )

    def __init__(self, engine: "Engine", state: Shard) -> None:
        self._engine = engine
        self._state = state
        self._alarms: list[tuple[Instant, int, Alarm]] = []
        self._serial = 0
        self._handle: Handle | None = None
        self._handle_at: Instant | None = None
        self._firing: set[bytes] = set()
        self._scanning = False
        self._noted: Instant | None = None
        self._paused = False
        self.earliest: Instant | None = None
        """No durable entry is due before this; perhaps none at it either."""

    def alarm(self, at: Instant, callback: Callable[[], None]) -> Alarm:
        alarm = Alarm(at, callback)
        self._serial += 1
        heapq.heappush(self._alarms, (at, self._serial, alarm))
        self.arm()
        return alarm

    def note(self, dues: dict[bytes, bytes | None]) -> None:
        """Entries were appended."""
        added = [key[1:9] for key, value in dues.items() if value is not None]
        if not added:
            return
        at = Instant(NUMBER.unpack(min(added))[0])
        if self._scanning and (self._noted is None or at < self._noted):
            self._noted = at
        if self.earliest is None or at < self.earliest:
            self.earliest = at
            self.arm()

    def begin(self) -> None:
        """Look for the earliest entry, at the start and after everything appended was lost."""
        self.earliest = Instant(0)
        self.arm()

    def pause(self) -> None:
        """The store takes nothing: fire again after a while."""
        self._paused = True
        self._engine.machine.call_later(RETRY_S, self._resume)

    def arm(self) -> None:
        """Sleep until the earliest of all, anew."""
        at = self.next_at()
        if at is None or self._engine.closing:
            self.disarm()
            return
        if self._handle is not None and self._handle_at == at:
            return
        self.disarm()
        delay_s = self._engine.clock.until_s(at)
        if delay_s is not None:
            self._handle_at = at
            self._handle = self._engine.machine.call_later(min(delay_s, LONGEST_SLEEP_S), self._wake)

    def disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._handle_at = None

    def clock_changed(self) -> None:
        self.disarm()
        self.arm()

    def next_at(self) -> Instant | None:
        """The earliest of durable entries (unless they are just being looked at) and alarms."""
        while self._alarms and self._alarms[0][2].cancelled:
            heapq.heappop(self._alarms)
        alarm = self._alarms[0][0] if self._alarms else None
        durable = None if self._scanning or self._paused else self.earliest
        if alarm is None or durable is None:
            return durable if alarm is None else alarm
        return min(alarm, durable)

    def busy(self) -> bool:
        """Whether something that is due has not been done yet."""
        at = self.next_at()
        return bool(self._scanning or self._firing or (at is not None and at <= self._engine.clock.now()))

    def _resume(self) -> None:
        self._paused = False
        self.begin()

    def _wake(self) -> None:
        self._handle = self._handle_at = None
        now = self._engine.clock.now()
        while self._alarms and self._alarms[0][0] <= now:
            alarm = heapq.heappop(self._alarms)[2]
            try:
                alarm.ring()
            except Exception:  # noqa: BLE001 - one waiter's defect is not the others'
                _log.exception("alarm failed")
        if self.earliest is not None and self.earliest <= now and not self._scanning and not self._paused:
            self._scanning = True
            self._noted = None
            self._engine.peek(
                self._state, _scan, now, self._engine.context_for(self._state.key, "Timers", ""), self._found
            )
        self.arm()
        self._engine.settled()

    def _found(self, rows: Sequence[Pair] | None, error: BaseException | None) -> None:
        self._scanning = False
        if error is not None or rows is None:
            self.pause()
            return
        now = self._engine.clock.now()
        earliest = self._noted
        fresh: list[Pair] = []
        for place, row in enumerate(rows):
            at = Instant(NUMBER.unpack(row[0][:8])[0])
            if at > now or place == PAGE:
                earliest = at if earliest is None else min(earliest, at)
                break
            if row[0] not in self._firing:
                fresh.append(row)
        self.earliest = earliest
        self._firing.update(key for key, _ in fresh)
        for key, value in fresh:
            self._fire(key, decode_due(value))
        self.arm()
        self._engine.settled()

    def _fire(self, key: bytes, record: DueRecord) -> None:
        context = self._engine.context_for(record.shard, record.timer, record.trace)
        self._engine.faults.hit("store.timer.fire")
        self._engine.run(record.shard, self._run, (key, record), context, partial(self._fired, key))

    def _run(self, txn: "Transaction", entry: tuple[bytes, DueRecord]) -> None:
        """The transaction that removes the entry and runs its timer."""
        key, record = entry
        at = Instant(NUMBER.unpack(key[:8])[0])
        if txn.due_at(record.timer, record.key) != at:
            txn.dues = {DUE + key: None}
            return
        txn.cancel_due(record.timer, record.key)
        timer = OWN_TIMERS.get(record.timer) or self._declared(record)
        try:
            if timer is None:
                raise AwsError(f"{record.shard.service} has no timer {record.timer}")  # noqa: TRY301 - one way to drop
            timer(txn, record.key, record.payload)
        except AwsError as error:
            _log.warning("timer dropped", service=record.shard.service, timer=record.timer, reason=error.message)
            self._again(txn, record, ATTEMPTS)
        except Exception:  # noqa: BLE001 - a service's defect must not stop time
            _log.exception("timer failed", service=record.shard.service, timer=record.timer, attempts=record.attempts)
            self._again(txn, record, record.attempts + 1)

    def _declared(self, record: DueRecord) -> Callable[[Txn, bytes, bytes], None] | None:
        handlers = self._engine.service_of(record.shard.service)
        return handlers.timers.get(record.timer) if handlers is not None else None

    def _again(self, txn: "Transaction", record: DueRecord, attempts: int) -> None:
        txn.abandon()
        txn.cancel_due(record.timer, record.key)
        if attempts >= ATTEMPTS:
            txn.count(FAILED, 1)
            return
        at = Instant(txn.now + 1000 * 2 ** (attempts - 1))
        txn.due(at, record.timer, record.key, record.payload)
        assert txn.dues is not None
        for key, value in txn.dues.items():
            if value is not None:
                txn.dues[key] = encode(msgspec.structs.replace(record, attempts=attempts))

    def _fired(self, key: bytes, _: Any, error: BaseException | None) -> None:
        self._firing.discard(key)
        if error is not None:
            self.earliest = Instant(0)
            if not self._paused:
                self.pause()
        self._engine.settled()


def _scan(view: "CommittedView", now: Instant) -> list[Pair]:
    """What is due, and the first entry after it."""
    rows = view.scan(b"", NUMBER.pack(now + 1), PAGE + 1)
    if len(rows) <= PAGE:
        rows += view.scan(NUMBER.pack(now + 1), b"\xff", 1)
    return rows


def due_shard() -> Shard:
    """The due space as a shard of its own, so that what was appended is seen above what is committed."""
    return Shard(ShardKey("tule", "", "", "due"), DUE)


async def advance(engine: "Engine", to: Instant, settle: Callable[[], Awaitable[None]] | None) -> None:
    """Step service time to every due instant up to `to` in order; at each let the work it released finish."""
    clock, timers = engine.clock, engine.timers
    await engine.quiet(SETTLE_S)
    for _ in range(MAX_STEPS):
        at = timers.next_at()
        if at is None or at > to:
            break
        clock.step_to(at)
        timers.clock_changed()
        await engine.quiet(SETTLE_S)
        if settle is not None:
            await settle()
    clock.step_to(to)
    await engine.quiet(SETTLE_S)
