"""Results as XML, by functions compiled from the model."""

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from tule.wire.models import Shape
from tule.wire.naming import Naming
from tule.wire.timestamps import FORMATTERS, iso8601

RESULT_PLACES: Final = frozenset({"header", "headers", "statusCode"})
"""Where members of a result travel outside the body; labels and query strings are for requests alone."""

Write = Callable[[list[str], Any], None]

_SPECIAL: Final = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\x85\u2028\ufffe\uffff]')
_NAMED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def escape(text: str) -> str:
    """Text for content and attributes; what XML 1.0 has no letter for becomes a character reference, as S3 does it."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _NAMED.get(found[0]) or f"&#x{ord(found[0]):X};", text)


class XmlWriter:
    """Compiles the shapes of one service; `moment` is how it writes timestamps that say nothing of their format."""

    def __init__(self, naming: Naming, moment: Callable[[float], str] = iso8601) -> None:
        self._naming = naming
        self._moment = moment

    def text_of(self, shape: Shape) -> Callable[[Any], str]:
        """A scalar as text, escaped."""
        if shape.type == "boolean":
            return lambda value: "true" if value else "false"
        if shape.type == "blob":
            return lambda value: b64encode(value if isinstance(value, bytes) else str(value).encode()).decode()
        if shape.type == "timestamp":
            style = shape.traits.get("timestampFormat")
            return FORMATTERS[style] if style else self._moment
        if shape.type in ("float", "double"):
            return spelled
        return lambda value: escape(str(value))

    def element(self, shape: Shape, tag: str) -> Write:
        """A function that writes a value of `shape` as an element (or, flattened, several) called `tag`."""
        if shape.type == "structure":
            return self._structure(shape, tag)
        if shape.type == "list":
            return self._list(shape, tag)
        if shape.type == "map":
            return self._map(shape, tag)
        text_of, head, tail = self.text_of(shape), f"<{tag}{declaration(shape)}>", f"</{tag}>"
        return lambda out, value: out.append(f"{head}{text_of(value)}{tail}")

    def content(self, shape: Shape, *, body_only: bool = False) -> Write:
        """A function that writes a structure's members without an element around them."""
        made: list[tuple[str, Write]] = []
        prepared = False

        def write(out: list[str], value: Any) -> None:
            nonlocal prepared
            if not prepared:
                made.extend(self._members(shape, body_only=body_only))
                prepared = True
            for name, write_member in made:
                part = value.get(name)
                if part is not None:
                    write_member(out, part)

        return write

    def _members(self, shape: Shape, *, body_only: bool) -> list[tuple[str, Write]]:
        members = []
        for name, member in shape.members.items():
            if member.flag("xmlAttribute") or (body_only and member.location in RESULT_PLACES):
                continue
            flat = self._naming.flattened(member)
            tag = self._naming.flat(shape, name, member) if flat else self._naming.member(shape, name, member)
            members.append((name, self.element(member, tag)))
        return members

    def _structure(self, shape: Shape, tag: str) -> Write:
        head, tail, inside = f"<{tag}{declaration(shape)}", f"</{tag}>", self.content(shape)
        attributes = self.attributes(shape)

        def write(out: list[str], value: Any) -> None:
            out.append(f"{head}{attributes(value)}>")
            inside(out, value)
            out.append(tail)

        return write

    def attributes(self, shape: Shape) -> Callable[[Any], str]:
        """A function that gives the attributes of a structure's element."""
        named = [
            (name, self._naming.member(shape, name, member))
            for name, member in shape.members.items()
            if member.flag("xmlAttribute")
        ]
        if not named:
            return lambda _: ""
        return lambda value: "".join(
            f' {wire}="{escape(str(value[name]))}"' for name, wire in named if value.get(name) is not None
        )

    def _list(self, shape: Shape, tag: str) -> Write:
        made: list[Write] = []
        flattened = self._naming.flattened(shape)
        inner = tag if flattened else self._naming.element(shape)
        head, tail = f"<{tag}{declaration(shape)}>", f"</{tag}>"

        def write(out: list[str], value: Any) -> None:
            if not made:
                made.append(self.element(shape.element, inner))
            write_element = made[0]
            if not flattened:
                out.append(head)
            for part in value:
                write_element(out, part)
            if not flattened:
                out.append(tail)

        return write

    def _map(self, shape: Shape, tag: str) -> Write:
        made: list[Write] = []
        flattened = shape.flag("flattened")
        key_tag, value_tag = self._naming.entry(shape)
        entry = tag if flattened else "entry"

        def write(out: list[str], value: Any) -> None:
            if not made:
                made.extend((self.element(shape.key, key_tag), self.element(shape.value, value_tag)))
            write_key, write_value = made
            if not flattened:
                out.append(f"<{tag}{declaration(shape)}>")
            for key, part in value.items():
                out.append(f"<{entry}>")
                write_key(out, key)
                write_value(out, part)
                out.append(f"</{entry}>")
            if not flattened:
                out.append(f"</{tag}>")

        return write


def spelled(value: float) -> str:
    """A number as XML and headers have it."""
    if value - value != 0:
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")  # noqa: PLR0124 - only NaN differs from itself
    return repr(value)


def declaration(shape: Shape) -> str:
    """The namespace that an element of `shape` declares."""
    space = shape.traits.get("xmlNamespace")
    if not space:
        return ""
    if isinstance(space, str):
        return f' xmlns="{space}"'
    prefix = f":{space['prefix']}" if space.get("prefix") else ""
    return f' xmlns{prefix}="{space["uri"]}"'
