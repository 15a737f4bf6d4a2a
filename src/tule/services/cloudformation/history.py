"""Events and status changes: written in the transaction that makes them true."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from tule.services.cloudformation.models import Event, Operation, Stack, StackResource
from tule.services.cloudformation.state import (
    STACK_TYPE,
    add_event,
    announce,
    load_change_set,
    save_change_set,
    save_resource,
    save_stack,
)
from tule.store.transaction import Txn

MAX_REASON_CHARACTERS = 4_096
"""Cut of a status reason (ours)."""


def iso(at_ms: int) -> str:
    """A moment as AWS writes it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def set_status(txn: Txn, stack: Stack, status: str, reason: str = "", operation: Operation | None = None) -> Stack:
    """Move a stack to `status`, with the event that says so. `operation` replaces the stack's own."""
    kept = operation or stack.operation
    changed = replace(stack, status=status, reason=reason[:MAX_REASON_CHARACTERS], operation=kept)
    if status == "DELETE_COMPLETE":
        changed = replace(changed, deleted_ms=txn.now)
    save_stack(txn, changed)
    digits = txn.random(16).hex()
    event_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    event = Event(
        id=event_id,
        at_ms=txn.now,
        logical_id=stack.name,
        physical_id=stack.arn,
        type=STACK_TYPE,
        status=status,
        reason=changed.reason,
        token=kept.token if kept else "",
    )
    add_event(txn, stack.uuid, event)
    return changed


def finish(txn: Txn, stack: Stack, status: str, reason: str = "") -> Stack:
    """The last status of an operation."""
    operation = stack.operation
    if operation is not None and operation.change_set:
        _settle_change_set(
            txn, stack, operation.change_set, failed=not status.endswith("_COMPLETE") or "ROLLBACK" in status
        )
    ended = replace(set_status(txn, stack, status, reason), operation=None)
    save_stack(txn, ended)
    announce(txn, stack.uuid, ended=True)
    return ended


def _settle_change_set(txn: Txn, stack: Stack, name: str, *, failed: bool) -> None:
    change_set = load_change_set(txn, stack.uuid, name)
    if change_set is not None:
        outcome = "EXECUTE_FAILED" if failed else "EXECUTE_COMPLETE"
        save_change_set(txn, stack.uuid, replace(change_set, execution_status=outcome))


def note(txn: Txn, stack: Stack, resource: StackResource, status: str = "", reason: str = "") -> None:
    """An event of a resource, by default of the status it has."""
    shown = status or resource.status
    event = Event(
        id=f"{resource.logical_id}-{shown}-{iso(txn.now)}",
        at_ms=txn.now,
        logical_id=resource.logical_id,
        physical_id=resource.physical_id,
        type=resource.type,
        status=shown,
        reason=(reason or resource.reason)[:MAX_REASON_CHARACTERS],
        properties=_json(resource.attempted or resource.properties),
        token=stack.operation.token if stack.operation else "",
    )
    add_event(txn, stack.uuid, event)


def record(txn: Txn, stack: Stack, resource: StackResource) -> StackResource:
    """Write a resource's new status, with its event."""
    changed = replace(resource, updated_ms=txn.now, reason=resource.reason[:MAX_REASON_CHARACTERS])
    save_resource(txn, stack.uuid, changed)
    note(txn, stack, changed)
    return changed


def _json(properties: dict[str, Any]) -> str:
    return msgspec.json.encode(properties).decode() if properties else ""
