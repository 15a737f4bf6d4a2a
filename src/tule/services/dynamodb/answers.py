"""Parts of answers that several operations give."""

from typing import Any

from tule.languages.dynamodb.values import Item
from tule.services.dynamodb.capacity import consumed
from tule.services.dynamodb.models import OpenTable
from tule.services.dynamodb.writing import Cost
from tule.wire.codecs import RawJson


def raw(body: bytes) -> RawJson:
    """An item as it is kept, for an answer it is spliced into."""
    return RawJson(body)


def raw_list(bodies: list[bytes]) -> RawJson:
    return RawJson(b"[" + b",".join(bodies) + b"]")


def collection_metrics(table: OpenTable, key: Item) -> dict[str, Any]:
    """ItemCollectionMetrics: AWS estimates in whole gigabytes, and so every collection below one says 0 to 1."""
    return {
        "ItemCollectionKey": {table.hash_key: key[table.hash_key]},
        "SizeEstimateRangeGB": [0.0, 1.0],
    }


def write_answer(request: dict[str, Any], table: OpenTable, cost: Cost, key: Item, attributes: Any) -> dict[str, Any]:
    """The answer to a write of one item."""
    answer: dict[str, Any] = {}
    if attributes is not None:
        answer["Attributes"] = attributes
    if "ReturnConsumedCapacity" in request:
        capacity = consumed(request["ReturnConsumedCapacity"], table, cost.table, cost.indexes)
        if capacity is not None:
            answer["ConsumedCapacity"] = capacity
    if table.has_local and request.get("ReturnItemCollectionMetrics") == "SIZE":
        answer["ItemCollectionMetrics"] = collection_metrics(table, key)
    return answer
