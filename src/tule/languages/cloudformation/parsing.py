"""Template text to plain values: JSON, or YAML 1.1 with CloudFormation's short tags, with the line of every part.

YAML is read from its event stream without recursion, so that depth, aliases and repeated keys are refused before
anything grows. The exceptions to YAML 1.1 are those of CloudFormation's user guide ("CloudFormation template
formats"): no aliases, no merges, timestamps stay text.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from tule.languages.cloudformation.errors import TemplateError

MAX_TEMPLATE_BYTES = 1_000_000
"""A template in S3 (CloudFormation quotas)."""

MAX_INLINE_BYTES = 51_200
"""A template in a request (CloudFormation quotas and model)."""

MAX_DEPTH = 100
"""Nesting of lists and mappings (ours; no real template comes near)."""

MARKED_DEPTH = 6
"""How deep lines are remembered: /Resources/Id/Properties/Name/... is what errors point at."""

Path = tuple[str | int, ...]

_SHORT_FORMS = frozenset(
    {
        "And",
        "Base64",
        "Cidr",
        "Equals",
        "FindInMap",
        "GetAZs",
        "If",
        "ImportValue",
        "Join",
        "Not",
        "Or",
        "Select",
        "Split",
        "Sub",
        "Transform",
        "ToJsonString",
        "Length",
        "GetStackOutput",
    }
)


_STANDARD = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """A template as values. `lines` has, for a path like ("Resources", "Queue"), the line its value begins at."""

    value: dict[str, Any]
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, *path: str | int) -> int | None:
        """The line of the nearest known part of `path`, counted from 1."""
        for length in range(len(path), 0, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None

    def where(self, *path: str | int) -> str:
        """ " (line 12)", or nothing where lines are unknown (made by a transform)."""
        line = self.line(*path)
        return f" (line {line})" if line else ""


def parse(text: str, *, aliases: bool = False) -> Document:
    """Read a template. `aliases` allows YAML aliases, as the AWS CLI does before an upload; CloudFormation doesn't."""
    size = len(text.encode())
    if size > MAX_TEMPLATE_BYTES:
        raise TemplateError(f"Template may not exceed {MAX_TEMPLATE_BYTES} bytes in size.")
    document = _from_json(text) if text.lstrip("\ufeff \t\r\n").startswith("{") else _Builder(aliases).build(text)
    if not isinstance(document.value, dict):
        raise TemplateError("Template format error: unsupported structure.")
    return document


def _from_json(text: str) -> Document:
    try:
        value = json.loads(text.lstrip("\ufeff"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        message = f"Template format error: JSON not well-formed. (line {error.lineno}, column {error.colno})"
        raise TemplateError(message) from None
    except RecursionError:
        _too_deep()
    _check_depth(value)
    return Document(value, _json_lines(text))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise TemplateError(f"Template format error: JSON not well-formed. Duplicate key '{twice}'.")
    return members


def _no_constant(name: str) -> NoReturn:
    raise TemplateError(f"Template format error: JSON not well-formed. {name} is no JSON value.")


def _check_depth(value: Any) -> None:
    waiting = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if depth > MAX_DEPTH:
            _too_deep()
        children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        waiting += [(child, depth + 1) for child in children]


def _too_deep() -> NoReturn:
    raise TemplateError(f"Template format error: the template is nested more than {MAX_DEPTH} levels deep.")


def _json_lines(text: str) -> dict[Path, int]:
    """Lines of a JSON template, read as the YAML it also is; without them where it is not (tabs, big files)."""
    if "\t" in text or len(text) > MAX_INLINE_BYTES:
        return {}
    try:
        return _Builder(aliases=False).build(text).lines
    except TemplateError:
        return {}


@dataclass(slots=True)
class _Frame:
    """A collection that is being read."""

    value: dict[str, Any] | list[Any]
    path: Path
    tag: str
    key: str | None = None


class _Builder:
    """Builds values from YAML events."""

    def __init__(self, aliases: bool) -> None:  # noqa: FBT001 - private, one caller
        self._aliases = aliases
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._expanded = 0
        self._lines: dict[Path, int] = {}
        self._resolver = yaml.SafeLoader("")
        self._root: Any = None
        self._stack: list[_Frame] = []
        self._anchor_of: list[str | None] = []

    def build(self, text: str) -> Document:
        documents = 0
        try:
            for event in self._events(text):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self._fail(event, "A template is one YAML document.")
                self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
            raise TemplateError(f"Template format error: YAML not well-formed.{where}") from None
        except (yaml.YAMLError, ValueError, OverflowError):
            raise TemplateError("Template format error: YAML not well-formed.") from None
        return Document(self._root, self._lines)

    def _events(self, text: str) -> Iterator[yaml.Event]:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times as fast
        return yaml.parse(text, Loader=loader)

    def _fail(self, event: yaml.Event, why: str) -> NoReturn:
        mark = event.start_mark
        where = f"(line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise TemplateError(f"Template format error: YAML not well-formed. {where} {why}")

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)

    def _path(self) -> Path:
        if not self._stack:
            return ()
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            return (*frame.path, len(frame.value))
        return (*frame.path, frame.key or "")

    def _mark(self, event: yaml.Event) -> Path:
        path = self._path()
        if len(path) <= MARKED_DEPTH and event.start_mark:
            self._lines.setdefault(path, event.start_mark.line + 1)
        return path

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if len(self._stack) >= MAX_DEPTH:
            _too_deep()
        if self._expects_key():
            self._fail(event, "A key is text.")
        path = self._mark(event)
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Frame(value, path, event.tag if event.tag and not event.implicit else ""))
        self._anchor_of.append(event.anchor)

    def _close(self, event: yaml.Event) -> None:
        frame = self._stack.pop()
        value = self._tagged(event, frame.tag, frame.value)
        if anchor := self._anchor_of.pop():
            self._anchors[anchor] = (value, _count(value))
        self._add(value)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._expects_key():
            self._key(event)
            return
        self._mark(event)
        short = event.tag if event.tag and not event.tag.startswith(_STANDARD) else ""
        value = self._tagged(event, short, event.value) if short else self._plain(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, _count(value))
        self._add(value)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if not self._aliases:
            raise TemplateError("Template error: YAML aliases are not allowed in CloudFormation templates")
        if event.anchor not in self._anchors:
            self._fail(event, f"Alias '*{event.anchor}' has no anchor.")
        value, size = self._anchors[event.anchor]
        self._expanded += size
        if self._expanded > MAX_TEMPLATE_BYTES // 10:
            self._fail(event, "The template's aliases expand to too much.")
        self._add(value)

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _key(self, event: yaml.ScalarEvent) -> None:
        frame = self._stack[-1]
        if event.value == "<<" and not self._aliases:
            self._fail(event, "CloudFormation does not merge mappings ('<<').")
        if event.value in frame.value:
            self._fail(event, f"Duplicate key '{event.value}'.")
        frame.key = event.value
        if len(frame.path) < MARKED_DEPTH and event.start_mark:
            self._lines[(*frame.path, event.value)] = event.start_mark.line + 1

    def _add(self, value: Any) -> None:
        if not self._stack:
            self._root = value
            return
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
            return
        if frame.key == "<<" and isinstance(value, dict):
            for name, part in value.items():
                frame.value.setdefault(name, part)
        else:
            frame.value[frame.key or ""] = value
        frame.key = None

    def _plain(self, event: yaml.ScalarEvent) -> Any:
        implied = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]  # the stubs leave it so
        tag = str(event.tag or implied)
        node = yaml.ScalarNode(tag, event.value)
        match tag.removeprefix(_STANDARD):
            case "null":
                return None
            case "bool":
                return bool(self._resolver.construct_yaml_bool(node))
            case "int":
                return int(self._resolver.construct_yaml_int(node))
            case "float":
                number = float(self._resolver.construct_yaml_float(node))
                return number if math.isfinite(number) else event.value
            case "str" | "timestamp" | "merge" | "value":
                return event.value
        return self._fail(event, f"CloudFormation does not read '{tag}'.")

    def _tagged(self, event: yaml.Event, tag: str, value: Any) -> Any:
        if not tag or tag in (f"{_STANDARD}map", f"{_STANDARD}seq"):
            return value
        name = tag.removeprefix("!")
        if name in ("Ref", "Condition"):
            return {name: value}
        if name == "GetAtt":
            return {"Fn::GetAtt": value.split(".", 1) if isinstance(value, str) else value}
        if name in _SHORT_FORMS:
            return {f"Fn::{name}": value}
        return self._fail(event, f"'{tag}' is no CloudFormation function.")


def _count(value: Any) -> int:
    """How many values a value is made of."""
    total, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        total += 1
        waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
    return total
