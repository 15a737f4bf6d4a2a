"""The query protocol's requests: Action, Version and parameters with dots, in a form or a query string."""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from tule.kernel.errors import AwsError
from tule.wire.models import Shape
from tule.wire.naming import Naming
from tule.wire.scalars import scalar_reader

Read = Callable[[Any], Any]
Tree = dict[str, Any]

MAX_PARAMETERS: Final = 20_000
"""Of one request; the largest real ones (CloudWatch metric batches) have some thousands (ours)."""

MAX_DEPTH: Final = 60
"""Dots in a parameter's name; no model nests as deep (ours)."""


class MalformedQueryError(AwsError):
    """Parameters that make no sense together."""

    code = "MalformedQueryString"


def decode_form(text: str) -> dict[str, str]:
    """Names and values of a form; of repeated names the last one counts. Raises MalformedQueryError."""
    if text.count("&") > MAX_PARAMETERS:
        raise MalformedQueryError("The request has too many parameters.")
    form = {}
    try:
        for pair in text.split("&"):
            name, _, value = pair.partition("=")
            if name:
                form[_decoded(name)] = _decoded(value)
    except UnicodeDecodeError:
        raise MalformedQueryError("The parameters are not UTF-8.") from None
    return form


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text


def nested(form: Mapping[str, str]) -> Tree:
    """The parameters as a tree, by the dots in their names."""
    tree: Tree = {}
    for name, value in form.items():
        if "." not in name:
            _put(tree, name, value)
            continue
        parts = name.split(".")
        if len(parts) > MAX_DEPTH:
            raise MalformedQueryError(f"The parameter name {name[:100]}... has too many parts.")
        node = tree
        for part in parts[:-1]:
            below = node.get(part)
            if not isinstance(below, dict):
                below = node[part] = {} if below is None or below == "" else _clash(name)
            node = below
        _put(node, parts[-1], value)
    return tree


def _put(node: Tree, name: str, value: str) -> None:
    if isinstance(node.get(name), dict):
        if value:
            _clash(name)
        return  # an empty list or structure is announced by its bare name
    node[name] = value


def _clash(name: str) -> Any:
    raise MalformedQueryError(f"The parameter {name[:100]} is both a value and a structure.")


class QueryReader:
    """Compiles the shapes of one service."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming

    def of(self, shape: Shape) -> Read:
        """A function from a subtree to a value of `shape`."""
        if shape.type == "structure":
            return self.structure(shape)
        if shape.type == "list":
            return self._list(shape)
        if shape.type == "map":
            return self._map(shape)
        if shape.type == "blob":
            return _blob
        convert = scalar_reader(shape, "iso8601")
        kind = _JAVA.get(shape.type, "String")

        def read(value: Any) -> Any:
            if not isinstance(value, str):
                raise AwsError("Start of structure or map found where not expected.", code="MalformedInput")
            try:
                return convert(value)
            except (ValueError, OverflowError):
                article = "an" if kind[0] in "AEIOU" else "a"
                text = f"STRING_VALUE can not be converted to {article} {kind}"
                raise AwsError(text, code="MalformedInput") from None

        return read

    def structure(self, shape: Shape) -> Read:
        """Of a structure, members by their names."""
        made: list[tuple[str, str, Read]] = []
        prepared = False

        def prepare() -> None:
            for name, member in shape.members.items():
                flat = self._naming.flattened(member)
                wire = self._naming.flat(shape, name, member) if flat else self._naming.member(shape, name, member)
                made.append((wire, name, self.of(member)))

        def read(tree: Any) -> Any:
            nonlocal prepared
            if not prepared:
                prepare()
                prepared = True
            if tree == "":
                return {}
            if not isinstance(tree, dict):
                raise AwsError("Unexpected field type", code="MalformedInput")
            result = {}
            for wire, name, read_member in made:
                part = tree.get(wire)
                if part is not None:
                    result[name] = read_member(part)
            return result

        return read

    def _numbered(self, tree: Any, inner: str) -> list[Any]:
        """The parts of a list or map in the order of their numbers."""
        if isinstance(tree, dict) and inner:
            tree = tree.get(inner, "")
        if tree == "":
            return []
        if not isinstance(tree, dict):
            raise AwsError("Unexpected field type", code="MalformedInput")
        try:
            return [part for _, part in sorted((int(number[:9]), part) for number, part in tree.items())]
        except (ValueError, TypeError):
            raise MalformedQueryError("The elements of a list must be numbered, each once.") from None

    def _list(self, shape: Shape) -> Read:
        made: list[Read] = []
        inner = "" if self._naming.flattened(shape) else self._naming.element(shape)

        def read(tree: Any) -> Any:
            if not made:
                made.append(self.of(shape.element))
            return [made[0](part) for part in self._numbered(tree, inner)]

        return read

    def _map(self, shape: Shape) -> Read:
        made: list[Read] = []
        key_name, value_name = self._naming.entry(shape)
        inner = "" if shape.flag("flattened") else "entry"

        def read(tree: Any) -> Any:
            if not made:
                made.append(self.of(shape.value))
            result = {}
            for part in self._numbered(tree, inner):
                if not isinstance(part, dict) or not isinstance(key := part.get(key_name), str):
                    raise MalformedQueryError("An entry of a map has no key.")
                result[key] = made[0](part.get(value_name, ""))
            return result

        return read


_JAVA: Final = {
    "integer": "Integer",
    "long": "Long",
    "float": "Float",
    "double": "Double",
    "boolean": "Boolean",
    "timestamp": "Timestamp",
}


def _blob(value: Any) -> bytes:
    if not isinstance(value, str):
        raise AwsError("Start of structure or map found where not expected.", code="MalformedInput")
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise AwsError("The blob is not base64.", code="MalformedInput") from None
