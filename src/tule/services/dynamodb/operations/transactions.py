"""TransactWriteItems and TransactGetItems: all tables of an account and region lie in one shard, so a transaction is
one batch, and no two of them ever meet."""

from hashlib import sha256
from typing import Any, Final

import msgspec

from tule.kernel.clocks import Instant
from tule.languages.dynamodb.conditions import Program
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.updates import Update
from tule.languages.dynamodb.values import Item, weigh_item
from tule.services.dynamodb.answers import collection_metrics, raw
from tule.services.dynamodb.capacity import bill_read, bill_write, consumed, read_halves
from tule.services.dynamodb.errors import (
    ConditionalCheckFailedError,
    IdempotentParameterMismatchError,
    TransactionCanceledError,
    ValidationError,
    older,
    refusing,
)
from tule.services.dynamodb.keys import row_of_item, row_of_key
from tule.services.dynamodb.models import OpenTable
from tule.services.dynamodb.operations.items import Change, meets, weigh_put
from tule.services.dynamodb.parameters import Placeholders, read_placeholders
from tule.services.dynamodb.paths import check_nested
from tule.services.dynamodb.state import forget_token, recall_token, remember_token, table_to_read, table_to_write
from tule.services.dynamodb.writing import Cost, Stored, stored_at, write_item
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

TOKEN_LIFE_MS: Final = 600_000
"""How long a ClientRequestToken is remembered (API reference: 10 minutes)."""
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024
_KINDS: Final = ("ConditionCheck", "Put", "Delete", "Update")
_SORTED: Final = msgspec.json.Encoder(order="sorted")
_EMPTY_KEY: Final = "One or more parameter values are not valid. The AttributeValue for a key attribute"


class _Action:
    """One action of a transaction, on its way from the request to the write."""

    __slots__ = ("change", "condition", "kind", "old", "place", "placeholders", "request", "size", "table", "update")

    def __init__(self, entry: Request) -> None:
        given = [kind for kind in _KINDS if kind in entry]
        if len(given) != 1:
            raise ValidationError("TransactItems can only contain one of Check, Put, Update or Delete")
        self.kind = given[0]
        self.request: Request = entry[self.kind]
        self.size = weigh_put(self.item) if self.kind == "Put" else weigh_item(self.item)
        expressions = ("UpdateExpression", "ConditionExpression") if self.kind == "Update" else ("ConditionExpression",)
        self.placeholders = Placeholders(*read_placeholders(self.request, expressions), wrap=True)
        self.update: Update | None = None
        if self.kind == "Update":
            self.update = self.placeholders.update(self.request["UpdateExpression"])
        self.condition: Program | None = self.placeholders.condition(
            "ConditionExpression", self.request.get("ConditionExpression")
        )
        self.placeholders.refuse_unused()
        self.table: OpenTable
        self.place = b""
        self.old: Stored | None = None
        self.change: Change | None = None

    @property
    def item(self) -> Item:
        """The item of a Put, the key of the others."""
        return self.request["Item" if self.kind == "Put" else "Key"]  # type: ignore[no-any-return]  # request members are untyped

    def check(self, txn: Txn) -> Request:
        """The action's CancellationReason; code None if it would pass."""
        try:
            self.old = stored_at(txn, self.place)
            check_nested(self.table, self.condition)
            meets(self.request, self.condition, self.placeholders, self.old)
            if self.kind == "Update":
                self.change = Change(self.request, self.update, self.placeholders, self.old)
                self.change.apply(self.table)
        except ConditionalCheckFailedError as failed:
            return {"Code": "ConditionalCheckFailed", "Message": failed.message, **failed.members}
        except (Refusal, ValidationError) as refusal:
            return {"Code": "ValidationError", "Message": refusal.message}
        return {"Code": "None"}

    def write(self, txn: Txn) -> Cost:
        if self.kind == "Put":
            return write_item(txn, self.table, self.place, self.old, self.item, self.size)
        if self.change is not None:
            return self.change.write(txn, self.table, self.place)
        if self.kind == "Delete" and self.old is not None:
            return write_item(txn, self.table, self.place, self.old, None)
        return Cost(1, {})


def _place(action: _Action) -> Request | None:
    """Find the action's row; a key that doesn't fit is a reason to cancel, an empty one a mistake of the request."""
    try:
        find = row_of_item if action.kind == "Put" else row_of_key
        action.place = find(action.table, action.item)
    except ValidationError as refusal:
        if refusal.message.startswith(_EMPTY_KEY):
            raise
        return {"Code": "ValidationError", "Message": refusal.message}
    return None


def _cancel(reasons: list[Request]) -> None:
    if all(reason["Code"] == "None" for reason in reasons):
        return
    codes = ", ".join(reason["Code"] for reason in reasons)
    raise TransactionCanceledError(
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
        members={"CancellationReasons": reasons},
    )


@refusing(older)
def transact_write_items(txn: Txn, request: Request) -> Request:
    token, digest = request.get("ClientRequestToken"), b""
    if token is not None:
        told = {name: value for name, value in request.items() if name != "ReturnConsumedCapacity"}
        digest = sha256(_SORTED.encode(told)).digest()
    actions = [_Action(entry) for entry in request["TransactItems"]]
    if sum(action.size for action in actions) > MAX_TRANSACTION_BYTES:
        raise ValidationError("Transaction request size cannot exceed 4 MB")
    for action in actions:
        action.table = table_to_write(txn, action.request["TableName"])
    misplaced = [_place(action) for action in actions]
    places = [action.place for action in actions if action.place]
    if len(set(places)) != len(places):
        raise ValidationError("Transaction request cannot include multiple operations on one item")
    if token is not None:
        before = recall_token(txn, token)
        if before is not None and before != digest:
            raise IdempotentParameterMismatchError(
                "The request uses the same client token as a previous, but non-identical request."
            )
        if before is not None:
            return _answer(request, actions, [Cost(0, {}) for _ in actions])
    _cancel([reason or action.check(txn) for action, reason in zip(actions, misplaced, strict=True)])
    costs = [action.write(txn) for action in actions]
    bill_write(txn, 2 * sum(cost.total for cost in costs))
    if token is not None:
        remember_token(txn, token, digest, Instant(txn.now + TOKEN_LIFE_MS))
    return _answer(request, actions, costs)


def _answer(request: Request, actions: list[_Action], costs: list[Cost]) -> Request:
    answer: Request = {}
    by_table: dict[str, tuple[OpenTable, int, dict[str, float]]] = {}
    metrics: dict[str, list[Any]] = {}
    for action, cost in zip(actions, costs, strict=True):
        table, units, by_index = by_table.get(action.table.name, (action.table, 0, {}))
        for name, n in cost.indexes.items():
            by_index[name] = by_index.get(name, 0) + 2 * n
        by_table[table.name] = (table, units + 2 * cost.table, by_index)
        if table.has_local and action.kind != "ConditionCheck":
            metrics.setdefault(table.name, []).append(collection_metrics(table, action.item))
    wanted = request.get("ReturnConsumedCapacity")
    capacities = [consumed(wanted, *part, "Write") for part in by_table.values()]
    if capacities[0] is not None:
        answer["ConsumedCapacity"] = capacities
    if metrics and request.get("ReturnItemCollectionMetrics") == "SIZE":
        answer["ItemCollectionMetrics"] = metrics
    return answer


@refusing(older)
def transact_get_items(txn: ReadTxn, request: Request) -> Request:
    entries = [entry["Get"] for entry in request["TransactItems"]]
    projections = []
    for entry in entries:
        weigh_item(entry["Key"])
        placeholders = Placeholders(read_placeholders(entry, ("ProjectionExpression",))[0], None)
        projections.append(placeholders.projection(entry.get("ProjectionExpression")))
        placeholders.refuse_unused()
    opened = [table_to_read(txn, entry["TableName"]) for entry in entries]
    places, reasons = [], []
    for table, entry in zip(opened, entries, strict=True):
        try:
            places.append(row_of_key(table, entry["Key"]))
            reasons.append({"Code": "None"})
        except ValidationError as refusal:
            if refusal.message.startswith(_EMPTY_KEY):
                raise
            reasons.append({"Code": "ValidationError", "Message": refusal.message})
    if len(set(places)) != len(places):
        raise ValidationError("Transaction request cannot include multiple operations on one item")
    _cancel(reasons)
    responses: list[Request] = []
    by_table: dict[str, tuple[OpenTable, float]] = {}
    for table, projection, row in zip(opened, projections, txn.get_many(places), strict=True):
        stored = Stored(row) if row is not None else None
        halves = 2 * read_halves(stored.size if stored is not None else 0, consistent=True)
        bill_read(txn, halves)
        by_table[table.name] = (table, by_table.get(table.name, (table, 0.0))[1] + halves / 2)
        shown = None if stored is None else raw(stored.body) if projection is None else projection.of(stored.item())
        responses.append({} if shown is None else {"Item": shown})
    answer: Request = {"Responses": responses}
    wanted = request.get("ReturnConsumedCapacity")
    capacities = [consumed(wanted, table, units, None, "Read") for table, units in by_table.values()]
    if capacities[0] is not None:
        answer["ConsumedCapacity"] = capacities
    return answer


def expire_token(txn: Txn, key: bytes, _payload: bytes) -> None:
    """Forget a ClientRequestToken."""
    forget_token(txn, key)
