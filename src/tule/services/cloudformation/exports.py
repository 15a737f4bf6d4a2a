"""Exported outputs: one shard per account and region knows their values and which stacks import them."""

from typing import Any

import msgspec

from tule.services.cloudformation.errors import ValidationError
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, Txn

MAX_EXPORTS = 10_000
"""Read at once; AWS has no published quota beyond 200 outputs a stack and 2,000 stacks."""


class Export(msgspec.Struct, frozen=True):
    """One export."""

    name: str
    value: str
    stack_id: str


def all_exports(txn: ReadTxn) -> dict[str, Export]:
    start = pack("export")
    rows = txn.scan(start, prefix_end(start), MAX_EXPORTS)
    found = [msgspec.msgpack.decode(value, type=Export) for _, value in rows]
    return {export.name: export for export in found}


def importers(txn: ReadTxn, name: str) -> list[str]:
    """ARNs of the stacks that import an export."""
    start = pack("import", name)
    return [value.decode() for _, value in txn.scan(start, prefix_end(start), MAX_EXPORTS)]


def _stack_name(stack_id: str) -> str:
    return stack_id.split("/")[1]


def replace_exports(txn: Txn, stack_id: str, values: dict[str, str]) -> None:
    """Make `values` the exports of a stack. Refuses a taken name, and to change or drop what another stack imports."""
    known = all_exports(txn)
    own = {name: export for name, export in known.items() if export.stack_id == stack_id}
    for name, export in own.items():
        if values.get(name) == export.value:
            continue
        users = ", ".join(_stack_name(user) for user in importers(txn, name))
        if users:
            verb = "updated" if name in values else "deleted"
            raise ValidationError(f"Export {name} cannot be {verb} as it is in use by {users}")
        txn.delete(pack("export", name))
    for name, value in values.items():
        if name in known and name not in own:
            owner = _stack_name(known[name].stack_id)
            raise ValidationError(f"Export with name {name} is already exported by stack {owner}.")
        txn.put(pack("export", name), msgspec.msgpack.encode(Export(name, value, stack_id)))


def replace_imports(txn: Txn, stack_id: str, names: list[str]) -> None:
    """Make `names` the imports of a stack; refuses names that nobody exports."""
    for name in names:
        if txn.get(pack("export", name)) is None:
            raise ValidationError(f"No export named {name} found.")
    old_key = pack("imports of", stack_id)
    old = imported_by(txn, stack_id)
    for name in old:
        if name not in names:
            txn.delete(pack("import", name, stack_id))
    for name in names:
        txn.put(pack("import", name, stack_id), stack_id.encode())
    if names:
        txn.put(old_key, msgspec.msgpack.encode(names))
    elif old:
        txn.delete(old_key)


def imported_by(txn: ReadTxn, stack_id: str) -> list[str]:
    """The exports that a stack imports."""
    known = txn.get(pack("imports of", stack_id))
    return msgspec.msgpack.decode(known, type=list[str]) if known else []


def imports_in(value: Any) -> list[Any]:
    """The arguments of every Fn::ImportValue under `value`."""
    found = []
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if set(part) == {"Fn::ImportValue"}:
                found.append(part["Fn::ImportValue"])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return found
