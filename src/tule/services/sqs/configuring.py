"""Queues themselves: creating, finding, setting, purging and deleting them."""

from typing import Any, Final

from tule.kernel.clocks import Instant
from tule.kernel.errors import AwsError
from tule.observe.ledger import PURGED, record
from tule.observe.metering import meter, meter_call, meter_read
from tule.services.declaration import Context
from tule.services.sqs import limits
from tule.services.sqs.expiry import arm_expiry, disarm_expiry, leave_behind
from tule.services.sqs.names import (
    SHARD_KIND,
    arn_of,
    check_name,
    shard_of_queue,
    shard_of_url,
    url_of,
)
from tule.services.sqs.queue import (
    RECORD_KEY,
    Existing,
    OwnedQueue,
    Record,
    existing,
    new_window,
    owned,
    read_existing,
    read_record,
    settings_of,
    write_record,
)
from tule.services.sqs.sending import REQUESTS
from tule.services.sqs.settings import (
    check_allowed,
    check_change,
    check_names,
    check_new,
    differing,
    merged,
    redrive_target,
    shown,
)
from tule.services.sqs.tags import check_tags
from tule.store.layers.queues import count_due, forget_counts
from tule.store.transaction import ReadTxn, ShardKey, Txn

FORGET: Final = "forget"


async def create_queue(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """A queue, or the one of that name if it is configured as this request wants it."""
    name = request["QueueName"]
    attributes: dict[str, str] = request.get("Attributes") or {}
    tags: dict[str, str] = request.get("tags") or {}
    check_name(name, fifo=attributes.get("FifoQueue") == "true")
    check_new(attributes)
    check_tags(tags)
    context = ctx.request
    shard = shard_of_queue(context.account, context.region, name)
    await _check_redrive_target(ctx, shard, attributes)
    await ctx.store.transact(shard, lambda txn: _create(txn, attributes, tags), context)
    return {"QueueUrl": url_of(context, shard)}


def _create(txn: Txn, attributes: dict[str, str], tags: dict[str, str]) -> None:
    queue = owned(txn)
    meter(txn, REQUESTS, 1)
    current = queue.record
    if current is not None and current.exists:
        name = differing(current, attributes)
        if name is not None:
            raise AwsError(
                f"A queue already exists with the same name and a different value for attribute {name}",
                code="QueueNameExists",
            )
        return
    if current is not None and txn.now < current.deleted_at + limits.REUSE_NAME_PAUSE_MS:
        raise AwsError(
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
            code="QueueDeletedRecently",
        )
    fresh = Record(txn.new_id(), txn.now, txn.now, merged({}, attributes), tags)
    txn.cancel_due(FORGET, b"")
    _write(txn, queue, fresh, begin=True)


def _write(txn: Txn, queue: OwnedQueue, changed: Record, *, begin: bool = False) -> None:
    """Write a record; with `begin`, its generation has no messages yet."""
    write_record(txn, changed)
    settings = settings_of(txn.shard, changed, txn.context.partition)
    window = new_window(changed.generation) if begin else None
    txn.then(lambda: queue.configured(changed, settings, window))


async def _check_redrive_target(ctx: Context, shard: ShardKey, attributes: dict[str, str]) -> None:
    target = redrive_target(attributes)
    if target is None:
        return
    known = await ctx.store.read(target, read_record, ctx.request)
    check_allowed(attributes, arn_of(shard, ctx.request.partition), known)


def get_queue_url(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    """The URL of a queue that exists."""
    read_existing(txn)
    meter_read(txn, REQUESTS, 1)
    return {"QueueUrl": url_of(txn.context, txn.shard)}


def delete_queue(txn: Txn, _request: dict[str, Any]) -> dict[str, Any]:
    """The queue and its messages."""
    found = existing(txn)
    purged = forget_counts(txn, found.window)
    if purged:
        record(txn, found.settings.hop, PURGED, purged)
    disarm_expiry(txn, found.queue)
    leave_behind(txn, found.record.generation)
    gone = Record(found.record.generation, found.record.created_at, txn.now, {}, deleted_at=txn.now)
    write_record(txn, gone)
    txn.delist(SHARD_KIND, txn.shard.name)
    txn.due(Instant(txn.now + limits.REUSE_NAME_PAUSE_MS), FORGET, b"")
    meter(txn, REQUESTS, 1)
    queue = found.queue
    txn.then(lambda: queue.deleted(gone))
    txn.after_commit(lambda: queue.wake(len(queue.waiting)))
    return {}


def forget(txn: Txn, _key: bytes, _payload: bytes) -> None:
    """The minute is over in which a deleted queue's name may not be used again."""
    queue = owned(txn)
    if queue.record is not None and not queue.record.exists:
        txn.delete(RECORD_KEY)
        txn.then(lambda: queue.deleted(None))


async def get_queue_attributes(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """What is configured, and how many messages stand where. It is a transaction because the latter is in memory."""
    context = ctx.request
    names = request.get("AttributeNames") or []
    answer = await ctx.store.transact(shard_of_url(context, request), lambda txn: _show(txn, names), context)
    meter_call(context, REQUESTS, 1)
    return answer


def _show(txn: Txn, names: list[str]) -> dict[str, Any]:
    found = existing(txn)
    if not names:
        return {}
    check_names(names)
    return {"Attributes": shown(txn.context, txn.shard, found.record, count_due(txn, found.window), names)}


async def set_queue_attributes(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change some attributes."""
    attributes: dict[str, str] = request["Attributes"]
    check_change(attributes)
    context = ctx.request
    shard = shard_of_url(context, request)
    await ctx.store.read(shard, read_existing, context)
    await _check_redrive_target(ctx, shard, attributes)
    await ctx.store.transact(shard, lambda txn: _set(txn, attributes), context)
    return {}


def _set(txn: Txn, attributes: dict[str, str]) -> None:
    found = existing(txn)
    change(txn, found, attributes)
    meter(txn, REQUESTS, 1)


def change(txn: Txn, found: Existing, attributes: dict[str, str]) -> None:
    """Write a record with these attributes changed, and let time count anew where it must."""
    current = found.record
    changed = Record(
        current.generation,
        current.created_at,
        txn.now,
        merged(current.attributes, attributes),
        current.tags,
        current.purged_at,
    )
    _write(txn, found.queue, changed)
    if "MessageRetentionPeriod" in attributes and found.queue.expiry_at is not None:
        arm_expiry(txn, found.queue, txn.now)
    queue = found.queue
    if queue.waiting:
        txn.after_commit(lambda: queue.wake(1))


def purge_queue(txn: Txn, _request: dict[str, Any]) -> dict[str, Any]:
    """Begin a new generation without messages; the old one's rows are swept."""
    found = existing(txn)
    current = found.record
    if current.purged_at >= 0 and txn.now < current.purged_at + limits.PURGE_PAUSE_MS:
        raise AwsError(
            f"Only one PurgeQueue operation on {txn.shard.name} is allowed every 60 seconds.",
            code="PurgeQueueInProgress",
            status=403,
        )
    purged = forget_counts(txn, found.window)
    if purged:
        record(txn, found.settings.hop, PURGED, purged)
    disarm_expiry(txn, found.queue)
    leave_behind(txn, current.generation)
    changed = Record(txn.new_id(), current.created_at, current.modified_at, current.attributes, current.tags, txn.now)
    _write(txn, found.queue, changed, begin=True)
    meter(txn, REQUESTS, 1)
    return {}
