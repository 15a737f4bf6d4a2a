"""SendMessage, SendMessageBatch, and what other services deliver."""

from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.observe.metering import meter
from tule.services.sqs import limits
from tule.services.sqs.batches import check_entries, failure
from tule.services.sqs.contents import (
    TRACE_HEADER,
    check_attributes,
    check_body,
    check_group_id,
    check_size,
    check_system_attributes,
    md5_of,
    md5_of_attributes,
)
from tule.services.sqs.errors import invalid_value
from tule.services.sqs.expiry import arm_expiry
from tule.services.sqs.ids import message_id
from tule.services.sqs.queue import Existing, Settings, existing
from tule.store.layers.queues import put
from tule.store.layers.queues_rows import Message
from tule.store.transaction import Txn

REQUESTS: Final = "sqs.requests"


def send_message(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """One message."""
    found = existing(txn)
    entry, result, size = _message(txn, found.settings, request)
    check_size(size, found.settings.max_bytes)
    _accept(txn, found, [entry], size)
    return result


def send_message_batch(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Up to ten messages in one transaction; those that are refused don't stop the others."""
    found = existing(txn)
    settings = found.settings
    entries = request["Entries"]
    check_entries(entries, "SendMessageBatchRequestEntry")
    accepted: list[tuple[Message, int]] = []
    successful: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    total = 0
    for entry in entries:
        try:
            message, result, size = _message(txn, settings, entry)
            total += size
            check_size(size, settings.max_bytes)
        except AwsError as refusal:
            failed.append(failure(entry["Id"], refusal))
            continue
        accepted.append(message)
        result["Id"] = entry["Id"]
        successful.append(result)
    if total > limits.MAX_MESSAGE_BYTES:
        raise AwsError(
            f"Batch requests cannot be longer than {limits.MAX_MESSAGE_BYTES} bytes. You have sent {total} bytes.",
            code="BatchRequestTooLong",
        )
    if accepted:
        _accept(txn, found, accepted, total)
    return {"Successful": successful, "Failed": failed}


def _accept(txn: Txn, found: Existing, entries: list[tuple[Message, int]], size: int) -> None:
    queue = found.queue
    put(txn, found.window, entries)
    n = len(entries)
    txn.count(found.settings.accepted, n)
    meter(txn, REQUESTS, 1 + (size - 1) // limits.BILLED_CHUNK_BYTES)
    if queue.expiry_at is None:
        arm_expiry(txn, queue, txn.now + found.settings.terms.retention_ms)
    if queue.waiting:
        txn.after_commit(lambda: queue.wake(n))


def _message(txn: Txn, settings: Settings, request: dict[str, Any]) -> tuple[tuple[Message, int], dict[str, Any], int]:
    """A message with its delay, what its sender is told, and its size in bytes."""
    body = request["MessageBody"]
    data = check_body(body)
    size = len(data)
    digest = md5_of(data)
    context = txn.context
    number = message_id(txn)
    result = {"MD5OfMessageBody": digest, "MessageId": number}
    attributes = request.get("MessageAttributes") or None
    if attributes is not None:
        size += check_attributes(attributes)
        result["MD5OfMessageAttributes"] = md5_of_attributes(attributes)
    system = request.get("MessageSystemAttributes")
    if system:
        check_system_attributes(system)
        result["MD5OfMessageSystemAttributes"] = md5_of_attributes(system)
        trace = system[TRACE_HEADER]["StringValue"]
    else:
        trace = context.trace.header()
    delay_s = request.get("DelaySeconds")
    if delay_s is None:
        delay_ms = settings.delay_ms
    elif 0 <= delay_s <= limits.MAX_DELAY_S:
        delay_ms = delay_s * 1000
    else:
        raise invalid_value(delay_s, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
    group = request.get("MessageGroupId")
    if group is not None:
        check_group_id(group)
    if (deduplication := request.get("MessageDeduplicationId")) is not None:
        raise invalid_value(
            deduplication,
            "MessageDeduplicationId",
            "The request include parameter that is not valid for this queue type.",
        )
    sender = context.principal.user_id
    message = Message(txn.now, number, body, digest, sender, trace, attributes, group or "")
    return (message, delay_ms), result, size
