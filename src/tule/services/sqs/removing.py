"""DeleteMessage and ChangeMessageVisibility, and their batches."""

from collections.abc import Callable
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.observe.metering import meter
from tule.services.sqs import limits
from tule.services.sqs.batches import check_entries, failure
from tule.services.sqs.errors import invalid_value, missing_parameter
from tule.services.sqs.queue import Existing, existing
from tule.services.sqs.receipts import parse
from tule.services.sqs.sending import REQUESTS
from tule.store.layers.queues import Claim, find, move, remove
from tule.store.transaction import Txn

_NOTHING: Final[dict[str, Any]] = {}


def delete_message(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Remove a message for good. One that is gone already is removed again without complaint."""
    found = existing(txn)
    _remove(txn, found, [request["ReceiptHandle"]])
    meter(txn, REQUESTS, 1)
    return _NOTHING


def delete_message_batch(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """The same for up to ten."""
    found = existing(txn)
    entries = request["Entries"]
    check_entries(entries, "DeleteMessageBatchRequestEntry")
    successful: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    claims: list[Claim] = []
    generation = found.window.rows.generation
    for entry in entries:
        try:
            receipt = parse(found.settings.identity, entry["ReceiptHandle"])
        except AwsError as refusal:
            failed.append(failure(entry["Id"], refusal))
            continue
        if receipt.generation == generation:
            claims.append(receipt.claim)
        successful.append({"Id": entry["Id"]})
    _settle(txn, found, claims)
    meter(txn, REQUESTS, 1)
    return {"Successful": successful, "Failed": failed}


def _remove(txn: Txn, found: Existing, handles: list[str]) -> None:
    receipts = [parse(found.settings.identity, handle) for handle in handles]
    generation = found.window.rows.generation
    _settle(txn, found, [receipt.claim for receipt in receipts if receipt.generation == generation])


def _settle(txn: Txn, found: Existing, claims: list[Claim]) -> None:
    removed = remove(txn, found.window, claims)
    if removed:
        txn.count(found.settings.delivered, removed)


def change_message_visibility(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Let a message in flight become visible so many seconds from now."""
    found = existing(txn)
    _change(txn, found, request["ReceiptHandle"], request["VisibilityTimeout"], set())
    _wake_later(txn, found)
    meter(txn, REQUESTS, 1)
    return _NOTHING


def change_message_visibility_batch(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """The same for up to ten."""
    found = existing(txn)
    entries = request["Entries"]
    check_entries(entries, "ChangeMessageVisibilityBatchRequestEntry")
    successful: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    changed: set[int] = set()
    for entry in entries:
        try:
            _change(txn, found, entry["ReceiptHandle"], entry.get("VisibilityTimeout"), changed)
        except AwsError as refusal:
            failed.append(failure(entry["Id"], refusal))
            continue
        successful.append({"Id": entry["Id"]})
    _wake_later(txn, found)
    meter(txn, REQUESTS, 1)
    return {"Successful": successful, "Failed": failed}


def _change(txn: Txn, found: Existing, handle: str, timeout_s: int | None, changed: set[int]) -> None:
    """Move one message, unless this transaction has `changed` it already."""
    if timeout_s is None:
        raise missing_parameter("VisibilityTimeout")
    if not 0 <= timeout_s <= limits.MAX_VISIBILITY_S:
        reason = "VisibilityTimeout must be an integer between 0 and 43200."
        raise invalid_value(timeout_s, "VisibilityTimeout", reason)
    receipt = parse(found.settings.identity, handle)
    window = found.window
    known = receipt.generation == window.rows.generation
    if not known or find(txn, window, receipt.claim) is None:
        reason = "Message does not exist or is not available for visibility timeout change."
        raise invalid_value(handle, "ReceiptHandle", reason)
    visible_at = txn.now + timeout_s * 1000
    if visible_at > receipt.received_at + limits.MAX_VISIBILITY_S * 1000:
        reason = f"Total VisibilityTimeout for the message is beyond the limit [{limits.MAX_VISIBILITY_S} seconds]"
        raise invalid_value(timeout_s, "VisibilityTimeout", reason)
    if receipt.claim.number not in changed:
        changed.add(receipt.claim.number)
        move(txn, window, receipt.claim, visible_at)


def _wake_later(txn: Txn, found: Existing) -> None:
    """One of those who wait looks again: at once for a message that came back, else to set its alarm anew."""
    queue = found.queue
    if queue.waiting:
        wake: Callable[[], None] = lambda: queue.wake(1)  # noqa: E731 - an effect takes no arguments
        txn.after_commit(wake)
