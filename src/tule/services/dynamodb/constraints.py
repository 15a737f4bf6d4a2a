"""The model's constraints, in the words that DynamoDB has for them.

Attribute values are no business of the model's: handlers weigh them. Everything else is held against predicates
compiled from the model; the sentences are made for requests that fail.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, Final

from tule.services.dynamodb.errors import ENVELOPE, ValidationError
from tule.wire.codecs import compiled
from tule.wire.dialects import dialect_of
from tule.wire.validation import Accepts, Predicates, envelope, violations

Request = dict[str, Any]
Handler = Callable[[Any, Any], Any]

_WEIGHED: Final = frozenset(
    {"Item", "Key", "ExclusiveStartKey", "ExpressionAttributeNames", "ExpressionAttributeValues", "AttributesToGet"}
)  # fmt: skip
"""Members that handlers look into themselves."""

_NESTED: Final = frozenset({"RequestItems", "TransactItems"})
"""Members that handlers count themselves, once nothing is missing in them."""

_NAMED_PLAINLY: Final = frozenset(
    {"CreateTable", "UpdateTable", "DeleteTable", "DescribeTable", "DescribeTimeToLive", "UpdateTimeToLive",
     "DescribeContinuousBackups"}
)  # fmt: skip
"""Operations that ask for TableName without the envelope."""

_OLDER: Final = frozenset({"Scan", "BatchWriteItem", "TransactWriteItems", "TransactGetItems", "ListTables"})

_SETS: Final = {
    "returnConsumedCapacity": "[INDEXES, TOTAL, NONE]",
    "returnItemCollectionMetrics": "[SIZE, NONE]",
    "select": "[SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]",
    "comparisonOperator": "[IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]",
    "conditionalOperator": "[OR, AND]",
    "keyType": "[HASH, RANGE]",
    "attributeType": "[B, N, S]",
    "projectionType": "[ALL, INCLUDE, KEYS_ONLY]",
    "billingMode": "[PROVISIONED, PAY_PER_REQUEST]",
    "tableClass": "[STANDARD, STANDARD_INFREQUENT_ACCESS]",
}
"""Enumerations in the order in which AWS prints them."""

_SENTENCE: Final = re.compile(r"Value '.*' at '([^']*)' failed to satisfy constraint: (.*)", re.DOTALL)
_RETURN_VALUES: Final = (
    "Failed to satisfy constraint: Member must satisfy enum value set: "
    "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
)
_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]+")
MIN_NAME: Final = 3
MAX_NAME: Final = 255


class _Rules:
    """What requests of one operation are held against."""

    __slots__ = ("checks", "required")

    def __init__(self, operation: str) -> None:
        shape = compiled("dynamodb", operation).model.input
        assert shape is not None
        predicates, structure = Predicates(required_only=False), Predicates(required_only=True)
        self.required = frozenset(shape.required)
        self.checks: dict[str, Accepts] = {}
        for name, member in shape.members.items():
            if name in _WEIGHED:
                continue
            check = (structure if name in _NESTED else predicates).of(member)
            if check is not None:
                self.checks[name] = lru_cache(maxsize=256)(check) if member.type == "string" else check

    def accepts(self, request: Mapping[str, Any]) -> bool:
        if not request.keys() >= self.required:
            return False
        checks = self.checks
        for name, value in request.items():
            check = checks.get(name)
            if check is not None and not check(value):
                return False
        return True


@cache
def _rules(operation: str) -> _Rules:
    return _Rules(operation)


def constrained(operation: str, handler: Handler) -> Handler:
    """The handler behind the model's constraints."""

    def run(txn: Any, request: Request) -> Any:
        if not _rules(operation).accepts(request):
            raise _refusal(operation, request)
        return handler(txn, request)

    return run


def check_new_name(name: str) -> None:
    """A table's name when it is made: the model allows ARNs, and so more than names may be."""
    rules = (
        (len(name) > MAX_NAME, f"Member must have length less than or equal to {MAX_NAME}"),
        (len(name) < MIN_NAME, f"Member must have length greater than or equal to {MIN_NAME}"),
        (_NAME.fullmatch(name) is None, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"),
    )
    broken = [f"Value '{name}' at 'tableName' failed to satisfy constraint: {text}" for holds, text in rules if holds]
    if broken:
        raise ValidationError(envelope(broken))


def _refusal(operation: str, request: Request) -> ValidationError:
    if operation in _NAMED_PLAINLY and "TableName" not in request:
        return ValidationError("The parameter 'TableName' is required but was not present in the request")
    if "ResourceArn" not in request and "ResourceArn" in _rules(operation).required:
        return ValidationError("Invalid TableArn")
    if operation not in _OLDER:
        for member in ("TableName", "Limit"):
            alone = _alone(operation, request, member)
            if alone:
                return ValidationError(ENVELOPE + alone)
    told = {name: value for name, value in request.items() if name not in _WEIGHED}
    present: Request = {name: {} for name in _rules(operation).required if name in _WEIGHED and name in request}
    sentences = violations(compiled("dynamodb", operation).model, told | present, dialect_of("dynamodb"))
    dressed = [_dressed(operation, sentence) for sentence in sentences]
    if operation == "UpdateItem":
        dressed = dressed[:1]
    return ValidationError(envelope(dressed))


def _alone(operation: str, request: Request, member: str) -> str:
    """A violation of TableName's or Limit's bounds, which the current texts tell by itself and without the value."""
    value = request.get(member)
    if value is None or member not in _rules(operation).checks or _rules(operation).checks[member](value):
        return ""
    model = compiled("dynamodb", operation).model
    for sentence in violations(model, {member: value}, dialect_of("dynamodb")):
        match = _SENTENCE.fullmatch(sentence)
        if match is None or match[1] != member[:1].lower() + member[1:]:
            continue
        if value in ("", 0) or member == "Limit":
            return f"Value at '{member}' failed to satisfy constraint: {match[2]}"
        return sentence
    return ""


def _dressed(operation: str, sentence: str) -> str:
    match = _SENTENCE.fullmatch(sentence)
    if match is None:
        return sentence
    member = match[1].rpartition(".")[2]
    if member == "returnValues" and operation in _WRITES:
        return _RETURN_VALUES
    printed = _SETS.get(member)
    if printed is None or "enum value set" not in match[2]:
        return sentence
    head, _, _ = sentence.rpartition("enum value set: ")
    return f"{head}enum value set: {printed}"
