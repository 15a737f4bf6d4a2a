"""Names on XML and query wires: the model's, and those that a service's model has lost."""

from tule.wire.dialects import Dialect
from tule.wire.models import Shape


class Naming:
    """How the shapes of one service are called on the wire."""

    __slots__ = ("_dialect",)

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def member(self, structure: Shape, name: str, member: Shape) -> str:
        """Of a structure's member, by locationName."""
        found = self._dialect.member_names.get(f"{structure.name}.{name}")
        return found or member.wire_name(name)

    def flat(self, structure: Shape, name: str, member: Shape) -> str:
        """Of each element of a flattened list: the element's own name goes before the member's."""
        if member.type == "list":
            own = self._dialect.element_names.get(member.name) or member.element.traits.get("locationName")
            if own:
                return str(own)
        return self.member(structure, name, member)

    def element(self, shape: Shape) -> str:
        """Of each element inside a list that is not flattened."""
        return str(shape.element.traits.get("locationName", "member"))

    def entry(self, shape: Shape) -> tuple[str, str]:
        """Of a map's keys and values."""
        found = self._dialect.map_names.get(shape.name)
        return found or (shape.key.wire_name("key"), shape.value.wire_name("value"))

    def flattened(self, shape: Shape) -> bool:
        return shape.flag("flattened") or shape.name in self._dialect.element_names
