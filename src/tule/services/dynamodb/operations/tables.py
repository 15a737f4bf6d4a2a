"""Tables made, described, listed, changed and deleted.

A table is ready with the commit that makes it: CreateTable answers CREATING, and the next DescribeTable ACTIVE.
"""

from typing import Any

import msgspec

from tule.services.dynamodb.constraints import check_new_name
from tule.services.dynamodb.description import describe
from tule.services.dynamodb.errors import (
    LimitExceededError,
    ResourceInUseError,
    ValidationError,
    invalid,
    table_missing,
)
from tule.services.dynamodb.models import ON_DEMAND, PROVISIONED, OpenTable, Table, Throughput
from tule.services.dynamodb.operations.indexes import changed_index, changed_throughput
from tule.services.dynamodb.schema import (
    Indexes,
    billing_of,
    check_used,
    keys_of,
    refuse_unsupported,
    throughput_of,
)
from tule.services.dynamodb.state import MOST_TABLES, drop_table, open_tables, save_table, table_name
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]


def to_write(txn: Txn, given: str) -> OpenTable:
    """The table, or the control plane's error with its name."""
    found = open_tables(txn).latest.get(table_name(given))
    if found is None:
        raise table_missing(table_name(given))
    return found


def to_read(txn: ReadTxn, given: str) -> OpenTable:
    found = open_tables(txn).committed.get(table_name(given))
    if found is None:
        raise table_missing(table_name(given))
    return found


def _uuid(raw: bytes) -> str:
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def create_table(txn: Txn, request: Request) -> Request:
    name = table_name(request["TableName"])
    check_new_name(name)
    refuse_unsupported("CreateTable", request)
    mode, throughput = billing_of(request)
    hash_key, range_key, types = keys_of(request)
    indexes = Indexes(hash_key, range_key, types, mode)
    if "LocalSecondaryIndexes" in request:
        indexes.add_local(request["LocalSecondaryIndexes"])
    if "GlobalSecondaryIndexes" in request:
        indexes.add_global(request["GlobalSecondaryIndexes"])
    keys = [hash_key, range_key, *(key for index in indexes.found for key in (index.hash_key, index.range_key))]
    check_used(types, [key for key in keys if key], indexed=bool(indexes.found))
    if name in open_tables(txn).latest:
        raise ResourceInUseError(f"Table already exists: {name}")
    if len(open_tables(txn).latest) >= MOST_TABLES:
        raise LimitExceededError(f"Subscriber limit exceeded: There is a limit of {MOST_TABLES} tables per subscriber")
    table = Table(
        name=name,
        table_id=_uuid(txn.random(16)),
        generation=txn.new_id(),
        created_ms=txn.now,
        hash_key=hash_key,
        range_key=range_key,
        types=types,
        billing_mode=mode,
        billing_named="BillingMode" in request,
        throughput=throughput,
        indexes=tuple(indexes.found),
        protected=bool(request.get("DeletionProtectionEnabled")),
        table_class=request.get("TableClass", ""),
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", ())},
        indexes_made=len(indexes.found),
    )
    return {"TableDescription": describe(txn, save_table(txn, table), "CREATING")}


def describe_table(txn: ReadTxn, request: Request) -> Request:
    return {"Table": describe(txn, to_read(txn, request["TableName"]))}


def list_tables(txn: ReadTxn, request: Request) -> Request:
    start, limit = request.get("ExclusiveStartTableName", ""), request.get("Limit", 100)
    names = sorted(name for name in open_tables(txn).committed if name > start)
    answer: Request = {"TableNames": names[:limit]}
    if len(names) > limit:
        answer["LastEvaluatedTableName"] = names[limit - 1]
    return answer


def delete_table(txn: Txn, request: Request) -> Request:
    opened = to_write(txn, request["TableName"])
    if opened.table.protected:
        raise ValidationError(
            "Resource cannot be deleted as it is currently protected against deletion. "
            "Disable deletion protection first."
        )
    told = describe(txn, opened, "DELETING")
    drop_table(txn, opened.table)
    members = ("TableName", "TableStatus", "ProvisionedThroughput", "TableSizeBytes", "ItemCount", "TableArn",
               "TableId", "DeletionProtectionEnabled", "BillingModeSummary")  # fmt: skip
    return {"TableDescription": {name: told[name] for name in members if name in told}}


_ASKED = (
    "ProvisionedThroughput",
    "BillingMode",
    "StreamSpecification",
    "SSESpecification",
    "DeletionProtectionEnabled",
    "TableClass",
)


def update_table(txn: Txn, request: Request) -> Request:
    updates = request.get("GlobalSecondaryIndexUpdates", [])
    if not updates and not any(member in request for member in _ASKED):
        raise ValidationError(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or "
            "SSESpecification or ReplicaUpdates is required"
        )
    refuse_unsupported("UpdateTable", request)
    _check_index_updates(updates)
    opened = to_write(txn, request["TableName"])
    table = _with_billing(txn, opened.table, request)
    for update in updates:
        table = changed_index(txn, table, update, request.get("AttributeDefinitions", ()))
    if "DeletionProtectionEnabled" in request:
        table = msgspec.structs.replace(table, protected=request["DeletionProtectionEnabled"])
    if "TableClass" in request:
        table = msgspec.structs.replace(table, table_class=request["TableClass"])
    return {"TableDescription": describe(txn, save_table(txn, table), "UPDATING")}


def _check_index_updates(updates: list[Request]) -> None:
    seen = set()
    changes = 0
    for update in updates:
        given = [member for member in ("Update", "Create", "Delete") if member in update]
        if not given:
            raise invalid(
                "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, "
                "GlobalSecondaryIndexUpdate.Delete must not be null"
            )
        name = update[given[0]]["IndexName"]
        if name in seen:
            raise invalid(f"Only one global secondary index update per index is allowed simultaneously. Index: {name}")
        seen.add(name)
        changes += given[0] != "Update"
    if changes > 1:
        raise LimitExceededError(
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table"
        )


def _with_billing(txn: Txn, table: Table, request: Request) -> Table:
    mode = request.get("BillingMode", table.billing_mode)
    named = table.billing_named or "BillingMode" in request
    if mode == ON_DEMAND:
        if "ProvisionedThroughput" in request:
            raise invalid(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
            )
        indexes = tuple(msgspec.structs.replace(index, throughput=Throughput()) for index in table.indexes)
        return msgspec.structs.replace(
            table,
            billing_mode=mode,
            billing_named=named,
            throughput=Throughput(),
            indexes=table.indexes if table.billing_mode == ON_DEMAND else indexes,
        )
    if "ProvisionedThroughput" not in request:
        if table.billing_mode != PROVISIONED:
            raise invalid("ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
        return msgspec.structs.replace(table, billing_named=named)
    asked = throughput_of(request)
    current = table.throughput
    if table.billing_mode == PROVISIONED and (asked.read, asked.write) == (current.read, current.write):
        raise ValidationError(
            "The provisioned throughput for the table will not change. The requested value equals the current value. "
            f"Current ReadCapacityUnits provisioned for the table: {current.read}. "
            f"Requested ReadCapacityUnits: {asked.read}. "
            f"Current WriteCapacityUnits provisioned for the table: {current.write}. "
            f"Requested WriteCapacityUnits: {asked.write}. "
            "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
        )
    return msgspec.structs.replace(
        table, billing_mode=mode, billing_named=named, throughput=changed_throughput(txn, current, asked)
    )
