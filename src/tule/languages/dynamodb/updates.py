"""Update expressions, compiled and applied."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NoReturn

from tule.languages.dynamodb import comparison, numbers
from tule.languages.dynamodb.binding import Binder, Bound, Evaluate, Steps, Values, check_paths, fetch
from tule.languages.dynamodb.conditions import Names
from tule.languages.dynamodb.grammar import parse_update
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.syntax import UPDATE, Action, Arithmetic, Call, Operand, Placeholder
from tule.languages.dynamodb.values import Item, Value

MISSING: Final = "The provided expression refers to an attribute that does not exist in the item"
BAD_PATH: Final = "The document path provided in the update expression is invalid for update"
BAD_TYPE: Final = "An operand in the update expression has an incorrect data type"

_LONG_NAMES: Final = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
    "M": "MAP",
    "L": "LIST",
}


class UpdateRefusal(Refusal):
    """An update that doesn't fit the item it meets; always told without a prefix."""

    def __init__(self, message: str) -> None:
        super().__init__(message, bare=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One compiled action. `literal` is the :value that it sets as it is, or ""."""

    clause: str
    path: Steps
    evaluate: Evaluate | None
    literal: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """A compiled update."""

    steps: tuple[Step, ...]
    names: frozenset[str]
    values: frozenset[str]

    @property
    def paths(self) -> tuple[Steps, ...]:
        """What it changes, in the order written."""
        return tuple(step.path for step in self.steps)

    @property
    def only_removes(self) -> bool:
        """Such an update creates no item where there is none."""
        return all(step.clause in ("REMOVE", "DELETE") for step in self.steps)

    def apply(self, item: Item, values: Values) -> Item:
        """The item as the update leaves it; every operand is read from `item` as it was, which stays unchanged."""
        pending = [(step, step.evaluate(item, values) if step.evaluate else None) for step in self.steps]
        changed = dict(item)
        removals: list[Steps] = []
        for step, value in pending:
            if step.clause == "SET":
                if value is None:
                    raise UpdateRefusal(MISSING)
                _write(changed, step.path, value)
            elif step.clause == "REMOVE":
                removals.append(step.path)
            else:
                assert value is not None
                result = (_added if step.clause == "ADD" else _deleted)(fetch(item, step.path), value)
                if result is None:
                    _remove(changed, step.path)
                elif result is not _UNCHANGED:
                    _write(changed, step.path, result)
                else:
                    _holder(changed, step.path)
        # From the end, so that one removal from a list doesn't move what the next one means.
        for path in sorted(removals, key=_removal_order, reverse=True):
            _remove(changed, path)
        return changed


def _removal_order(path: Steps) -> list[tuple[bool, Any]]:
    return [(isinstance(step, int), step) for step in path]


@lru_cache(maxsize=1024)
def compile_update(text: str, names: Names, types: Names) -> Update:
    """The UpdateExpression `text` with its #names and the types of its :values as pairs."""
    binder = _UpdateBinder(UPDATE, dict(names), dict(types))
    actions = parse_update(text)
    steps = [binder.action(action) for action in actions]
    check_paths(UPDATE, [step.path for step in steps])
    return Update(tuple(steps), frozenset(binder.used_names), frozenset(binder.used_values))


class _UpdateBinder(Binder):
    def action(self, action: Action) -> Step:
        path = self.steps(action.path)
        operand = action.operand
        if operand is None:
            return Step(action.clause, path, None)
        bound = self.sum(operand) if isinstance(operand, Arithmetic) else self.bind(operand)
        if action.clause in ("ADD", "DELETE"):
            allowed = ("N", "SS", "NS", "BS") if action.clause == "ADD" else ("SS", "NS", "BS")
            if bound.type not in allowed:
                self.refuse(
                    "Incorrect operand type for operator or function; "
                    f"operator: {action.clause}, operand type: {_LONG_NAMES[bound.type]}"
                )
        return Step(action.clause, path, bound.evaluate, operand.name if isinstance(operand, Placeholder) else "")

    def sum(self, tree: Arithmetic) -> Bound:
        left, right = self.bind(tree.left), self.bind(tree.right)
        for operand in (left, right):
            self.type_of(tree.operator, operand, ("N",))
        reckon = numbers.add if tree.operator == "+" else numbers.subtract
        return Bound(_reckoner(reckon, left.evaluate, right.evaluate), "N", None, "")

    def bind(self, operand: Operand) -> Bound:
        return self.sum(operand) if isinstance(operand, Arithmetic) else super().bind(operand)

    def bind_call(self, call: Call) -> Bound:
        arguments = self.resolve(call.arguments)
        self.count(call.function, arguments, 2)
        first, second = arguments
        a, b = first.evaluate, second.evaluate
        if call.function == "if_not_exists":
            self.needs_path(call.function, first)

            def if_not_exists(item: Item, values: Values) -> Value | None:
                found = a(item, values)
                return b(item, values) if found is None else found

            return Bound(if_not_exists, "", None, "")
        for operand in arguments:
            self.type_of(call.function, operand, ("L",))
        return Bound(_appender(a, b), "L", None, "")


def _present(value: Value | None) -> Value:
    if value is None:
        raise UpdateRefusal(MISSING)
    return value


def _appender(a: Evaluate, b: Evaluate) -> Evaluate:
    def append(item: Item, values: Values) -> Value:
        left, right = _present(a(item, values)), _present(b(item, values))
        if "L" not in left or "L" not in right:
            raise UpdateRefusal(BAD_TYPE)
        return {"L": [*left["L"], *right["L"]]}

    return append


def _reckoner(reckon: Callable[[str, str], str], a: Evaluate, b: Evaluate) -> Evaluate:
    def evaluate(item: Item, values: Values) -> Value:
        left, right = _present(a(item, values)), _present(b(item, values))
        if "N" not in left or "N" not in right:
            raise UpdateRefusal(BAD_TYPE)
        return {"N": reckon(left["N"], right["N"])}

    return evaluate


_UNCHANGED: Final[Value] = {}
"""Said by `_deleted` when there is nothing to take away."""


def _added(old: Value | None, value: Value) -> Value:
    """ADD: a sum, or the union of two sets of one type; AttributeUpdates may append to lists, too."""
    if old is None:
        return value
    ((tag, content),) = old.items()
    if tag not in value:
        raise UpdateRefusal(BAD_TYPE)
    if tag == "N":
        return {"N": numbers.add(content, value["N"])}
    if tag == "L":
        return {"L": [*content, *value["L"]]}
    present = set(content)
    return {tag: [*content, *(member for member in value[tag] if member not in present)]}


def _deleted(old: Value | None, value: Value) -> Value | None:
    """DELETE: the set without some members; None when none is left."""
    if old is None:
        return _UNCHANGED
    ((tag, content),) = old.items()
    if tag not in comparison.SETS or tag not in value:
        raise UpdateRefusal(BAD_TYPE)
    gone = set(value[tag])
    left = [member for member in content if member not in gone]
    return {tag: left} if left else None


def _bad_path() -> NoReturn:
    raise UpdateRefusal(BAD_PATH)


def _holder(item: Item, path: Steps) -> Any:
    """The map's dict or list's list that holds the path's last step, copied on the way so that `item`'s old
    values stay as they were."""
    container: Any = item
    for step, following in pairwise(path):
        try:
            value = container[step]
        except (KeyError, IndexError):
            _bad_path()
        tag = "L" if isinstance(following, int) else "M"
        if tag not in value:
            _bad_path()
        copied = value[tag].copy()
        container[step] = {tag: copied}
        container = copied
    return container


def _write(item: Item, path: Steps, value: Value) -> None:
    container, last = _holder(item, path), path[-1]
    if isinstance(last, int) and last >= len(container):
        container.append(value)
    else:
        container[last] = value


def _remove(item: Item, path: Steps) -> None:
    container, last = _holder(item, path), path[-1]
    if isinstance(last, int):
        if last < len(container):
            del container[last]
    else:
        container.pop(last, None)


def key_changes(update: Update, keys: Mapping[str, str]) -> str:
    """The first of `keys` that the update writes to, or ""."""
    return next((str(path[0]) for path in update.paths if path[0] in keys), "")
