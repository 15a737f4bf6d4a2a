"""Conditions and filters, compiled."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from tule.languages.dynamodb import comparison
from tule.languages.dynamodb.binding import Binder, Bound, Check, Steps, Values
from tule.languages.dynamodb.grammar import parse_condition
from tule.languages.dynamodb.syntax import Call, Comparison, Condition, Logic
from tule.languages.dynamodb.values import Item, Value

Test = Callable[[Item, Values], bool]
Order = Callable[[Any, Any], Any]
Names = tuple[tuple[str, str], ...]

_ORDER: Final[Mapping[str, Order]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SCALARS: Final = ("S", "N", "B")
MAX_IN: Final = 100


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled condition: `test(item, values)`, after each of `checks` has passed with those values."""

    test: Test
    checks: tuple[Check, ...]
    names: frozenset[str]
    values: frozenset[str]
    paths: tuple[Steps, ...]


@lru_cache(maxsize=2048)
def compile_condition(kind: str, text: str, names: Names, types: Names) -> Program:
    """The condition `text` with its #names and the types of its :values, as (name, ...) pairs."""
    return bind_condition(kind, parse_condition(kind, text), dict(names), dict(types))


def bind_condition(kind: str, tree: Condition, names: Mapping[str, str], types: Mapping[str, str]) -> Program:
    """`compile_condition` for a tree."""
    binder = Binder(kind, names, types)
    test = _condition(binder, tree)
    used = frozenset(binder.used_names), frozenset(binder.used_values)
    return Program(test, tuple(binder.checks), *used, tuple(binder.paths))


def _condition(binder: Binder, tree: Condition) -> Test:
    if isinstance(tree, Logic):
        return _logic(tree.operator, [_condition(binder, part) for part in tree.conditions])
    if isinstance(tree, Call):
        return _function(binder, tree)
    return _comparison(binder, tree)


def _logic(word: str, tests: list[Test]) -> Test:
    if word == "NOT":
        inner = tests[0]
        return lambda item, values: not inner(item, values)
    if word == "AND":
        return lambda item, values: all(test(item, values) for test in tests)
    return lambda item, values: any(test(item, values) for test in tests)


def _comparison(binder: Binder, tree: Comparison) -> Test:
    word = tree.operator
    operands = binder.resolve(tree.operands)
    if word == "IN":
        binder.count_in(len(operands) - 1, MAX_IN)
        binder.distinct(word, operands)
        return _in(operands)
    if word == "BETWEEN":
        for operand in operands:
            binder.type_of(word, operand, _SCALARS)
        binder.bounds(operands[1], operands[2])
        binder.distinct(word, operands)
        return _between(operands)
    if word in _ORDER:
        for operand in operands:
            binder.type_of(word, operand, _SCALARS)
    binder.distinct(word, operands)
    return _equality(word == "=", *operands) if word in ("=", "<>") else _ordering(_ORDER[word], *operands)


def _equality(wanted: bool, left: Bound, right: Bound) -> Test:  # noqa: FBT001 - which of the two operators it is
    a, b = left.evaluate, right.evaluate
    equal = comparison.equal

    def test(item: Item, values: Values) -> bool:
        x, y = a(item, values), b(item, values)
        same = x is not None and y is not None and equal(x, y)
        return same is wanted

    return test


def _ordering(compare: Order, left: Bound, right: Bound) -> Test:
    a, b = left.evaluate, right.evaluate

    def test(item: Item, values: Values) -> bool:
        return _ordered(compare, a(item, values), b(item, values))

    return test


def _ordered(compare: Order, x: Value | None, y: Value | None) -> bool:
    if x is None or y is None:
        return False
    first, second = comparison.order_key(x), comparison.order_key(y)
    if first is None or second is None or first[0] != second[0]:
        return False
    return bool(compare(first[1], second[1]))


def _between(operands: list[Bound]) -> Test:
    value, low, high = (operand.evaluate for operand in operands)

    def test(item: Item, values: Values) -> bool:
        x = value(item, values)
        return _ordered(operator.ge, x, low(item, values)) and _ordered(operator.le, x, high(item, values))

    return test


def _in(operands: list[Bound]) -> Test:
    value, *options = (operand.evaluate for operand in operands)
    equal = comparison.equal

    def test(item: Item, values: Values) -> bool:
        x = value(item, values)
        if x is None:
            return False
        found = (option(item, values) for option in options)
        return any(y is not None and equal(x, y) for y in found)

    return test


def _function(binder: Binder, call: Call) -> Test:
    name = call.function
    arguments = binder.resolve(call.arguments)
    binder.count(name, arguments, 1 if name in ("attribute_exists", "attribute_not_exists") else 2)
    first = arguments[0].evaluate
    if len(arguments) == 1:
        binder.needs_path(name, arguments[0])
        if name == "attribute_exists":
            return lambda item, values: first(item, values) is not None
        return lambda item, values: first(item, values) is None
    second = arguments[1].evaluate
    if name == "attribute_type":
        binder.type_name(arguments[1])
        return _attribute_type(arguments[0], arguments[1].placeholder)
    if name == "begins_with":
        binder.type_of(name, arguments[0], ("S", "B"))
        binder.type_of(name, arguments[1], ("S", "B"))
    binder.distinct(name, arguments)
    relation = comparison.begins_with if name == "begins_with" else comparison.contains

    def test(item: Item, values: Values) -> bool:
        x, y = first(item, values), second(item, values)
        return x is not None and y is not None and relation(x, y)

    return test


def _attribute_type(operand: Bound, placeholder: str) -> Test:
    evaluate = operand.evaluate

    def test(item: Item, values: Values) -> bool:
        value = evaluate(item, values)
        return value is not None and values[placeholder]["S"] in value

    return test
