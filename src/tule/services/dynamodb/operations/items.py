"""PutItem, GetItem, UpdateItem and DeleteItem."""

from typing import Any, Final

from tule.languages.dynamodb.conditions import Program
from tule.languages.dynamodb.projection import Projection, project
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.updates import Update
from tule.languages.dynamodb.values import MAX_ITEM_BYTES, Item, Value, weigh_item
from tule.services.dynamodb.answers import raw, write_answer
from tule.services.dynamodb.capacity import bill_read, bill_refused, bill_write, consumed, read_halves, write_units
from tule.services.dynamodb.errors import ConditionalCheckFailedError, ValidationError, current, enveloped, refusing
from tule.services.dynamodb.keys import check_updated_index_keys, row_of_item, row_of_key
from tule.services.dynamodb.legacy import attributes_to_get, expected, replace_updates
from tule.services.dynamodb.models import OpenTable
from tule.services.dynamodb.parameters import Placeholders, read_placeholders, refuse_mixture
from tule.services.dynamodb.paths import check_nested, check_update
from tule.services.dynamodb.state import decode_item, encode_item, table_to_read, table_to_write
from tule.services.dynamodb.writing import Cost, Stored, stored_at, write_item
from tule.store.layers.tables import body_of, size_of
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]
Given = tuple[dict[str, str] | None, dict[str, Value] | None]

_CONDITION: Final = ("ConditionExpression",)
_UPDATE: Final = ("UpdateExpression", "ConditionExpression")
_PROJECTION: Final = ("ProjectionExpression",)
_CONDITIONAL: Final = frozenset(
    {"ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues", "Expected", "ConditionalOperator"}
)
"""Members without which a write has no condition."""
_PROJECTED: Final = frozenset({"ProjectionExpression", "ExpressionAttributeNames", "AttributesToGet"})
_NONE: Final = Placeholders(None, None)
TOO_LARGE: Final = "Item size has exceeded the maximum allowed size"
UPDATE_TOO_LARGE: Final = "Item size to update has exceeded the maximum allowed size"


def _only_old(request: Request) -> None:
    if request.get("ReturnValues", "NONE") not in ("NONE", "ALL_OLD"):
        raise Refusal("ReturnValues can only be ALL_OLD or NONE")


def meets(request: Request, condition: Program | None, placeholders: Placeholders, old: Stored | None) -> Item | None:
    """The old item, decoded if anything needed it; refuses when the condition doesn't hold."""
    if condition is None:
        return None
    item = old.item() if old is not None else None
    if not condition.test(item or {}, placeholders.values):
        told = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        raise ConditionalCheckFailedError(item if told else None)
    return item


def _require(
    txn: Txn, request: Request, condition: Program | None, placeholders: Placeholders, old: Stored | None
) -> None:
    """As `meets`, for a write of its own: one that is refused costs what writing the old item would."""
    try:
        meets(request, condition, placeholders, old)
    except ConditionalCheckFailedError:
        bill_refused(txn, 1 if old is None else write_units(old.size))
        raise


def weigh_put(item: Item) -> int:
    """The size of an item that is to be put."""
    size = weigh_item(item)
    if size > MAX_ITEM_BYTES:
        raise ValidationError(TOO_LARGE)
    return size


def _condition_parameters(request: Request) -> Given:
    refuse_mixture(request, ("Expected", "ConditionalOperator"), _CONDITION)
    return read_placeholders(request, _CONDITION)


def _condition(request: Request, given: Given) -> tuple[Program | None, Placeholders]:
    """The condition of a write and its values, from an expression or from Expected."""
    legacy = expected(request)
    _only_old(request)
    placeholders = Placeholders(*given)
    condition = placeholders.condition("ConditionExpression", request.get("ConditionExpression"))
    placeholders.refuse_unused()
    return (condition, placeholders) if legacy is None else legacy


@refusing(enveloped)
def put_item(txn: Txn, request: Request) -> Request:
    item: Item = request["Item"]
    if _CONDITIONAL.isdisjoint(request):
        size = weigh_put(item)
        _only_old(request)
        condition, placeholders = None, _NONE
    else:
        given = _condition_parameters(request)
        size = weigh_put(item)
        condition, placeholders = _condition(request, given)
    table = table_to_write(txn, request["TableName"])
    key = row_of_item(table, item)
    check_nested(table, condition)
    old = stored_at(txn, key)
    _require(txn, request, condition, placeholders, old)
    cost = write_item(txn, table, key, old, item, size)
    bill_write(txn, cost.total)
    attributes = raw(old.body) if old is not None and request.get("ReturnValues") == "ALL_OLD" else None
    return write_answer(request, table, cost, item, attributes)


@refusing(enveloped)
def delete_item(txn: Txn, request: Request) -> Request:
    given = _condition_parameters(request)
    item: Item = request["Key"]
    weigh_item(item)
    condition, placeholders = _condition(request, given)
    table = table_to_write(txn, request["TableName"])
    key = row_of_key(table, item)
    check_nested(table, condition)
    old = stored_at(txn, key)
    _require(txn, request, condition, placeholders, old)
    cost = write_item(txn, table, key, old, None) if old is not None else Cost(1, {})
    bill_write(txn, cost.total)
    attributes = raw(old.body) if old is not None and request.get("ReturnValues") == "ALL_OLD" else None
    return write_answer(request, table, cost, item, attributes)


@refusing(enveloped)
def update_item(txn: Txn, request: Request) -> Request:
    refuse_mixture(request, ("AttributeUpdates", "Expected", "ConditionalOperator"), _UPDATE)
    given = read_placeholders(request, _UPDATE)
    weigh_item(request["Key"])
    legacy = expected(request)
    replaced = replace_updates(request)
    placeholders = Placeholders(*given)
    update = placeholders.update(request.get("UpdateExpression"))
    condition = placeholders.condition("ConditionExpression", request.get("ConditionExpression"))
    placeholders.refuse_unused()
    if legacy is not None:
        condition, tested = legacy
    else:
        tested = placeholders
    if replaced is not None:
        update, placeholders = replaced
    table = table_to_write(txn, request["TableName"])
    key = row_of_key(table, request["Key"])
    check_nested(table, condition)
    old = stored_at(txn, key)
    _require(txn, request, condition, tested, old)
    change = Change(request, update, placeholders, old)
    change.apply(table)
    cost = change.write(txn, table, key)
    bill_write(txn, cost.total)
    return write_answer(request, table, cost, request["Key"], change.attributes())


class Change:
    """What an update makes of an item."""

    __slots__ = ("after", "before", "old", "request", "size", "update", "values")

    def __init__(self, request: Request, update: Update | None, placeholders: Placeholders, old: Stored | None) -> None:
        self.request = request
        self.update = update
        self.values = placeholders.values
        self.old = old
        self.before: Item = old.item() if old is not None else {}
        self.after: Item = self.before
        self.size = 0

    def apply(self, table: OpenTable) -> None:
        """Work out the item as the update leaves it; refuses what doesn't fit."""
        update = self.update
        if update is None:
            self.after = self.before or dict(self.request["Key"])
        else:
            check_update(table, update, self.values)
            changed = update.apply(self.before or self.request["Key"], self.values)
            if self.old is None and update.only_removes:
                return
            self.after = changed
        self.size = weigh_item(self.after)
        if max(self.size, self._measure(self.size)) > MAX_ITEM_BYTES:
            raise ValidationError(UPDATE_TOO_LARGE)
        check_updated_index_keys(table, self.after)

    def write(self, txn: Txn, table: OpenTable, key: bytes) -> Cost:
        """Write the item, if there is one now; the cost."""
        if not self.size:
            return Cost(1, {})
        return write_item(txn, table, key, self.old, self.after, self.size)

    def _measure(self, size: int) -> int:
        """How AWS measures an update: without the keys, but with something for each action."""
        steps = self.update.steps if self.update is not None else ()
        removals = sum(step.evaluate is None for step in steps)
        return size - weigh_item(self.request["Key"]) + 3 + 19 * (len(steps) - removals) + 2 * removals

    def attributes(self) -> Any:
        """What ReturnValues asks for, or None."""
        wanted = self.request.get("ReturnValues", "NONE")
        if wanted == "ALL_NEW":
            return raw(encode_item(self.after)) if self.after else None
        if wanted == "ALL_OLD":
            return raw(self.old.body) if self.old is not None else None
        if wanted == "NONE" or self.update is None:
            return None
        shown = self.before if wanted == "UPDATED_OLD" else self.after
        return project(self.update.paths).of(shown) or None


def _read_projection(request: Request) -> Projection | None:
    refuse_mixture(request, ("AttributesToGet",), _PROJECTION)
    names, _ = read_placeholders(request, _PROJECTION)
    weigh_item(request["Key"])
    projection = attributes_to_get(request)
    if "ProjectionExpression" in request:
        placeholders = Placeholders(names, None)
        projection = placeholders.projection(request["ProjectionExpression"])
        placeholders.refuse_unused()
    return projection


@refusing(current)
def get_item(txn: ReadTxn, request: Request) -> Request:
    projection: Projection | None = None
    if _PROJECTED.isdisjoint(request):
        weigh_item(request["Key"])
    else:
        projection = _read_projection(request)
    table = table_to_read(txn, request["TableName"])
    key = row_of_key(table, request["Key"])
    check_nested(table, projection)
    row = txn.get(key)
    size = 0 if row is None else size_of(row)
    halves = read_halves(size, consistent=bool(request.get("ConsistentRead")))
    bill_read(txn, halves)
    answer: Request = {}
    if row is not None:
        body = body_of(row)
        answer["Item"] = raw(body) if projection is None else projection.of(decode_item(body))
    if "ReturnConsumedCapacity" in request:
        capacity = consumed(request["ReturnConsumedCapacity"], table, halves / 2)
        if capacity is not None:
            answer["ConsumedCapacity"] = capacity
    return answer
