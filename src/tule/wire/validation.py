"""A request against its model's constraints, in AWS's sentences.

A compiled predicate decides on every request; the sentences are only made for requests that fail it.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from tule.wire.dialects import Dialect
from tule.wire.models import OperationModel, Shape

Accepts = Callable[[Any], bool]

MOST_TOLD: Final = 10
"""AWS prints and counts at most ten violations (dynamodb_errors: section 3)."""

_SCALARS_WITH_LENGTH: Final = frozenset({"string", "blob"})
_NUMBERS: Final = frozenset({"integer", "long", "float", "double"})
_JAVA_CLASSES: Final = {
    "Alnum": "a-zA-Z0-9",
    "Alpha": "a-zA-Z",
    "ASCII": r"\x00-\x7f",
    "Digit": "0-9",
    "Graph": "!-~",
    "Lower": "a-z",
    "Print": " -~",
    "Punct": r"!-/:-@\[-`{-~",
    "Upper": "A-Z",
}
_ALL_SCRIPTS: Final = {
    "L": r"\w",
    "IsAlphabetic": r"\w",
    "N": r"\d",
    "Nd": r"\d",
    "Z": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    "Zs": r" \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000",
}
_JAVA_CLASS: Final = re.compile(r"\\(?:[pP]\{(?P<name>\w+)\}|.)|[\[\]]", re.DOTALL)


@cache
def matcher(pattern: str) -> Accepts:
    """Whether a whole text matches a Java pattern; one that Python has no equal for accepts everything."""
    translated, flags = _translated(pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of sets inside sets, which Java has and Python has not
            compiled = re.compile(translated, flags)
    except (re.error, FutureWarning):
        return _accept_all
    return lambda text: compiled.fullmatch(text) is not None


def _translated(pattern: str) -> tuple[str, re.RegexFlag]:
    """The pattern with Java's named classes of letters spelled out, and how to compile it.

    Letters of all scripts (\\p{L}) are Python's \\w, which has digits and the underscore too.
    """
    depth, parts, at, flags = 0, [], 0, re.ASCII
    for found in _JAVA_CLASS.finditer(pattern):
        name = found["name"]
        if found[0] == "[":
            depth += 1
        elif found[0] == "]":
            depth = max(depth - 1, 0)
        if name is None or found[0][1] == "P":
            continue  # Python refuses what is left, and then everything is accepted
        if name in _ALL_SCRIPTS:
            flags = re.UNICODE
        letters = _ALL_SCRIPTS.get(name) or _JAVA_CLASSES.get(name)
        if letters is None:
            continue
        parts.append(pattern[at : found.start()] + (letters if depth else f"[{letters}]"))
        at = found.end()
    return "".join(parts) + pattern[at:], flags


def _accept_all(_: Any) -> bool:
    return True


def _bounds(shape: Shape) -> tuple[float | None, float | None]:
    return shape.traits.get("min"), shape.traits.get("max")


class Predicates:
    """Compiles predicates; None where every value is acceptable."""

    def __init__(self, *, required_only: bool) -> None:
        self._required_only = required_only
        self._made: dict[str, Accepts | None] = {}
        self._making: set[str] = set()

    def of(self, shape: Shape) -> Accepts | None:
        if shape.flag("document"):
            return None
        if shape.name in self._making:
            return lambda value: (again := self._made[shape.name]) is None or again(value)
        if shape.name not in self._made:
            self._making.add(shape.name)
            self._made[shape.name] = self._compile(shape)
            self._making.discard(shape.name)
        return self._made[shape.name]

    def _compile(self, shape: Shape) -> Accepts | None:
        if shape.type == "structure":
            return self._structure(shape)
        checks = [] if self._required_only else list(_own_checks(shape))
        if shape.type == "list" and (element := self.of(shape.element)) is not None:
            checks.append(lambda value: all(map(element, value)))
        if shape.type == "map":
            if (key := self.of(shape.key)) is not None:
                checks.append(lambda value: all(map(key, value)))
            if (held := self.of(shape.value)) is not None:
                checks.append(lambda value: all(map(held, value.values())))
        if not checks:
            return None
        if len(checks) == 1:
            return checks[0]
        return lambda value: all(check(value) for check in checks)

    def _structure(self, shape: Shape) -> Accepts | None:
        required = tuple(shape.required)
        checks = []
        for name, member in shape.members.items():
            check = self.of(member)
            if check is not None:
                checks.append((name, check))
        if not required and not checks:
            return None

        def accepts(value: Any) -> bool:
            for name in required:
                if name not in value:
                    return False
            for name, check in checks:
                part = value.get(name)
                if part is not None and not check(part):
                    return False
            return True

        return accepts


def _own_checks(shape: Shape) -> Iterator[Accepts]:
    low, high = _bounds(shape)
    if shape.type in _NUMBERS:
        if low is not None:
            yield lambda value: value >= low
        if high is not None:
            yield lambda value: value <= high
        return
    if shape.type in _SCALARS_WITH_LENGTH and shape.flag("streaming"):
        return
    if low is not None and low > 0:
        yield lambda value: len(value) >= low
    if high is not None:
        yield lambda value: len(value) <= high
    if shape.type == "string":
        if "pattern" in shape.traits:
            yield matcher(shape.traits["pattern"])
        if "enum" in shape.traits:
            yield frozenset(shape.traits["enum"]).__contains__


def printed(shape: Shape, value: Any) -> str:
    """A value inside a sentence, as Java's toString has it."""
    if shape.type == "list" and value is not None:
        return f"[{', '.join(printed(shape.element, part) for part in value)}]"
    if shape.type == "map" and value is not None:
        return "{" + ", ".join(f"{key}={printed(shape.value, part)}" for key, part in value.items()) + "}"
    if shape.type == "structure" and value is not None:
        parts = (f"{_lower_first(name)}={printed(member, value.get(name))}" for name, member in shape.members.items())
        return f"{shape.name}({', '.join(parts)})"
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]


class Sentences:
    """Violations of one request, in the model's order."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def of(self, shape: Shape, value: Any, path: str = "") -> Iterator[str]:
        """`Value 'x' at 'path' failed to satisfy constraint: ...` for every constraint that `value` violates."""
        if shape.flag("document"):
            return
        if shape.type == "structure":
            yield from self._structure(shape, value, path)
            return
        yield from (_sentence(shape, value, path, rule) for rule in _broken(shape, value))
        if shape.type == "list":
            yield from self._list(shape, value, path)
        elif shape.type == "map":
            yield from self._map(shape, value, path)

    def _structure(self, shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
        required = set(shape.required)
        for name, member in shape.members.items():
            inner = f"{path}.{_lower_first(name)}" if path else _lower_first(name)
            part = value.get(name)
            if part is not None:
                yield from self.of(member, part, inner)
            elif name in required:
                yield f"Value null at '{inner}' failed to satisfy constraint: Member must not be null"

    def _list(self, shape: Shape, value: list[Any], path: str) -> Iterator[str]:
        element = shape.element
        if element.type in ("structure", "list", "map"):
            for number, part in enumerate(value, 1):
                yield from self.of(element, part, f"{path}.{number}.member")
        elif any(next(_broken(element, part), None) for part in value):
            rules = self._rules(element)
            yield _sentence(shape, value, path, f"Member must satisfy constraint: [{', '.join(rules)}]")

    def _rules(self, shape: Shape) -> list[str]:
        """All constraints of what a list or map holds; AWS prints them together."""
        rules = [text for text, _ in _rule_texts(shape)]
        return [*rules, "Member must not be null"] if self._dialect.list_members_not_null else rules

    def _map(self, shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
        if any(next(_broken(shape.key, key), None) for key in value):
            rule = f"Map keys must satisfy constraint: [{', '.join(self._rules(shape.key))}]"
            yield _sentence(shape, value, path, rule)
        held = shape.value
        if held.type in ("structure", "list", "map"):
            for key, part in value.items():
                yield from self.of(held, part, f"{path}.{key}.member")
        elif any(next(_broken(held, part), None) for part in value.values()):
            rule = f"Map value must satisfy constraint: [{', '.join(self._rules(held))}]"
            yield _sentence(shape, value, path, rule)


def _sentence(shape: Shape, value: Any, path: str, rule: str) -> str:
    told = "" if shape.flag("sensitive") else f" '{printed(shape, value)}'"
    return f"Value{told} at '{path}' failed to satisfy constraint: {rule}"


def _rule_texts(shape: Shape) -> Iterator[tuple[str, Accepts]]:
    """AWS prints the upper bound first."""
    low, high = _bounds(shape)
    kind = "have value" if shape.type in _NUMBERS else "have length"
    size: Callable[[Any], Any] = (lambda value: value) if shape.type in _NUMBERS else len
    if high is not None:
        yield f"Member must {kind} less than or equal to {high}", lambda value: size(value) <= high
    if low is not None:
        yield f"Member must {kind} greater than or equal to {low}", lambda value: size(value) >= low
    if shape.type == "string":
        if "pattern" in shape.traits:
            pattern = shape.traits["pattern"]
            yield f"Member must satisfy regular expression pattern: {pattern}", matcher(pattern)
        if "enum" in shape.traits:
            values = shape.traits["enum"]
            yield f"Member must satisfy enum value set: [{', '.join(values)}]", frozenset(values).__contains__


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    if shape.type in ("structure", "boolean", "timestamp") or (shape.type == "blob" and shape.flag("streaming")):
        return
    for text, accepts in _rule_texts(shape):
        if not accepts(value):
            yield text


def violations(operation: OperationModel, parameters: Mapping[str, Any], dialect: Dialect) -> list[str]:
    """Every constraint of the model that `parameters` violate, as sentences."""
    return [] if operation.input is None else list(Sentences(dialect).of(operation.input, parameters))


def envelope(sentences: list[str]) -> str:
    """`1 validation error detected: ...`."""
    told = sentences[:MOST_TOLD]
    return f"{len(told)} validation error{'s' if len(told) != 1 else ''} detected: {'; '.join(told)}"
