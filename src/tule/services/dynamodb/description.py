"""A table as DescribeTable tells it."""

from typing import Any

from tule.kernel.context import RequestContext
from tule.services.dynamodb.models import ON_DEMAND, Index, OpenTable, Table, Throughput
from tule.store.layers.tables import Rows
from tule.store.transaction import ReadTxn


def table_arn(context: RequestContext, name: str) -> str:
    return context.arn("dynamodb", f"table/{name}")


def _key_schema(hash_key: str, range_key: str) -> list[dict[str, str]]:
    schema = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    return [*schema, {"AttributeName": range_key, "KeyType": "RANGE"}] if range_key else schema


def _throughput(throughput: Throughput) -> dict[str, Any]:
    told: dict[str, Any] = {
        "NumberOfDecreasesToday": 0,
        "ReadCapacityUnits": throughput.read,
        "WriteCapacityUnits": throughput.write,
    }
    if throughput.increased_ms:
        told["LastIncreaseDateTime"] = throughput.increased_ms / 1000
    if throughput.decreased_ms:
        told["LastDecreaseDateTime"] = throughput.decreased_ms / 1000
    return told


def _size(txn: ReadTxn, rows: Rows, status: str) -> tuple[int, int]:
    """(bytes, items). A table that is being made has none, and its counters have names that no run before knew."""
    return (0, 0) if status == "CREATING" else (rows.size_bytes(txn), rows.count(txn))


def _index(txn: ReadTxn, opened: OpenTable, index: Index, status: str) -> dict[str, Any]:
    size, count = _size(txn, opened.by_name[index.name].rows, status)
    projection: dict[str, Any] = {"ProjectionType": index.projection}
    if index.included:
        projection["NonKeyAttributes"] = list(index.included)
    told = {
        "IndexName": index.name,
        "KeySchema": _key_schema(index.hash_key, index.range_key),
        "Projection": projection,
        "IndexSizeBytes": size,
        "ItemCount": count,
        "IndexArn": f"{table_arn(txn.context, opened.name)}/index/{index.name}",
    }
    if not index.local:
        told |= {"IndexStatus": status, "ProvisionedThroughput": _throughput(index.throughput)}
        if index.building:
            told |= {"IndexStatus": "CREATING", "Backfilling": True}
    return told


def describe(txn: ReadTxn, opened: OpenTable, status: str = "ACTIVE") -> dict[str, Any]:
    """TableDescription, with its indexes in the same state as the table unless that is being deleted."""
    table: Table = opened.table
    size, count = _size(txn, opened.rows, status)
    told: dict[str, Any] = {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": tag} for name, tag in table.types.items()],
        "TableName": table.name,
        "KeySchema": _key_schema(table.hash_key, table.range_key),
        "TableStatus": status,
        "CreationDateTime": table.created_ms / 1000,
        "ProvisionedThroughput": _throughput(table.throughput),
        "TableSizeBytes": size,
        "ItemCount": count,
        "TableArn": table_arn(txn.context, table.name),
        "TableId": table.table_id,
        "DeletionProtectionEnabled": table.protected,
    }
    if table.billing_named:
        told["BillingModeSummary"] = {"BillingMode": table.billing_mode}
        if table.billing_mode == ON_DEMAND:
            told["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"] = table.created_ms / 1000
    if table.table_class:
        told["TableClassSummary"] = {"TableClass": table.table_class}
    for local, member in ((True, "LocalSecondaryIndexes"), (False, "GlobalSecondaryIndexes")):
        indexes = [_index(txn, opened, index, status) for index in table.indexes if index.local is local]
        if indexes:
            told[member] = indexes
    return told
