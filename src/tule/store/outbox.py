"""Messages between shards: written with their source's batch, delivered in order, in effect exactly once.

Every destination has a lane. On one owner a letter is delivered while its own batch is still open, so it usually
never becomes a row; one that outlives its batch is told from a repetition by the destination's watermark for the
slot it came from, and is forgotten in the batch that takes it.
"""

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from tule.kernel.errors import AwsError
from tule.store.backend import Pair
from tule.store.batch import REFUSED, Batch
from tule.store.records import FateRecord, OutboxRecord, decode_outbox, encode
from tule.store.space import NUMBER, WATERMARK, fate_key, outbox_key
from tule.store.transaction import ShardKey, Target

if TYPE_CHECKING:
    from tule.store.engine import Engine
    from tule.store.transact import Transaction

DELIVERIES_A_TURN = 1_000
"""Letters delivered before the loop gets its turn back (ours)."""

RETRY_S = 0.25
"""Until a letter is tried again after its destination could not be read (ours)."""

DROPPED = "ledger/outbox/dropped"

_log = structlog.get_logger("tule.store")


class Letter(NamedTuple):
    """A message, the number it has in its source's slot, and the batch it was appended with while that is open."""

    number: int
    source: ShardKey
    target: Target
    message: bytes
    trace: str
    slot: int = -1
    batch: Batch | None = None

    def record(self) -> OutboxRecord:
        return OutboxRecord(self.source, self.target.shard, self.target.receiver, self.message, self.trace)


class Courier:
    """Delivers letters. What it holds in memory is what the outbox holds, appended batches included."""

    __slots__ = ("_engine", "_lanes", "paused", "ready")

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._lanes: dict[ShardKey, deque[Letter]] = {}
        self.paused = False
        self.ready: deque[ShardKey] = deque()
        """Destinations whose first letter can be delivered now."""

    @property
    def idle(self) -> bool:
        return not self._lanes

    def load(self, rows: list[Pair]) -> None:
        """Take over what an earlier process left behind: rows of the outbox in key order."""
        for key, value in rows:
            record = decode_outbox(value)
            number = NUMBER.unpack(key[2:])[0]
            target = Target(record.shard, record.receiver)
            self.post(Letter(number, record.source, target, record.message, record.trace, key[1]))
        for shard, lane in self._lanes.items():
            # Letters may have been posted while the rows were read: each once, and those of a slot in their order.
            letters = {(letter.slot, letter.number): letter for letter in reversed(lane)}
            self._lanes[shard] = deque(letters[place] for place in sorted(letters))
        if rows:
            self._engine.wake()

    def post(self, letter: Letter) -> None:
        shard = letter.target.shard
        lane = self._lanes.get(shard)
        if lane is None:
            self._lanes[shard] = deque((letter,))
            self.ready.append(shard)
        else:
            lane.append(letter)

    def pump(self) -> None:
        """Deliver what is ready, as far as one turn allows."""
        if self.paused:
            return
        for _ in range(DELIVERIES_A_TURN):
            if not self.ready:
                return
            letter = self._lanes[self.ready.popleft()][0]
            self._engine.faults.hit("store.courier.deliver")
            shard = letter.target.shard
            context = self._engine.context_for(shard, letter.target.receiver, letter.trace)
            self._engine.run(shard, self._deliver, letter, context, partial(self._settled, letter))

    def pause(self) -> None:
        """The store takes nothing: forget all lanes, and deliver nothing until they are loaded again.

        A letter that is new must not be delivered before an older one that is not loaded yet: the watermark would
        make the older one look delivered.
        """
        self._lanes.clear()
        self.ready.clear()
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._engine.wake()

    def _deliver(self, txn: "Transaction", letter: Letter) -> None:
        """The transaction on the destination's shard: effect, watermark and the end of the outbox entry."""
        if letter.batch is not None and letter.batch.state == REFUSED:
            return  # it waited for a fetch while the transaction that sent it was lost
        if not self._is_repetition(txn, letter):
            self._take(txn, letter)
        txn.erase(outbox_key(letter.slot, letter.number))
        txn.then(partial(self._next, letter))

    def _is_repetition(self, txn: "Transaction", letter: Letter) -> bool:
        if letter.batch is not None and letter.batch is self._engine.open_batch:
            return False
        key = WATERMARK + bytes((letter.slot,))
        mark = txn.get(key)
        return mark is not None and NUMBER.unpack(mark)[0] >= letter.number

    def _take(self, txn: "Transaction", letter: Letter) -> None:
        shard, name = letter.target
        handlers = self._engine.service_of(shard.service)
        receiver = handlers.receivers.get(name) if handlers is not None else None
        reason = f"{shard.service} has no receiver {name}"
        if receiver is not None:
            try:
                receiver(txn, letter.message)
                reason = ""
            except AwsError as error:
                reason = f"{error.error_code}: {error.message}"
            except Exception as error:  # noqa: BLE001 - a defect of one receiver must not block what is behind it
                _log.exception("receiver failed", service=shard.service, receiver=name)
                reason = f"defect: {type(error).__name__}"
        if reason:
            txn.abandon()
            txn.count(DROPPED, 1)
            record = FateRecord(txn.now, reason, letter.record())
            txn.write(fate_key(letter.slot, letter.number), encode(record))
        if letter.batch is None or letter.batch is not self._engine.open_batch:
            txn.put(WATERMARK + bytes((letter.slot,)), NUMBER.pack(letter.number))

    def _next(self, letter: Letter) -> None:
        shard = letter.target.shard
        lane = self._lanes.get(shard)
        if lane is None or lane[0] is not letter:
            return
        lane.popleft()
        if lane:
            self.ready.append(shard)
            self._engine.wake()
        else:
            del self._lanes[shard]

    def _settled(self, letter: Letter, _: Any, error: BaseException | None) -> None:
        """A letter that is still first after its run failed (it could not be read) is tried again."""
        shard = letter.target.shard
        lane = self._lanes.get(shard)
        if error is not None and lane is not None and lane[0] is letter:
            self._engine.machine.call_later(RETRY_S, partial(self._again, letter))

    def _again(self, letter: Letter) -> None:
        shard = letter.target.shard
        lane = self._lanes.get(shard)
        if lane is not None and lane[0] is letter and shard not in self.ready:
            self.ready.append(shard)
            self._engine.wake()
