"""Messages that outlive their queue's retention, and generations that a purge or a deletion left behind."""

from typing import Final

from tule.kernel.clocks import Instant
from tule.observe.ledger import EXPIRED, record
from tule.services.sqs.queue import EXPIRY_KEY, OwnedQueue, owned
from tule.store.keys import pack, unpack
from tule.store.layers import queues_expiry
from tule.store.layers.queues_rows import Point, decode_point, encode_point
from tule.store.transaction import Txn

EXPIRE: Final = "expire"
SWEEP: Final = "sweep"
LOOK_AGAIN_MS: Final = 1_000
"""Between two looks for what expired (ours), so that a steady stream of expiries is a batch a second."""


def arm_expiry(txn: Txn, queue: OwnedQueue, at: int, start: Point | None = None) -> None:
    """Look for expired messages at `at`, going on from `start` in the order of visibility."""
    txn.due(Instant(at), EXPIRE, b"", encode_point(start) if start else b"")
    txn.put(EXPIRY_KEY, at.to_bytes(8, "big"))
    txn.then(lambda: setattr(queue, "expiry_at", at))


def disarm_expiry(txn: Txn, queue: OwnedQueue) -> None:
    """The queue is empty, or gone."""
    txn.cancel_due(EXPIRE, b"")
    txn.delete(EXPIRY_KEY)
    txn.then(lambda: setattr(queue, "expiry_at", None))


def expire(txn: Txn, _key: bytes, payload: bytes) -> None:
    """Remove what is older than the retention. A receive never returns such a message, whether or not this has run."""
    queue = owned(txn)
    if queue.existing is None:
        return
    settings, window = queue.existing.settings, queue.existing.window
    start = decode_point(payload) if payload else Point(0, 0)
    outcome, onward = queues_expiry.expire(txn, window, settings.terms.retention_ms, start)
    if outcome.expired:
        record(txn, settings.hop, EXPIRED, outcome.expired)
    if onward is not None:
        arm_expiry(txn, queue, txn.now, onward)
    elif outcome.next_at is not None:
        arm_expiry(txn, queue, max(outcome.next_at, txn.now + LOOK_AGAIN_MS))
    else:
        disarm_expiry(txn, queue)


def leave_behind(txn: Txn, generation: int) -> None:
    """Have the sweeper erase a generation."""
    txn.due(txn.now, SWEEP, pack(generation))


def sweep(txn: Txn, key: bytes, _payload: bytes) -> None:
    """Erase some of a generation, and come again for the rest."""
    (generation,) = unpack(key)
    assert isinstance(generation, int)
    if queues_expiry.sweep(txn, generation):
        leave_behind(txn, generation)
