"""Secondary indexes of a table that exists: made, filled from its items in the background, changed and deleted."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tule.kernel.errors import OperationNotImplementedError
from tule.services.dynamodb.errors import ValidationError, invalid, table_missing
from tule.services.dynamodb.models import ON_DEMAND, Table, Throughput
from tule.services.dynamodb.schema import Indexes, throughput_of
from tule.services.dynamodb.state import FILL, SWEEP, decode_item, open_tables, save_table
from tule.services.dynamodb.writing import fill_index
from tule.store.keys import after, pack, unpack
from tule.store.layers import tables
from tule.store.layers.tables import Rows
from tule.store.transaction import Txn

Request = dict[str, Any]

FILLED_ROWS: Final = 200
"""Items that one transaction brings into a new index (ours: about 4 ms)."""


def changed_index(txn: Txn, table: Table, update: Request, definitions: Sequence[Request]) -> Table:
    """The table after one of GlobalSecondaryIndexUpdates."""
    if "Create" in update:
        return _with_new(txn, table, update["Create"], definitions)
    if "Delete" in update:
        return _without(txn, table, update["Delete"]["IndexName"])
    return _with_throughput(txn, table, update["Update"])


def _with_new(txn: Txn, table: Table, given: Request, definitions: Sequence[Request]) -> Table:
    name = given["IndexName"]
    if any(index.name == name for index in table.indexes):
        raise ValidationError(f"Attempting to create an index which already exists: {name}")
    types = {one["AttributeName"]: one["AttributeType"] for one in definitions} | table.types
    indexes = Indexes(table.hash_key, table.range_key, types, table.billing_mode)
    indexes.made = max(table.indexes_made, len(table.indexes))
    indexes.found = list(table.indexes)
    indexes.add_global([given])
    indexes.found[-1] = msgspec.structs.replace(indexes.found[-1], building=True)
    txn.due(txn.now, FILL, pack(table.name, name), Rows(table.generation).prefix)
    return _pruned(msgspec.structs.replace(table, indexes=tuple(indexes.found), indexes_made=indexes.made, types=types))


def _without(txn: Txn, table: Table, name: str) -> Table:
    gone = next((index for index in table.indexes if index.name == name and not index.local), None)
    if gone is None:
        raise table_missing()
    txn.due(txn.now, SWEEP, pack(table.generation, gone.number))
    left = tuple(index for index in table.indexes if index is not gone)
    made = max(table.indexes_made, len(table.indexes))
    return _pruned(msgspec.structs.replace(table, indexes=left, indexes_made=made))


def _pruned(table: Table) -> Table:
    """Definitions of attributes that are no longer anyone's key go."""
    keys = {
        table.hash_key,
        table.range_key,
        *(key for index in table.indexes for key in (index.hash_key, index.range_key)),
    }
    return msgspec.structs.replace(table, types={name: tag for name, tag in table.types.items() if name in keys})


def fill(txn: Txn, key: bytes, payload: bytes) -> None:
    """Bring some of a table's items into a new index; `payload` is where to go on."""
    name, index_name = map(str, unpack(key))
    opened = open_tables(txn).latest.get(name)
    index = opened.by_name.get(index_name) if opened is not None else None
    if opened is None or index is None or not index.index.building or not payload.startswith(opened.rows.prefix):
        return
    pairs = txn.scan(payload, opened.rows.end, FILLED_ROWS)
    for row_key, row in pairs:
        fill_index(txn, index, row_key, decode_item(row[tables.HEAD_BYTES :]))
    if len(pairs) == FILLED_ROWS:
        txn.due(txn.now, FILL, key, after(pairs[-1][0]))
        return
    ready = tuple(
        msgspec.structs.replace(one, building=False) if one.name == index_name else one for one in opened.table.indexes
    )
    save_table(txn, msgspec.structs.replace(opened.table, indexes=ready))


def changed_throughput(txn: Txn, current: Throughput, asked: Throughput) -> Throughput:
    """The new throughput, with when it last grew and shrank."""
    grew = asked.read > current.read or asked.write > current.write
    shrank = asked.read < current.read or asked.write < current.write
    return Throughput(
        asked.read,
        asked.write,
        txn.now if grew else current.increased_ms,
        txn.now if shrank else current.decreased_ms,
    )


def _with_throughput(txn: Txn, table: Table, update: Request) -> Table:
    name = update["IndexName"]
    if not any(index.name == name and not index.local for index in table.indexes):
        raise ValidationError(
            "This operation cannot be performed with given input values. Please contact DynamoDB service team for "
            "more info: Action Blocked: IndexUpdate"
        )
    if "ProvisionedThroughput" not in update:
        raise OperationNotImplementedError("dynamodb", "UpdateTable", "Only an index's throughput can be changed.")
    if table.billing_mode == ON_DEMAND:
        raise invalid(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
        )
    asked = throughput_of(update, index=name)
    indexes = tuple(
        msgspec.structs.replace(index, throughput=changed_throughput(txn, index.throughput, asked))
        if index.name == name
        else index
        for index in table.indexes
    )
    return msgspec.structs.replace(table, indexes=indexes)
