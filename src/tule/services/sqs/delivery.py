"""Messages that come from other shards: dead letters, and what other services send to a queue."""

from tule.kernel.errors import AwsError
from tule.observe.ledger import ACCEPTED, DEAD_LETTERED, record, record_abnormal
from tule.services.sqs.contents import check_body, check_size, md5_of
from tule.services.sqs.errors import no_such_queue
from tule.services.sqs.expiry import arm_expiry
from tule.services.sqs.ids import message_id
from tule.services.sqs.names import shard_of_arn
from tule.services.sqs.queue import Existing, Redrive, existing, owned
from tule.store.layers.queues import put, set_aside
from tule.store.layers.queues_delivery import DELIVER, Delivery, decode_delivery, encode_delivery
from tule.store.layers.queues_rows import SET_ASIDE, Message, State
from tule.store.transaction import ShardKey, Target, Txn


def deliver(txn: Txn, payload: bytes) -> None:
    """Take a message into this queue; without the queue, a dead letter goes back to where it came from."""
    delivery = decode_delivery(payload)
    queue = owned(txn)
    if queue.record is None or not queue.record.exists:
        if delivery.return_to is None:
            raise no_such_queue()
        back = Target(ShardKey(*delivery.return_to), DELIVER)
        source = shard_of_arn(delivery.source_arn)
        assert source is not None, "a dead letter names its source"
        txn.send(back, encode_delivery(_returned(delivery)))
        return
    _accept(txn, existing(txn), delivery)


def _returned(delivery: Delivery) -> Delivery:
    return Delivery(
        delivery.body,
        delivery.attributes,
        delivery.sender,
        delivery.trace,
        delivery.message_id,
        delivery.sent_at,
        delivery.group,
        returned=True,
        receives=delivery.receives,
        first_received=delivery.first_received,
    )


def _accept(txn: Txn, found: Existing, delivery: Delivery) -> None:
    settings, queue, window = found.settings, found.queue, found.window
    now = txn.now
    try:
        data = check_body(delivery.body)
        if not delivery.message_id:
            check_size(len(data), settings.max_bytes)
    except AwsError as refusal:
        raise AwsError(refusal.message, code=refusal.error_code) from None
    message = Message(
        delivery.sent_at or now,
        delivery.message_id or message_id(txn),
        delivery.body,
        md5_of(data),
        delivery.sender,
        delivery.trace,
        delivery.attributes,
        delivery.group,
        delivery.source_arn,
    )
    if delivery.sent_at:
        # It is older than messages that came before it, so it stands among those that are ordered by time.
        state = State(now, delivery.receives, delivery.first_received, message.sent_at, SET_ASIDE)
        set_aside(txn, window, txn.new_id(), message, state)
    else:
        put(txn, window, [(message, settings.delay_ms)])
    if delivery.returned:
        record(txn, settings.hop, DEAD_LETTERED, -1)
    else:
        record(txn, settings.hop, ACCEPTED)
    expires_at = message.sent_at + settings.terms.retention_ms
    if queue.expiry_at is None or expires_at < queue.expiry_at:
        arm_expiry(txn, queue, expires_at)
    txn.after_commit(lambda: queue.wake(1))


def dead_letter(txn: Txn, found: Existing, redrive: Redrive, state: State, message: Message) -> None:
    """Send a message that was received too often to the dead-letter queue, as the message that it was."""
    settings = found.settings
    delivery = Delivery(
        message.body,
        message.attributes,
        message.sender,
        message.trace,
        message.message_id,
        message.sent_at,
        message.group,
        source_arn=settings.arn,
        return_to=txn.shard,
        receives=state.receives,
        first_received=state.first_received,
    )
    txn.send(Target(redrive.target, DELIVER), encode_delivery(delivery))
    reason = f"received {state.receives} times, maxReceiveCount is {redrive.max_receives}: to {redrive.target_arn}"
    record_abnormal(txn, settings.hop, DEAD_LETTERED, message.message_id, reason, message.trace)
