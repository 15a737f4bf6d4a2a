"""DynamoDB's declaration."""

from typing import Final

from tule.services.declaration import Operation, Read, Service, Transact
from tule.services.dynamodb.constraints import constrained
from tule.services.dynamodb.operations import (
    account,
    batches,
    expiry,
    indexes,
    items,
    queries,
    tables,
    tags,
    transactions,
)
from tule.services.dynamodb.state import BACKFILL, EXPIRE, FILL, REPEAT, SWEEP, shard_of, sweep
from tule.services.dynamodb.state import SERVICE as NAME

_OPERATIONS: Final[dict[str, Operation]] = {
    "CreateTable": Transact(constrained("CreateTable", tables.create_table), shard_of),
    "DescribeTable": Read(constrained("DescribeTable", tables.describe_table), shard_of),
    "ListTables": Read(constrained("ListTables", tables.list_tables), shard_of),
    "UpdateTable": Transact(constrained("UpdateTable", tables.update_table), shard_of),
    "DeleteTable": Transact(constrained("DeleteTable", tables.delete_table), shard_of),
    "PutItem": Transact(constrained("PutItem", items.put_item), shard_of),
    "GetItem": Read(constrained("GetItem", items.get_item), shard_of),
    "UpdateItem": Transact(constrained("UpdateItem", items.update_item), shard_of),
    "DeleteItem": Transact(constrained("DeleteItem", items.delete_item), shard_of),
    "Query": Read(constrained("Query", queries.query), shard_of),
    "Scan": Read(constrained("Scan", queries.scan), shard_of),
    "BatchWriteItem": Transact(constrained("BatchWriteItem", batches.batch_write_item), shard_of),
    "BatchGetItem": Read(constrained("BatchGetItem", batches.batch_get_item), shard_of),
    "TransactWriteItems": Transact(constrained("TransactWriteItems", transactions.transact_write_items), shard_of),
    "TransactGetItems": Read(constrained("TransactGetItems", transactions.transact_get_items), shard_of),
    "UpdateTimeToLive": Transact(constrained("UpdateTimeToLive", expiry.update_time_to_live), shard_of),
    "DescribeTimeToLive": Read(constrained("DescribeTimeToLive", expiry.describe_time_to_live), shard_of),
    "TagResource": Transact(constrained("TagResource", tags.tag_resource), shard_of),
    "UntagResource": Transact(constrained("UntagResource", tags.untag_resource), shard_of),
    "ListTagsOfResource": Read(constrained("ListTagsOfResource", tags.list_tags_of_resource), shard_of),
    "DescribeLimits": Read(constrained("DescribeLimits", account.describe_limits), shard_of),
    "DescribeEndpoints": Read(constrained("DescribeEndpoints", account.describe_endpoints), shard_of),
    "DescribeContinuousBackups": Read(
        constrained("DescribeContinuousBackups", account.describe_continuous_backups), shard_of
    ),
}

SERVICE: Final = Service(
    name=NAME,
    operations=_OPERATIONS,
    timers={
        SWEEP: sweep,
        EXPIRE: expiry.expire,
        BACKFILL: expiry.backfill,
        FILL: indexes.fill,
        REPEAT: transactions.expire_token,
    },
    resources="tule.services.dynamodb.cfn",
    coverage={
        "CreateTable": "No streams, KMS keys, resource policies or on-demand limits; throughput is kept, not enforced.",
        "UpdateTimeToLive": "Items go when they are due, not days later.",
    },
)
