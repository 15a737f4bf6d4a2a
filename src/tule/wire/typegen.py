"""Writes the TypedDicts of a service's requests and results: `python -m tule.wire.typegen sqs SendMessage ...`.

The file is `services/<service>/api.py`. With no operation named, those of the file at hand are written again, so that a
change of botocore's version is one command for each service.
"""

import builtins
import keyword
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import tule
from tule.wire.dialects import Dialect, dialect_of
from tule.wire.models import ServiceModel, Shape, load

_SCALARS = {
    "string": "str",
    "character": "str",
    "integer": "int",
    "long": "int",
    "biginteger": "int",
    "float": "float",
    "double": "float",
    "bigdecimal": "float",
    "boolean": "bool",
    "timestamp": "float",
    "blob": "bytes",
}
_COMMAND = re.compile(r"tule\.wire\.typegen (\S+)((?:\s+\w+)+)`")


class TypeWriter:
    """Collects the classes that some operations need, each once, in the order of first use."""

    def __init__(self, model: ServiceModel, dialect: Dialect) -> None:
        self._model = model
        self._dialect = dialect
        self.classes: dict[str, str] = {}
        self._kept: set[str] = set()

    def add(self, operation: str) -> None:
        """The classes of an operation: <Operation>Input and <Operation>Output, and what they hold."""
        model = self._model.operations[operation]
        raw = self._dialect.raw_members.get(operation, frozenset())
        for suffix, shape in (("Input", model.input), ("Output", model.output)):
            name = f"{operation}{suffix}"
            if shape is None:
                self.classes.setdefault(name, f"class {name}(TypedDict):\n    pass\n")
            else:
                self._structure(shape, name, raw if suffix == "Input" else frozenset(), kept=False)

    def type_of(self, shape: Shape, *, kept: bool) -> str:
        """The annotation of a value of `shape`."""
        kept = kept or shape.name in self._dialect.kept_shapes
        if shape.flag("document") or shape.flag("eventstream"):
            return "Any"
        if shape.type == "blob":
            if shape.flag("streaming"):
                return "bytes | AsyncIterator[bytes]"
            return "str" if kept else "bytes"
        scalar = _SCALARS.get(shape.type)
        return scalar or self._compound(shape, kept=kept)

    def _compound(self, shape: Shape, *, kept: bool) -> str:
        if shape.type == "list":
            return f"list[{self.type_of(shape.element, kept=kept)}]"
        if shape.type == "map":
            return f"dict[str, {self.type_of(shape.value, kept=kept)}]"
        name = f"{shape.name}Structure" if hasattr(builtins, shape.name) else shape.name
        return f'"{self._structure(shape, name, frozenset(), kept=kept)}"'

    def _structure(self, shape: Shape, name: str, raw: frozenset[str], *, kept: bool) -> str:
        if name in self.classes:
            return name
        self.classes[name] = ""
        fields = {}
        for member, inner in shape.members.items():
            kind = "RawJson" if member in raw else self.type_of(inner, kept=kept)
            fields[member] = kind if member in shape.required else f"NotRequired[{kind}]"
        self.classes[name] = _rendered(name, fields)
        return name


def _rendered(name: str, fields: dict[str, str]) -> str:
    if all(field.isidentifier() and not keyword.iskeyword(field) for field in fields):
        lines = [f"    {field}: {kind}" for field, kind in fields.items()] or ["    pass"]
        return "\n".join([f"class {name}(TypedDict):", *lines, ""])
    items = "".join(f'        "{field}": {kind},\n' for field, kind in fields.items())
    return f'{name} = TypedDict(\n    "{name}",\n    {{\n{items}    }},\n)\n'


def rendered(service: str, operations: Iterable[str]) -> str:
    """The module for these operations of `service`."""
    named = sorted(set(operations))
    writer = TypeWriter(load(service), dialect_of(service))
    for operation in named:
        writer.add(operation)
    body = "\n\n".join(text for text in writer.classes.values())
    imports = []
    if "AsyncIterator" in body:
        imports.append("from collections.abc import AsyncIterator")
    typing = [name for name in ("Any", "NotRequired") if re.search(rf"\b{name}\b", body)] + ["TypedDict"]
    imports.append(f"from typing import {', '.join(typing)}")
    if "RawJson" in body:
        imports.append("\nfrom tule.wire.codecs import RawJson")
    command = "\n".join(_wrapped(f"`python -m tule.wire.typegen {service} {' '.join(named)}`.", 110))
    head = f'"""Requests and results of {service}, from botocore\'s model. Written by\n\n{command}\n"""\n\n'
    return head + "\n".join(imports) + "\n\n\n" + body


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def folder_of(service: str) -> Path:
    """Where a service lives; names that Python reserves have an underscore behind them."""
    name = service.replace("-", "_")
    return Path(tule.__file__).parent / "services" / (f"{name}_" if keyword.iskeyword(name) else name)


def main(arguments: list[str]) -> None:
    """Write `api.py` of the service that is named first, for the operations that follow."""
    service, *operations = arguments
    path = folder_of(service) / "api.py"
    if not operations:
        written = _COMMAND.search(path.read_text(encoding="utf-8"))
        assert written is not None, f"{path} does not say which operations it has."
        operations = written[2].split()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rendered(service, operations), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
