"""A table as DescribeTable tells it."""

from typing import Any

from tule.kernel.context import RequestContext
from tule.services.dynamodb.models import ON_DEMAND, Index, OpenTable, Table, Throughput
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


def _index(txn: ReadTxn, opened: OpenTable, index: Index, status: str) -> dict[str, Any]:
    rows = opened.by_name[index.name].rows
    projection: dict[str, Any] = {"ProjectionType": index.projection}
    if index.included:
        projection["NonKeyAttributes"] = list(index.included)
    told = {
        "IndexName": index.name,
        "KeySchema": _key_schema(index.hash_key, index.range_key),
        "Projection": projection,
        "IndexSizeBytes": rows.size_bytes(txn),
        "ItemCount": rows.count(txn),
        "IndexArn": f"{table_arn(txn.context, opened.name)}/index/{index.name}",
    }
    if not index.local:
        told |= {"IndexStatus": status, "ProvisionedThroughput": _throughput(index.throughput)}
    return told


def describe(txn: ReadTxn, opened: OpenTable, status: str = "ACTIVE") -> dict[str, Any]:
    """TableDescription, with its indexes in the same state as the table unless that is being deleted."""
    table: Table = opened.table
    told: dict[str, Any] = {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": tag} for name, tag in table.types.items()],
        "TableName": table.name,
        "KeySchema": _key_schema(table.hash_key, table.range_key),
        "TableStatus": status,
        "CreationDateTime": table.created_ms / 1000,
        "ProvisionedThroughput": _throughput(table.throughput),
        "TableSizeBytes": opened.rows.size_bytes(txn),
        "ItemCount": opened.rows.count(txn),
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
