"""DynamoDB's declaration."""

from typing import Final

from tule.services.declaration import Operation, Read, Service, Transact
from tule.services.dynamodb.operations import account, batches, expiry, items, queries, tables, tags, transactions
from tule.services.dynamodb.state import BACKFILL, EXPIRE, REPEAT, SWEEP, shard_of, sweep
from tule.services.dynamodb.state import SERVICE as NAME

_OPERATIONS: Final[dict[str, Operation]] = {
    "CreateTable": Transact(tables.create_table, shard_of),
    "DescribeTable": Read(tables.describe_table, shard_of),
    "ListTables": Read(tables.list_tables, shard_of),
    "UpdateTable": Transact(tables.update_table, shard_of),
    "DeleteTable": Transact(tables.delete_table, shard_of),
    "PutItem": Transact(items.put_item, shard_of),
    "GetItem": Read(items.get_item, shard_of),
    "UpdateItem": Transact(items.update_item, shard_of),
    "DeleteItem": Transact(items.delete_item, shard_of),
    "Query": Read(queries.query, shard_of),
    "Scan": Read(queries.scan, shard_of),
    "BatchWriteItem": Transact(batches.batch_write_item, shard_of),
    "BatchGetItem": Read(batches.batch_get_item, shard_of),
    "TransactWriteItems": Transact(transactions.transact_write_items, shard_of),
    "TransactGetItems": Read(transactions.transact_get_items, shard_of),
    "UpdateTimeToLive": Transact(expiry.update_time_to_live, shard_of),
    "DescribeTimeToLive": Read(expiry.describe_time_to_live, shard_of),
    "TagResource": Transact(tags.tag_resource, shard_of),
    "UntagResource": Transact(tags.untag_resource, shard_of),
    "ListTagsOfResource": Read(tags.list_tags_of_resource, shard_of),
    "DescribeLimits": Read(account.describe_limits, shard_of),
    "DescribeEndpoints": Read(account.describe_endpoints, shard_of),
    "DescribeContinuousBackups": Read(account.describe_continuous_backups, shard_of),
}

SERVICE: Final = Service(
    name=NAME,
    operations=_OPERATIONS,
    timers={
        SWEEP: sweep,
        EXPIRE: expiry.expire,
        BACKFILL: expiry.backfill,
        REPEAT: transactions.expire_token,
    },
    resources="tule.services.dynamodb.cfn",
    coverage={
        "CreateTable": "No streams, KMS keys, resource policies or on-demand limits; throughput is kept, not enforced.",
        "UpdateTable": "Indexes can't be added or removed.",
        "UpdateTimeToLive": "Items go when they are due, not days later.",
    },
)
