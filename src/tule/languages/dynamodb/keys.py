"""Key conditions: what a KeyConditionExpression asks of a partition key and a sort key."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

from tule.languages.dynamodb.conditions import Names
from tule.languages.dynamodb.grammar import COMPARATORS, parse_condition
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.syntax import Call, Comparison, Condition, Logic, Operand, Path, Placeholder

KEY_CONDITION: Final = "KeyConditionExpression"
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


@dataclass(frozen=True, slots=True)
class KeyTest:
    """One condition: an attribute, =, <, <=, >, >=, BETWEEN or begins_with, and the names of its :values."""

    attribute: str
    operator: str
    values: tuple[str, ...]


@lru_cache(maxsize=1024)
def key_tests(text: str, names: Names) -> tuple[KeyTest, ...]:
    """The tests of an expression that has passed `compile_condition`; refuses what keys can't be asked."""
    return key_tests_of(parse_condition(KEY_CONDITION, text), dict(names))


def key_tests_of(tree: Condition, names: dict[str, str]) -> tuple[KeyTest, ...]:
    """`key_tests` for a tree."""
    tests = [_test(part, names) for part in _parts(tree)]
    attributes = [test.attribute for test in tests]
    if len(set(attributes)) != len(attributes):
        raise Refusal(f"Invalid {KEY_CONDITION}: KeyConditionExpressions must only contain one condition per key")
    return tuple(tests)


def _parts(tree: Condition) -> list[Comparison | Call]:
    if not isinstance(tree, Logic):
        return [tree]
    if tree.operator != "AND":
        _bad_operator(tree.operator)
    return [part for condition in tree.conditions for part in _parts(condition)]


def _bad_operator(operator: str) -> NoReturn:
    raise Refusal(f"Invalid operator used in KeyConditionExpression: {operator}")


def _test(condition: Comparison | Call, names: dict[str, str]) -> KeyTest:
    if isinstance(condition, Call):
        operator, operands = condition.function, condition.arguments
        if operator != "begins_with":
            _bad_operator(operator)
    else:
        operator, operands = condition.operator, condition.operands
        if operator == "<>" or (operator not in COMPARATORS and operator != "BETWEEN"):
            _bad_operator(operator)
    if not all(isinstance(operand, Path | Placeholder) for operand in operands):
        raise Refusal("KeyConditionExpressions cannot contain nested operations")
    paths = [operand for operand in operands if isinstance(operand, Path)]
    if any(len(path.parts) > 1 for path in paths):
        raise Refusal(f"Invalid {KEY_CONDITION}: KeyConditionExpressions cannot have conditions on nested attributes")
    if len(paths) > 1:
        raise Refusal("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
    if not paths:
        raise Refusal("Invalid condition in KeyConditionExpression: No key attribute specified")
    return _arranged(operator, operands, names)


def _arranged(operator: str, operands: tuple[Operand, ...], names: dict[str, str]) -> KeyTest:
    """The test with its attribute first."""
    first, *rest = operands
    if isinstance(first, Placeholder):
        if operator not in _FLIPPED:
            raise Refusal(
                f"Invalid condition in KeyConditionExpression: {operator} operator must have the key attribute as "
                "its first operand"
            )
        operator, first, rest = _FLIPPED[operator], rest[0], [first]
    assert isinstance(first, Path)
    name = str(first.parts[0])
    values = tuple(operand.name for operand in rest if isinstance(operand, Placeholder))
    return KeyTest(names.get(name, name), operator, values)
