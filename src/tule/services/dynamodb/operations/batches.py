"""BatchWriteItem and BatchGetItem."""

from typing import Any, Final

import msgspec

from tule.languages.dynamodb.projection import Projection
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.values import weigh_item
from tule.services.dynamodb.answers import collection_metrics, raw_list
from tule.services.dynamodb.capacity import bill_read, bill_write, consumed, read_halves
from tule.services.dynamodb.errors import ENVELOPE, ValidationError, current, older, refusing
from tule.services.dynamodb.keys import row_of_item, row_of_key
from tule.services.dynamodb.legacy import attributes_to_get
from tule.services.dynamodb.models import OpenTable
from tule.services.dynamodb.operations.items import weigh_put
from tule.services.dynamodb.parameters import Placeholders, read_placeholders, refuse_mixture
from tule.services.dynamodb.paths import check_nested
from tule.services.dynamodb.state import encode_item, table_to_read, table_to_write
from tule.services.dynamodb.writing import Cost, stored_at, write_item
from tule.store.layers import tables
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

MAX_WRITES: Final = 25
MAX_KEYS: Final = 100
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
MAX_WRITTEN_BYTES: Final = 24 * 1024 * 1024
"""Items with their rows in indexes; what is beyond comes back as unprocessed (ours, below the store's limit)."""
DUPLICATES: Final = "Provided list of item keys contains duplicates"
_PROJECTION: Final = ("ProjectionExpression",)
_SORTED: Final = msgspec.json.Encoder(order="sorted")


@refusing(older)
def batch_write_item(txn: Txn, request: Request) -> Request:
    asked: dict[str, list[Request]] = request["RequestItems"]
    if not asked:
        raise ValidationError("The requestItems parameter is required for BatchWriteItem")
    if sum(map(len, asked.values())) > MAX_WRITES:
        raise ValidationError("Too many items requested for the BatchWriteItem call")
    sizes = [[_weigh(write) for write in writes] for writes in asked.values()]
    opened = [table_to_write(txn, name) for name in asked]
    placed = [[_place(table, write) for write in writes] for table, writes in zip(opened, asked.values(), strict=True)]
    seen: set[bytes] = set()
    for places in placed:
        for place in places:
            if place in seen:
                raise ValidationError(DUPLICATES)
            seen.add(place)
    answer: Request = {"UnprocessedItems": {}}
    capacities, metrics, room = [], {}, MAX_WRITTEN_BYTES
    for name, table, places, weights in zip(asked, opened, placed, sizes, strict=True):
        costs = []
        for place, write, size in zip(places, asked[name], weights, strict=True):
            room -= size * (1 + len(table.indexes))
            if room < 0:
                answer["UnprocessedItems"].setdefault(name, []).append(write)
            else:
                costs.append(_write(txn, table, place, write, size))
        capacities.append(_sum(request, table, costs))
        if table.has_local:
            metrics[table.name] = [collection_metrics(table, _keys(write)) for write in asked[name]]
    if capacities and capacities[0] is not None:
        answer["ConsumedCapacity"] = capacities
    if metrics and request.get("ReturnItemCollectionMetrics") == "SIZE":
        answer["ItemCollectionMetrics"] = metrics
    return answer


def _keys(write: Request) -> Any:
    return write["PutRequest"]["Item"] if "PutRequest" in write else write["DeleteRequest"]["Key"]


def _weigh(write: Request) -> int:
    if len(write) != 1:
        raise ValidationError(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported "
            "datatypes"
        )
    return weigh_put(write["PutRequest"]["Item"]) if "PutRequest" in write else weigh_item(_keys(write))


def _place(table: OpenTable, write: Request) -> bytes:
    if "PutRequest" in write:
        return row_of_item(table, write["PutRequest"]["Item"], batch=True)
    return row_of_key(table, write["DeleteRequest"]["Key"])


def _write(txn: Txn, table: OpenTable, place: bytes, write: Request, size: int) -> Cost:
    old = stored_at(txn, place)
    if "PutRequest" in write:
        cost = write_item(txn, table, place, old, write["PutRequest"]["Item"], size)
    else:
        cost = write_item(txn, table, place, old, None) if old is not None else Cost(1, {})
    bill_write(txn, cost.total)
    return cost


def _sum(request: Request, table: OpenTable, costs: list[Cost]) -> Request | None:
    by_index: dict[str, float] = {}
    for cost in costs:
        for name, units in cost.indexes.items():
            by_index[name] = by_index.get(name, 0) + units
    return consumed(request.get("ReturnConsumedCapacity"), table, sum(cost.table for cost in costs), by_index)


def _read_terms(asked: Request) -> Projection | None:
    refuse_mixture(asked, ("AttributesToGet",), _PROJECTION)
    names, _ = read_placeholders(asked, _PROJECTION)
    for key in asked["Keys"]:
        weigh_item(key)
    projection = attributes_to_get(asked)
    if "ProjectionExpression" in asked:
        placeholders = Placeholders(names, None)
        projection = placeholders.projection(asked["ProjectionExpression"])
        placeholders.refuse_unused()
    return projection


def _check_mixed(asked: dict[str, Request]) -> None:
    """One table's old parameters don't go with another one's expressions either."""
    members = {member for wanted in asked.values() for member in wanted}
    refuse_mixture(dict.fromkeys(members), ("AttributesToGet",), _PROJECTION)


@refusing(current)
def batch_get_item(txn: ReadTxn, request: Request) -> Request:
    asked: dict[str, Request] = request["RequestItems"]
    if not asked:
        raise ValidationError(
            f"{ENVELOPE}Value at 'RequestItems' failed to satisfy constraint: Member must have length greater than or "
            "equal to 1"
        )
    for name, wanted in asked.items():
        if len(wanted["Keys"]) > MAX_KEYS:
            raise ValidationError(
                f"{ENVELOPE}Value at 'RequestItems.{name}.member.Keys' failed to satisfy constraint: Member must have "
                "length less than or equal to 100"
            )
    if sum(len(wanted["Keys"]) for wanted in asked.values()) > MAX_KEYS:
        raise ValidationError("Too many items requested for the BatchGetItem call")
    _check_mixed(asked)
    projections = [_read_terms(wanted) for wanted in asked.values()]
    for wanted in asked.values():
        if len({_SORTED.encode(key) for key in wanted["Keys"]}) != len(wanted["Keys"]):
            raise Refusal(DUPLICATES)
    opened = [table_to_read(txn, name) for name in asked]
    places = [
        [row_of_key(table, key) for key in wanted["Keys"]] for table, wanted in zip(opened, asked.values(), strict=True)
    ]
    answer: Request = {"Responses": {}, "UnprocessedKeys": {}}
    capacities, room, spent = [], MAX_ANSWER_BYTES, 0
    for (name, wanted), table, projection, keys in zip(asked.items(), opened, projections, places, strict=True):
        check_nested(table, projection)
        read = _Read(txn, wanted, keys, room, projection)
        room -= read.size
        answer["Responses"][name] = read.items
        if read.left:
            answer["UnprocessedKeys"][name] = wanted | {"Keys": read.left}
        spent += read.halves
        capacities.append(consumed(request.get("ReturnConsumedCapacity"), table, read.halves / 2))
    bill_read(txn, spent)
    if capacities and capacities[0] is not None:
        answer["ConsumedCapacity"] = capacities
    return answer


class _Read:
    """One table's part of a BatchGetItem, as far as the answer's room goes."""

    def __init__(
        self, txn: ReadTxn, wanted: Request, places: list[bytes], room: int, projection: Projection | None
    ) -> None:
        consistent = bool(wanted.get("ConsistentRead"))
        bodies: list[bytes] = []
        self.size = self.halves = 0
        self.left: list[Any] = []
        for number, row in enumerate(txn.get_many(places)):
            size = tables.size_of(row) if row is not None else 0
            if self.size + size > room:
                self.left = wanted["Keys"][number:]
                break
            self.size += size
            self.halves += read_halves(size, consistent=consistent)
            if row is not None:
                body = tables.body_of(row)
                if projection is not None:
                    body = encode_item(projection.of(msgspec.json.decode(body)))
                bodies.append(body)
        self.items = raw_list(bodies)
