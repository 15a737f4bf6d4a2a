"""Where CloudFormation's things lie. A shard holds every stack that has borne one name in one account and region.

Rows: ("current",) has the living stack's uuid; under ("stack", uuid) lie the stack ("self"), its templates
("template", revision), resources ("resource", logical id), leftovers ("leftover", number), events ("event", number)
and change sets ("changes", name). One more shard per account and region keeps exports and who imports them, and one
for all lists the operations that are going on, for the next start.
"""

from typing import TypeVar

import msgspec

from tule.kernel.clocks import Instant
from tule.services.cloudformation.models import (
    ChangeSet,
    Event,
    Leftover,
    Stack,
    StackResource,
    TemplateText,
)
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Target, Txn

SERVICE = "cloudformation"
STACK_TYPE = "AWS::CloudFormation::Stack"

REMEMBER_DELETED_MS = 90 * 24 * 3_600_000
"""Deleted stacks are listed and described by id for 90 days (ListStacks)."""

MAX_ROWS = 10_000
"""Rows of one kind that are read at once; above every quota that bounds them."""

RUNNING = ShardKey(SERVICE, "000000000000", "-", "operations")
"""Stacks with an operation under way, of every account and region."""

FORGET = "forget"
"""The timer that erases a deleted stack."""

S = TypeVar("S", bound=msgspec.Struct)
_encode = msgspec.msgpack.Encoder().encode


class Running(msgspec.Struct, frozen=True):
    """A stack whose operation has begun or ended."""

    account: str
    region: str
    name: str
    uuid: str
    ended: bool = False


def stack_shard(account: str, region: str, name: str) -> ShardKey:
    return ShardKey(SERVICE, account, region, "stack", name)


def exports_shard(account: str, region: str) -> ShardKey:
    return ShardKey(SERVICE, account, region, "exports")


def _row(uuid: str, kind: str, *rest: str | int) -> bytes:
    return pack("stack", uuid, kind, *rest)


def _all(txn: ReadTxn, uuid: str, kind: str, type_: type[S]) -> list[S]:
    start = _row(uuid, kind)
    return [msgspec.msgpack.decode(value, type=type_) for _, value in txn.scan(start, prefix_end(start), MAX_ROWS)]


def _one(txn: ReadTxn, key: bytes, type_: type[S]) -> S | None:
    value = txn.get(key)
    return None if value is None else msgspec.msgpack.decode(value, type=type_)


def current_uuid(txn: ReadTxn) -> str | None:
    """The living stack of this name."""
    value = txn.get(pack("current"))
    return None if value is None else value.decode()


def load_stack(txn: ReadTxn, uuid: str) -> Stack | None:
    return _one(txn, _row(uuid, "self"), Stack)


def save_stack(txn: Txn, stack: Stack) -> None:
    """Write a stack, keep the list of all stacks in step, and give a deleted one its end."""
    txn.put(_row(stack.uuid, "self"), _encode(stack))
    txn.enlist("stack", f"{stack.name}/{stack.uuid}", _encode(_without_bulk(stack)))
    if stack.status == "DELETE_COMPLETE":
        if current_uuid(txn) == stack.uuid:
            txn.delete(pack("current"))
        txn.due(Instant(stack.deleted_ms + REMEMBER_DELETED_MS), FORGET, pack(stack.uuid), stack.uuid.encode())
    else:
        txn.put(pack("current"), stack.uuid.encode())


def _without_bulk(stack: Stack) -> Stack:
    bare = msgspec.structs.replace(stack.definition, parameters={}, tags={}, hidden=[])
    return msgspec.structs.replace(stack, definition=bare, outputs=[], operation=None, tokens={})


def decode_stack(value: bytes) -> Stack:
    """A stack as the list of all stacks has it, without parameters, tags and outputs."""
    return msgspec.msgpack.decode(value, type=Stack)


def forget(txn: Txn, key: bytes, payload: bytes) -> None:
    """Erase a stack that was deleted long ago; `payload` is its uuid."""
    del key
    erase(txn, payload.decode())


def erase(txn: Txn, uuid: str) -> None:
    """Leave no trace of a stack."""
    if current_uuid(txn) == uuid:
        txn.delete(pack("current"))
    start = pack("stack", uuid)
    txn.delete_range(start, prefix_end(start))
    txn.delist("stack", f"{txn.shard.name}/{uuid}")


def load_template(txn: ReadTxn, uuid: str, revision: int) -> TemplateText | None:
    return _one(txn, _row(uuid, "template", revision), TemplateText)


def save_template(txn: Txn, uuid: str, revision: int, text: TemplateText) -> None:
    txn.put(_row(uuid, "template", revision), _encode(text))


def drop_template(txn: Txn, uuid: str, revision: int) -> None:
    txn.delete(_row(uuid, "template", revision))


def resources(txn: ReadTxn, uuid: str) -> dict[str, StackResource]:
    return {resource.logical_id: resource for resource in _all(txn, uuid, "resource", StackResource)}


def load_resource(txn: ReadTxn, uuid: str, logical_id: str) -> StackResource | None:
    return _one(txn, _row(uuid, "resource", logical_id), StackResource)


def save_resource(txn: Txn, uuid: str, resource: StackResource) -> None:
    txn.put(_row(uuid, "resource", resource.logical_id), _encode(resource))


def drop_resource(txn: Txn, uuid: str, logical_id: str) -> None:
    txn.delete(_row(uuid, "resource", logical_id))


def leftovers(txn: ReadTxn, uuid: str) -> dict[int, Leftover]:
    start = _row(uuid, "leftover")
    rows = txn.scan(start, prefix_end(start), MAX_ROWS)
    return {number: msgspec.msgpack.decode(value, type=Leftover) for number, (_, value) in enumerate(rows)}


def save_leftover(txn: Txn, uuid: str, leftover: Leftover) -> None:
    txn.put(_row(uuid, "leftover", leftover.logical_id, leftover.physical_id), _encode(leftover))


def drop_leftover(txn: Txn, uuid: str, logical_id: str, physical_id: str) -> None:
    txn.delete(_row(uuid, "leftover", logical_id, physical_id))


def add_event(txn: Txn, uuid: str, event: Event) -> None:
    txn.put(_row(uuid, "event", txn.new_id()), _encode(event))


def events(txn: ReadTxn, uuid: str, before: bytes | None, limit: int) -> list[tuple[bytes, Event]]:
    """Newest first, from before the row `before`."""
    start = _row(uuid, "event")
    rows = txn.scan(start, before or prefix_end(start), limit, reverse=True)
    return [(key, msgspec.msgpack.decode(value, type=Event)) for key, value in rows]


def change_sets(txn: ReadTxn, uuid: str) -> list[ChangeSet]:
    return _all(txn, uuid, "changes", ChangeSet)


def load_change_set(txn: ReadTxn, uuid: str, name: str) -> ChangeSet | None:
    return _one(txn, _row(uuid, "changes", name), ChangeSet)


def save_change_set(txn: Txn, uuid: str, change_set: ChangeSet) -> None:
    txn.put(_row(uuid, "changes", change_set.name), _encode(change_set))


def drop_change_set(txn: Txn, uuid: str, name: str) -> None:
    txn.delete(_row(uuid, "changes", name))


def announce(txn: Txn, uuid: str, *, ended: bool) -> None:
    """Tell the list of operations, in this batch, that one has begun or ended here."""
    shard = txn.shard
    note = Running(shard.account, shard.region, shard.name, uuid, ended)
    txn.send(Target(RUNNING, "operation"), _encode(note))


def note_operation(txn: Txn, message: bytes) -> None:
    """What `announce` sends."""
    note = msgspec.msgpack.decode(message, type=Running)
    key = pack("running", note.account, note.region, note.name, note.uuid)
    if note.ended:
        txn.delete(key)
    else:
        txn.put(key, message)


def running(txn: ReadTxn) -> list[Running]:
    """Operations that were under way when this process or the one before it last looked."""
    start = pack("running")
    rows = txn.scan(start, prefix_end(start), MAX_ROWS)
    return [msgspec.msgpack.decode(value, type=Running) for _, value in rows]
