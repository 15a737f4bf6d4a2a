"""From trees to closures: placeholders resolved, operands checked, in the order in which AWS complains.

What is compiled depends on names and on the *types* of values alone, so it is kept and used again with other values;
the few checks that need the values themselves run with each use.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from tule.languages.dynamodb import comparison
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.syntax import Call, Operand, Path, Placeholder
from tule.languages.dynamodb.values import TYPES, Item, Value

Steps = tuple[str | int, ...]
"""A document path with its real names: ("a", 1, "b") for a[1].b."""

Values = Mapping[str, Value]
Evaluate = Callable[[Item, Values], Value | None]
Check = Callable[[Values], None]

ALL_TYPES: Final = "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}"
VALID_TYPES: Final = "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}"


def shown(steps: Steps) -> str:
    """A path as AWS prints it: [a, b, [1], c]."""
    return "[" + ", ".join(f"[{step}]" if isinstance(step, int) else step for step in steps) + "]"


def fetch(item: Item, steps: Steps) -> Value | None:
    """The value at a path, or None if the item has nothing there."""
    value: Any = item.get(str(steps[0]))
    for step in steps[1:]:
        if value is None:
            return None
        if isinstance(step, int):
            members = value.get("L")
            value = members[step] if members is not None and step < len(members) else None
        else:
            members = value.get("M")
            value = members.get(step) if members is not None else None
    return value  # type: ignore[no-any-return]  # wire values are untyped


def fetcher(steps: Steps) -> Evaluate:
    """`fetch` for a path known beforehand."""
    if len(steps) == 1:
        name = str(steps[0])
        return lambda item, _values: item.get(name)
    return lambda item, _values: fetch(item, steps)


class Binder:
    """Resolves one expression against its names and the types of its values, and notes what it used."""

    def __init__(self, kind: str, names: Mapping[str, str], types: Mapping[str, str]) -> None:
        self.kind = kind
        self.names = names
        self.types = types
        self.used_names: set[str] = set()
        self.used_values: set[str] = set()
        self.checks: list[Check] = []
        self.paths: list[Steps] = []

    def refuse(self, message: str) -> NoReturn:
        raise Refusal(f"Invalid {self.kind}: {message}")

    def steps(self, path: Path) -> Steps:
        """The path with its #names replaced."""
        resolved: list[str | int] = []
        for part in path.parts:
            if isinstance(part, str) and part[0] == "#":
                if part not in self.names:
                    self.refuse(
                        f"An expression attribute name used in the document path is not defined; attribute name: {part}"
                    )
                self.used_names.add(part)
                resolved.append(self.names[part])
            else:
                resolved.append(part)
        steps = tuple(resolved)
        self.paths.append(steps)
        return steps

    def value_type(self, placeholder: Placeholder) -> str:
        name = placeholder.name
        if name not in self.types:
            self.refuse(f"An expression attribute value used in expression is not defined; attribute value: {name}")
        self.used_values.add(name)
        return self.types[name]

    def resolve(self, operands: Sequence[Operand]) -> list["Bound"]:
        return [self.bind(operand) for operand in operands]

    def bind(self, operand: Operand) -> "Bound":
        """An operand ready to be evaluated."""
        if isinstance(operand, Path):
            steps = self.steps(operand)
            return Bound(fetcher(steps), "", steps, "")
        if isinstance(operand, Placeholder):
            tag, name = self.value_type(operand), operand.name
            return Bound(lambda _item, values: values[name], tag, None, name)
        assert isinstance(operand, Call)
        return self.bind_call(operand)

    def bind_call(self, call: Call) -> "Bound":
        """`size`, the one function that conditions allow as an operand."""
        arguments = self.resolve(call.arguments)
        self.count(call.function, arguments, 1)
        inner = arguments[0]
        self.type_of("size", inner, ("S", "B", "SS", "NS", "BS", "L", "M"))
        evaluate = inner.evaluate

        def size(item: Item, values: Values) -> Value | None:
            value = evaluate(item, values)
            length = None if value is None else comparison.size_of(value)
            return None if length is None else {"N": str(length)}

        return Bound(size, "N", None, "")

    def count(self, function: str, arguments: Sequence["Bound"], wanted: int) -> None:
        if len(arguments) != wanted:
            self.refuse(
                "Incorrect number of operands for operator or function; "
                f"operator or function: {function}, number of operands: {len(arguments)}"
            )

    def count_in(self, options: int, most: int) -> None:
        if options > most:
            self.refuse(
                "Incorrect number of operands for operator or function; "
                f"operator or function: IN, number of operands: {options}"
            )

    def type_of(self, operator: str, operand: "Bound", allowed: Sequence[str]) -> None:
        """Refuse an operand whose type is known and not among `allowed`."""
        if operand.type and operand.type not in allowed:
            self.refuse(
                "Incorrect operand type for operator or function; "
                f"operator or function: {operator}, operand type: {operand.type}"
            )

    def needs_path(self, function: str, operand: "Bound") -> None:
        if operand.steps is None:
            self.refuse(f"Operator or function requires a document path; operator or function: {function}")

    def distinct(self, operator: str, operands: Sequence["Bound"]) -> None:
        first = operands[0].steps
        if first is not None and any(other.steps == first for other in operands[1:]):
            self.refuse(
                "The first operand must be distinct from the remaining operands for this operator or function; "
                f"operator: {operator}, first operand: {shown(first)}"
            )

    def type_name(self, operand: "Bound") -> None:
        """The second operand of attribute_type: a :value that names a type."""
        if operand.type != "S" or not operand.placeholder:
            self.refuse(
                "Incorrect operand type for operator or function; operator or function: attribute_type, "
                f"operand type: {operand.type or ALL_TYPES}"
            )
        name = operand.placeholder

        def check(values: Values) -> None:
            wanted = values[name]["S"]
            if wanted not in TYPES:
                self.refuse(f"Invalid attribute type name found; type: {wanted}, valid types: {VALID_TYPES}")

        self.checks.append(check)

    def bounds(self, low: "Bound", high: "Bound") -> None:
        """Literal bounds of BETWEEN: of one type, and in order."""
        if not (low.placeholder and high.placeholder):
            return
        lower, upper = low.placeholder, high.placeholder

        def printed(values: Values) -> str:
            return (
                f"lower bound operand: AttributeValue: {literal(values[lower])}, "
                f"upper bound operand: AttributeValue: {literal(values[upper])}"
            )

        def check(values: Values) -> None:
            first, last = comparison.order_key(values[lower]), comparison.order_key(values[upper])
            assert first is not None
            assert last is not None
            if first[0] != last[0]:
                self.refuse(
                    "The BETWEEN operator requires same data type for lower and upper bounds; " + printed(values)
                )
            if first > last:
                self.refuse(
                    "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
                    + printed(values)
                )

        self.checks.append(check)


class Bound:
    """An operand after binding."""

    __slots__ = ("evaluate", "placeholder", "steps", "type")

    def __init__(self, evaluate: Evaluate, tag: str, steps: Steps | None, placeholder: str) -> None:
        self.evaluate = evaluate
        self.type = tag
        """Its type where that is known beforehand (values and functions), else ""."""
        self.steps = steps
        """The path, if it is one."""
        self.placeholder = placeholder
        """The :value's name, if it is one."""


def literal(value: Value) -> str:
    """A value as AWS prints it in messages: {S:text}."""
    ((tag, content),) = value.items()
    return f"{{{tag}:{content}}}"


def check_paths(kind: str, paths: Sequence[Steps]) -> None:
    """Refuse paths of which one contains another, or that need one value to be a map and a list."""
    if _disjoint(paths):
        return
    for index, one in enumerate(paths):
        for other in paths[index + 1 :]:
            _check_pair(kind, one, other)


def _disjoint(paths: Sequence[Steps]) -> bool:
    """Whether `check_paths` has nothing to say, in one pass: the pairs are looked at only for the message."""
    tree: dict[str | int, Any] = {}
    for steps in paths:
        branch, grown = tree, False
        for step in steps:
            if step not in branch:
                if branch and isinstance(next(iter(branch)), int) != isinstance(step, int):
                    return False
                branch[step] = {}
                grown = True
            elif not branch[step]:
                return False
            branch = branch[step]
        if not grown or branch:
            return False
    return True


def _check_pair(kind: str, one: Steps, other: Steps) -> None:
    for a, b in zip(one, other, strict=False):
        if a == b:
            continue
        if isinstance(a, int) != isinstance(b, int):
            raise Refusal(
                f"Invalid {kind}: Two document paths conflict with each other; must remove or rewrite one of these "
                f"paths; path one: {shown(one)}, path two: {shown(other)}"
            )
        return
    raise Refusal(
        f"Invalid {kind}: Two document paths overlap with each other; must remove or rewrite one of these paths; "
        f"path one: {shown(one)}, path two: {shown(other)}"
    )
