"""XML bodies as parameters, by functions compiled from the model."""

import binascii
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree as ET

from tule.kernel.errors import AwsError
from tule.wire.models import Shape
from tule.wire.naming import Naming
from tule.wire.scalars import scalar_reader

Read = Callable[[ET.Element], Any]

MAX_DEPTH: Final = 100
"""Of nested elements; no model is deeper than a dozen (ours)."""


class MalformedXmlError(AwsError):
    """The body is not the XML that the operation takes."""

    code = "MalformedXML"

    def __init__(self) -> None:
        super().__init__("The XML you provided was not well-formed or did not validate against our published schema")


class _Builder(ET.TreeBuilder):
    """Refuses document types, and with them every trick with entities, and bottomless nesting."""

    depth = 0

    def doctype(self, *_: Any) -> None:
        raise MalformedXmlError

    def start(self, tag: Any, attrs: Any, /) -> ET.Element:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise MalformedXmlError
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> ET.Element:
        self.depth -= 1
        return super().end(tag)


def parse_document(body: bytes) -> ET.Element:
    """The root element, with namespaces taken off all names."""
    parser = ET.XMLParser(target=_Builder())  # noqa: S314 - see _Builder
    try:
        parser.feed(body)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:
        raise MalformedXmlError from error
    for element in root.iter():
        element.tag = _local(element.tag)
    return root


def _local(name: str) -> str:
    return name.rpartition("}")[2]


@dataclass(slots=True)
class _Plan:
    """A structure's members by what they are called: (name, how to read one, whether several make the value)."""

    elements: dict[str, tuple[str, Read, bool]] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


class XmlReader:
    """Compiles the shapes of one service."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming

    def of(self, shape: Shape) -> Read:
        """A function that reads a value of `shape` from its element."""
        if shape.type == "structure":
            return self.structure(shape)
        if shape.type == "list":
            return self._list(shape)
        if shape.type == "map":
            return self._map(shape)
        if shape.type == "blob":
            return _blob
        convert = scalar_reader(shape, "iso8601")

        def read(element: ET.Element) -> Any:
            try:
                return convert(element.text or "")
            except ValueError:
                raise MalformedXmlError from None

        return read

    def structure(self, shape: Shape, *, body_only: bool = False) -> Read:
        """Of a structure: its members by element name, attributes by theirs."""
        plans: list[_Plan] = []

        def read(element: ET.Element) -> Any:
            if not plans:
                plans.append(self._plan(shape, body_only=body_only))
            plan = plans[0]
            result: dict[str, Any] = {}
            for child in element:
                member = plan.elements.get(child.tag)
                if member is None:
                    continue
                name, read_member, gathers = member
                value = read_member(child)
                if not gathers:
                    result[name] = value
                elif isinstance(value, list):
                    result.setdefault(name, []).extend(value)
                else:
                    result.setdefault(name, {}).update(value)
            for attribute, text in element.attrib.items():
                if (named := plan.attributes.get(_local(attribute))) is not None:
                    result[named] = text
            return result

        return read

    def _plan(self, shape: Shape, *, body_only: bool) -> "_Plan":
        plan = _Plan()
        for name, member in shape.members.items():
            if body_only and member.location:
                continue
            wire = self._naming.member(shape, name, member)
            if member.flag("xmlAttribute"):
                plan.attributes[wire.rpartition(":")[2]] = name
                continue
            gathers = self._naming.flattened(member) and member.type in ("list", "map")
            plan.elements[wire] = (name, self._flat(member) if gathers else self.of(member), gathers)
            if gathers:
                plan.elements.setdefault(self._naming.flat(shape, name, member), plan.elements[wire])
        return plan

    def _flat(self, shape: Shape) -> Read:
        """One element of a flattened list or map, as a list or map of one."""
        if shape.type == "map":
            entry = self._entry(shape)
            return lambda element: dict([entry(element)])
        made: list[Read] = []

        def read(element: ET.Element) -> Any:
            if not made:
                made.append(self.of(shape.element))
            return [made[0](element)]

        return read

    def _list(self, shape: Shape) -> Read:
        made: list[Read] = []
        tag = self._naming.element(shape)

        def read(element: ET.Element) -> Any:
            if not made:
                made.append(self.of(shape.element))
            return [made[0](child) for child in element if child.tag == tag]

        return read

    def _map(self, shape: Shape) -> Read:
        entry = self._entry(shape)
        return lambda element: dict(entry(child) for child in element if child.tag == "entry")

    def _entry(self, shape: Shape) -> Callable[[ET.Element], tuple[str, Any]]:
        made: list[Read] = []
        key_tag, value_tag = self._naming.entry(shape)

        def read(element: ET.Element) -> tuple[str, Any]:
            if not made:
                made.append(self.of(shape.value))
            key, value = element.find(key_tag), element.find(value_tag)
            if key is None or value is None:
                raise MalformedXmlError
            return key.text or "", made[0](value)

        return read


def _blob(element: ET.Element) -> bytes:
    try:
        return b64decode("".join((element.text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedXmlError from None
