"""Parameters from before expressions, brought into the terms of expressions.

Each becomes the tree that an expression would have been parsed to, with placeholders of our own making.
"""

from collections.abc import Mapping
from typing import Any, Final

from tule.languages.dynamodb.comparison import order_key
from tule.languages.dynamodb.conditions import Program, bind_condition
from tule.languages.dynamodb.keys import KeyTest
from tule.languages.dynamodb.projection import Projection, project
from tule.languages.dynamodb.syntax import Call, Comparison, Condition, Logic, Path, Placeholder
from tule.languages.dynamodb.updates import Step, Update
from tule.languages.dynamodb.values import Value, weigh
from tule.services.dynamodb.errors import ValidationError, invalid
from tule.services.dynamodb.parameters import Placeholders

_COUNTS: Final = {"NULL": (0, 0), "NOT_NULL": (0, 0), "BETWEEN": (2, 2), "IN": (1, 100)}
_COMPARATORS: Final = {"EQ": "=", "NE": "<>", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}
_SCALAR_ONLY: Final = ("LT", "LE", "GT", "GE", "IN", "BETWEEN")
_NOT_CONTAINED: Final = ("SS", "NS", "BS", "L", "M")
INDEXABLE: Final = ("EQ", "LT", "LE", "GT", "GE", "BEGINS_WITH", "BETWEEN")


def attributes_to_get(request: Mapping[str, Any]) -> Projection | None:
    """AttributesToGet as a projection."""
    names = request.get("AttributesToGet")
    if names is None:
        return None
    seen = set()
    for name in names:
        if name in seen:
            raise invalid(f"Duplicate value in attribute name: {name}")
        seen.add(name)
    return project([(name,) for name in names])


class _Translator:
    """Collects conditions on attributes, with their names and values as placeholders."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Value] = {}
        self.conditions: list[Condition] = []

    def path(self, attribute: str) -> Path:
        key = f"#{len(self.names)}"
        self.names[key] = attribute
        return Path((key,))

    def value(self, value: Value) -> Placeholder:
        key = f":{len(self.values)}"
        self.values[key] = value
        return Placeholder(key)

    def compare(self, attribute: str, operator: str, values: list[Value]) -> None:
        check_arguments(operator, values)
        path = self.path(attribute)
        self.conditions.append(self._condition(operator, path, [self.value(value) for value in values]))

    def _condition(self, operator: str, path: Path, values: list[Placeholder]) -> Condition:
        if operator in _COMPARATORS:
            return Comparison(_COMPARATORS[operator], (path, *values))
        if operator in ("BETWEEN", "IN"):
            return Comparison(operator, (path, *values))
        if operator in ("NULL", "NOT_NULL"):
            return Call("attribute_exists" if operator == "NOT_NULL" else "attribute_not_exists", (path,))
        if operator == "NOT_CONTAINS":
            there = Call("attribute_exists", (path,))
            return Logic("AND", (there, Logic("NOT", (Call("contains", (path, *values)),))))
        return Call(operator.lower(), (path, *values))

    def finish(self, joined: str) -> tuple[Program, Placeholders]:
        tree = self.conditions[0] if len(self.conditions) == 1 else Logic(joined, tuple(self.conditions))
        types = {key: next(iter(value)) for key, value in self.values.items()}
        placeholders = Placeholders(None, None)
        placeholders.values = self.values
        return bind_condition("ConditionExpression", tree, self.names, types), placeholders


def check_arguments(operator: str, values: list[Value]) -> None:
    """How many values an operator takes, and of which types."""
    least, most = _COUNTS.get(operator, (1, 1))
    if not least <= len(values) <= most:
        raise invalid(f"Invalid number of argument(s) for the {operator} ComparisonOperator")
    for value in values:
        tag = next(iter(value))
        if (
            (operator in _SCALAR_ONLY and tag not in ("S", "N", "B"))
            or (operator == "BEGINS_WITH" and tag not in ("S", "B"))
            or (operator in ("CONTAINS", "NOT_CONTAINS") and tag in _NOT_CONTAINED)
        ):
            raise invalid(f"ComparisonOperator {operator} is not valid for {tag} AttributeValue type")
    if operator in ("IN", "BETWEEN") and len({next(iter(value)) for value in values}) > 1:
        raise invalid("AttributeValues inside AttributeValueList must be of same type")
    if operator == "BETWEEN":
        low, high = order_key(values[0]), order_key(values[1])
        if low is not None and high is not None and low > high:
            raise ValidationError(
                "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
            )


def _joined(request: Mapping[str, Any], count: int) -> str:
    operator = request.get("ConditionalOperator")
    if operator is not None and count < 2:
        raise ValidationError("ConditionalOperator can only be used when Filter or Expected has two or more elements")
    return operator or "AND"


def expected(request: Mapping[str, Any]) -> tuple[Program, Placeholders] | None:
    """Expected as a condition and its values."""
    given = request.get("Expected")
    if given is None and "ConditionalOperator" not in request:
        return None
    translator = _Translator()
    for attribute, wanted in (given or {}).items():
        _expect(translator, attribute, wanted)
    joined = _joined(request, len(given or {}))
    return translator.finish(joined) if translator.conditions else None


def _expect(translator: _Translator, attribute: str, wanted: Mapping[str, Any]) -> None:
    exists, operator = wanted.get("Exists"), wanted.get("ComparisonOperator")
    value, values = wanted.get("Value"), wanted.get("AttributeValueList")
    for one in [*([value] if value is not None else []), *(values or [])]:
        weigh(one)
    tail = f" for Attribute: {attribute}"
    if value is not None and values is not None:
        raise invalid(f"Value and AttributeValueList cannot be used together{tail}")
    if operator is not None:
        if exists is not None:
            raise invalid(f"Exists and ComparisonOperator cannot be used together{tail}")
        if value is None and values is None and operator not in ("NULL", "NOT_NULL"):
            raise invalid(f"Value or AttributeValueList must be used with ComparisonOperator: {operator}{tail}")
        translator.compare(attribute, operator, values if values is not None else [value] if value else [])
        return
    if values is not None:
        raise invalid(f"AttributeValueList can only be used with a ComparisonOperator{tail}")
    if exists is False:
        if value is not None:
            raise invalid(f"Value cannot be used when Exists is false{tail}")
        translator.compare(attribute, "NULL", [])
        return
    if value is None:
        raise invalid(f"Value must be provided when Exists is {'null' if exists is None else 'true'}{tail}")
    translator.compare(attribute, "EQ", [value])


def read_filter(request: Mapping[str, Any], member: str) -> tuple[Program, Placeholders] | None:
    """QueryFilter or ScanFilter as a condition and its values."""
    given = request.get(member)
    if given is None and "ConditionalOperator" not in request:
        return None
    translator = _Translator()
    for attribute, condition in (given or {}).items():
        values = condition.get("AttributeValueList") or []
        for value in values:
            weigh(value)
        translator.compare(attribute, condition["ComparisonOperator"], values)
    joined = _joined(request, len(given or {}))
    return translator.finish(joined) if translator.conditions else None


def key_conditions(request: Mapping[str, Any]) -> tuple[tuple[KeyTest, ...], dict[str, Value]] | None:
    """KeyConditions as tests and their values."""
    given = request.get("KeyConditions")
    if given is None:
        return None
    tests: list[KeyTest] = []
    values: dict[str, Value] = {}
    for attribute, condition in given.items():
        operator, operands = condition["ComparisonOperator"], condition.get("AttributeValueList") or []
        for operand in operands:
            weigh(operand)
        check_arguments(operator, operands)
        if operator not in INDEXABLE:
            raise ValidationError("Attempted conditional constraint is not an indexable operation")
        names = [f":{len(values) + index}" for index in range(len(operands))]
        values |= dict(zip(names, operands, strict=True))
        tests.append(KeyTest(attribute, _COMPARATORS.get(operator, operator), tuple(names)))
    if not 1 <= len(tests) <= 2:
        raise ValidationError("Conditions can be of length 1 or 2 only")
    arranged = tuple(
        KeyTest(test.attribute, "begins_with", test.values) if test.operator == "BEGINS_WITH" else test
        for test in tests
    )
    return arranged, values


def replace_updates(request: Mapping[str, Any]) -> tuple[Update, Placeholders] | None:
    """AttributeUpdates as an update and its values."""
    given = request.get("AttributeUpdates")
    if given is None:
        return None
    placeholders = Placeholders(None, None)
    steps = []
    for number, (attribute, change) in enumerate(given.items()):
        action, value = change.get("Action", "PUT"), change.get("Value")
        if value is None:
            if action != "DELETE":
                raise invalid("Only DELETE action is allowed when no attribute value is specified")
            steps.append(Step("REMOVE", (attribute,), None))
            continue
        weigh(value)
        _check_action(action, next(iter(value)))
        key = f":{number}"
        placeholders.values[key] = value
        clause = "SET" if action == "PUT" else action
        steps.append(_step(clause, attribute, key))
    return Update(tuple(steps), frozenset(), frozenset()), placeholders


def _check_action(action: str, tag: str) -> None:
    if action == "DELETE" and tag not in ("SS", "NS", "BS"):
        raise invalid(f"DELETE action with value is not supported for the type {tag}")
    if action == "ADD" and tag in ("S", "B", "BOOL", "NULL", "M"):
        raise invalid(f"ADD action is not supported for the type {tag}")


def _step(clause: str, attribute: str, key: str) -> Step:
    return Step(clause, (attribute,), lambda _item, values: values[key], key)
