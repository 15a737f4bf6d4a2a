"""Between a model's member names and values and those of a JSON body, where the two differ."""

from collections.abc import Callable
from typing import Any

from tule.wire.models import Shape
from tule.wire.timestamps import FORMATTERS
from tule.wire.xml_writing import RESULT_PLACES

Reshape = Callable[[Any], Any]


class _Reshaping:
    """Compiles functions for one direction; None where nothing has to be done."""

    def __init__(self) -> None:
        self._made: dict[str, Reshape | None] = {}
        self._making: set[str] = set()

    def of(self, shape: Shape) -> Reshape | None:
        if shape.flag("document"):
            return None
        if shape.type in ("structure", "list", "map"):
            if not self._touches(shape, set()):
                return None
            if shape.name in self._making:
                return lambda value: self._again(shape.name, value)
            if shape.name not in self._made:
                self._making.add(shape.name)
                self._made[shape.name] = self._compound(shape)
                self._making.discard(shape.name)
            return self._made[shape.name]
        return self.scalar(shape)

    def _touches(self, shape: Shape, seen: set[str]) -> bool:
        """Whether anything inside needs reshaping: a shape that contains itself may need none (AttributeValue)."""
        if shape.flag("document"):
            return False
        if shape.type not in ("structure", "list", "map"):
            return self.scalar(shape) is not None
        if shape.name in seen:
            return False
        seen.add(shape.name)
        if shape.type == "list":
            return self._touches(shape.element, seen)
        if shape.type == "map":
            return self._touches(shape.value, seen)
        return any(
            member.wire_name(name) != name or self._touches(member, seen)
            for name, member in body_members(shape).items()
        )

    def _again(self, name: str, value: Any) -> Any:
        reshape = self._made[name]
        return value if reshape is None else reshape(value)

    def _compound(self, shape: Shape) -> Reshape | None:
        if shape.type == "list":
            inner = self.of(shape.element)
            return None if inner is None else lambda value: [inner(part) for part in value]
        if shape.type == "map":
            held = self.of(shape.value)
            return None if held is None else lambda value: {name: held(part) for name, part in value.items()}
        return self.structure(shape)

    def scalar(self, shape: Shape) -> Reshape | None:
        raise NotImplementedError

    def structure(self, shape: Shape) -> Reshape | None:
        raise NotImplementedError


def body_members(shape: Shape) -> dict[str, Shape]:
    """Members that travel in the body."""
    return {name: member for name, member in shape.members.items() if not member.location}


def result_members(shape: Shape) -> dict[str, Shape]:
    """Members of a result that travel in the body."""
    return {name: member for name, member in shape.members.items() if member.location not in RESULT_PLACES}


class Inward(_Reshaping):
    """From a decoded body to parameters: names only, the values are right already."""

    def scalar(self, shape: Shape) -> Reshape | None:
        del shape
        return None

    def structure(self, shape: Shape) -> Reshape | None:
        plan = {member.wire_name(name): (name, self.of(member)) for name, member in body_members(shape).items()}
        if all(wire == name and inner is None for wire, (name, inner) in plan.items()):
            return None

        def reshape(value: Any) -> Any:
            result = {}
            for wire, part in value.items():
                name, inner = plan[wire]
                result[name] = part if inner is None else inner(part)
            return result

        return reshape


class Outward(_Reshaping):
    """From a result to what is encoded: names, and timestamps that are no numbers on this wire."""

    def scalar(self, shape: Shape) -> Reshape | None:
        if shape.type == "timestamp":
            style = shape.traits.get("timestampFormat", "unixTimestamp")
            return None if style == "unixTimestamp" else FORMATTERS[style]
        if shape.type in ("float", "double"):
            return _spelled
        return None

    def structure(self, shape: Shape) -> Reshape | None:
        plan = {name: (member.wire_name(name), self.of(member)) for name, member in result_members(shape).items()}
        if all(wire == name and inner is None for name, (wire, inner) in plan.items()):
            return None

        def reshape(value: Any) -> Any:
            if not isinstance(value, dict):
                return value  # JSON that is to be spliced in
            result = {}
            for name, part in value.items():
                wire, inner = plan[name]
                result[wire] = part if inner is None or part is None else inner(part)
            return result

        return reshape


def _spelled(value: float) -> Any:
    """JSON has no numbers for these; AWS spells them out."""
    if value - value == 0:
        return value
    return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")  # noqa: PLR0124 - only NaN differs from itself
