"""A queue as its owner holds it: what was configured, the messages' window, and who waits for a message."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from tule.kernel.clocks import Instant
from tule.observe.ledger import ACCEPTED, DELIVERED, FATES, counter_name
from tule.services.declaration import Environment
from tule.services.sqs.errors import no_such_queue
from tule.services.sqs.names import SHARD_KIND, arn_of, shard_of_arn
from tule.services.sqs.receipts import identity_of
from tule.store.contract import Cancel
from tule.store.keys import pack
from tule.store.layers.queues import Terms
from tule.store.layers.queues_rows import QueueRows
from tule.store.layers.queues_window import Window
from tule.store.transaction import ReadTxn, ShardKey, Txn

RECORD_KEY: Final = pack("record")
EXPIRY_KEY: Final = pack("expiry")
"""When the expiry timer runs next, so that a new owner knows whether it is set."""

DEFAULTS: Final = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}


class Record(msgspec.Struct, frozen=True):
    """A queue's configuration. Times are service time in milliseconds.

    After a deletion the record stays for a minute with `deleted_at` set, so that its name is not used again too soon.
    """

    generation: int
    created_at: int
    modified_at: int
    attributes: dict[str, str]
    tags: dict[str, str] = {}
    purged_at: int = -1
    deleted_at: int = -1

    @property
    def exists(self) -> bool:
        return self.deleted_at < 0

    def attribute(self, name: str) -> str:
        """As set, or its default; "" for one that has neither."""
        return self.attributes.get(name) or DEFAULTS.get(name, "")


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode


class Redrive(NamedTuple):
    """Where messages go that were received too often."""

    target: ShardKey
    target_arn: str
    max_receives: int


class Settings(NamedTuple):
    """A record's numbers, read once."""

    max_bytes: int
    delay_ms: int
    visibility_ms: int
    wait_s: int
    terms: Terms
    redrive: Redrive | None
    hop: str
    """The queue's name in the ledger."""
    arn: str
    accepted: str
    delivered: str
    """The ledger's counters that every message moves."""
    identity: int
    """What receipt handles of this queue are checked with."""


class OwnedQueue:
    """What the owner of a queue's shard remembers of it. Changed through `Txn.then` alone, except `waiting`."""

    __slots__ = ("_alarm", "_alarm_at", "_env", "existing", "expiry_at", "record", "waiting")

    def __init__(self, record: Record | None) -> None:
        self.record = record
        self.existing: Existing | None = None
        self.expiry_at: int | None = None
        self.waiting: dict[Callable[[], None], None] = {}
        """Long polls, by what wakes them, in the order of their coming. They are of this process, not of the store."""
        self._alarm: Cancel | None = None
        self._alarm_at: int | None = None
        self._env: Environment | None = None

    def wake(self, n: int) -> None:
        """Wake up to `n` of those who wait; each looks for itself, and waits again if another was faster."""
        waiting = self.waiting
        while n > 0 and waiting:
            waker = next(iter(waiting))
            del waiting[waker]
            waker()
            n -= 1

    def watch(self, env: Environment) -> None:
        """Somebody waits: wake him when the next message becomes visible by itself."""
        self._env = env
        self.watch_again()

    def watch_again(self) -> None:
        """The same after a change, for those who wait already. One alarm serves them all."""
        env = self._env
        if env is None or self.existing is None or not self.waiting:
            return
        due = self.existing.window.next_due(env.clock.now())
        if due is None or (self._alarm_at is not None and self._alarm_at <= due):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = env.store.alarm(Instant(due), self._ring)

    def _ring(self) -> None:
        self._alarm = self._alarm_at = None
        self.wake(1)
        self.watch_again()

    def forgotten(self) -> None:
        """After a failed commit the store builds another: let everybody look again, and so wait there."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._env = None
        self.wake(len(self.waiting))

    def configured(self, record: Record, settings: Settings, window: Window | None = None) -> None:
        """A record was written; with `window`, a generation began."""
        if window is None:
            assert self.existing is not None
            window = self.existing.window
        self.record = record
        self.existing = Existing(self, record, settings, window)

    def deleted(self, record: Record | None) -> None:
        """The queue is gone; `record` keeps its name for a while."""
        self.record, self.existing = record, None


class Existing(NamedTuple):
    """A queue that is there, as a handler works with it."""

    queue: OwnedQueue
    record: Record
    settings: Settings
    window: Window


def settings_of(shard: ShardKey, record: Record, partition: str) -> Settings:
    """The numbers that handlers need, from attributes that were checked when they were set."""
    redrive, hop = None, f"sqs:{shard.name}"
    policy = record.attributes.get("RedrivePolicy")
    if policy:
        fields: dict[str, Any] = msgspec.json.decode(policy)
        target = shard_of_arn(fields["deadLetterTargetArn"])
        assert target is not None, "an ARN was checked when it was set"
        redrive = Redrive(target, fields["deadLetterTargetArn"], int(fields["maxReceiveCount"]))
    return Settings(
        max_bytes=int(record.attribute("MaximumMessageSize")),
        delay_ms=int(record.attribute("DelaySeconds")) * 1000,
        visibility_ms=int(record.attribute("VisibilityTimeout")) * 1000,
        wait_s=int(record.attribute("ReceiveMessageWaitTimeSeconds")),
        terms=Terms(int(record.attribute("MessageRetentionPeriod")) * 1000, redrive.max_receives if redrive else 0),
        redrive=redrive,
        hop=hop,
        arn=arn_of(shard, partition),
        accepted=counter_name(hop, ACCEPTED),
        delivered=counter_name(hop, DELIVERED),
        identity=identity_of(shard),
    )


def read_record(txn: ReadTxn) -> Record | None:
    """The record as the store has it; None if there is no such queue, nor was one lately."""
    value = txn.get(RECORD_KEY)
    return None if value is None else _decode(value)


def write_record(txn: Txn, record: Record) -> None:
    txn.put(RECORD_KEY, _encode(record))
    if record.exists:
        redrive = settings_of(txn.shard, record, txn.context.partition).redrive
        txn.enlist(SHARD_KIND, txn.shard.name, (redrive.target_arn if redrive else "").encode())


def _load(txn: ReadTxn) -> OwnedQueue:
    record = read_record(txn)
    if record is None or not record.exists:
        return OwnedQueue(record)
    settings = settings_of(txn.shard, record, txn.context.partition)
    present = txn.counter(settings.accepted) - sum(txn.counter(counter_name(settings.hop, fate)) for fate in FATES)
    queue = OwnedQueue(record)
    queue.configured(record, settings, Window.load(txn, record.generation, present))
    expiry = txn.get(EXPIRY_KEY)
    queue.expiry_at = int.from_bytes(expiry, "big") if expiry else None
    return queue


def owned(txn: Txn) -> OwnedQueue:
    """What the owner remembers, whether or not the queue exists. To be called before anything is written."""
    return txn.memory("queue", _load)


def existing(txn: Txn) -> Existing:
    """The queue; refused if there is none. To be called before anything is written."""
    found = txn.memory("queue", _load).existing
    if found is None:
        raise no_such_queue()
    return found


def read_existing(txn: ReadTxn) -> Record:
    """The configuration alone, as committed; refused if there is no such queue."""
    record = read_record(txn)
    if record is None or not record.exists:
        raise no_such_queue()
    return record


def new_window(generation: int) -> Window:
    """The window of a generation that begins."""
    return Window(QueueRows(generation))
