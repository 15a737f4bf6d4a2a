"""The user's template: which code it names, and the same text with that code's addresses in S3 in its place.

The text is spliced, not written anew, so that lines in error messages are the user's own lines.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tule.cli.deploy.build import Function, build
from tule.cli.deploy.packing import pack
from tule.cli.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tule.cli.deploy.session import Session

MAX_DEPTH = 100
"""Nesting of a template, the server's limit."""


class Place(NamedTuple):
    """A property that names local code: where its value stands in the text, and what it may become."""

    logical_id: str
    property: str
    node: yaml.Node
    form: str
    """uri: "s3://bucket/key"; object: {S3Bucket, S3Key}; bucket: {Bucket, Key}."""


_CODE = {
    "AWS::Serverless::Function": ("CodeUri", "uri"),
    "AWS::Lambda::Function": ("Code", "object"),
    "AWS::Serverless::LayerVersion": ("ContentUri", "uri"),
    "AWS::Lambda::LayerVersion": ("Content", "object"),
    "AWS::Serverless::HttpApi": ("DefinitionUri", "uri"),
    "AWS::Serverless::Api": ("DefinitionUri", "uri"),
    "AWS::Serverless::StateMachine": ("DefinitionUri", "uri"),
}


_ELSEWHERE = ("s3://", "https://", "http://")


class Source:
    """A template on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"The template {path} can't be read: {error}.", exit_code=2) from error
        self._root = self._compose()

    def packaged(self, session: Session, stack: str, home: Path, say: Callable[[str], None]) -> str:
        """Build and upload what the template names; gives the template with the addresses."""
        edits: list[tuple[int, int, str]] = []
        uploaded: dict[tuple[str, str], tuple[str, str]] = {}
        with tempfile.TemporaryDirectory(prefix="tule-deploy-") as scratch:
            for place in self._places():
                value = place.node.value
                if not isinstance(place.node, yaml.ScalarNode) or value.startswith(_ELSEWHERE):
                    continue
                function = self._function(place)
                key = (value, function.fingerprint() if function else "")
                if key not in uploaded:
                    file, suffix = self._artifact(place, function, Path(scratch) / str(len(uploaded)), home, say)
                    uploaded[key] = session.upload(stack, file, suffix)
                start, end = place.node.start_mark.index, place.node.end_mark.index
                edits.append((start, end, _address(place, *uploaded[key])))
        text = self._text
        for start, end, address in sorted(edits, reverse=True):
            tail = "" if text[end - 1 : end] != "\n" else "\n"
            text = text[:start] + address + tail + text[end:]
        return text

    def code(self) -> dict[str, tuple[Function, Path]]:
        """Functions whose code is here: by logical id, what building needs to know, and the folder or file."""
        shared = _scalar(_member(_member(_member(self._root, "Globals"), "Function"), "CodeUri"))
        found = {}
        for key, body in _pairs(_member(self._root, "Resources")):
            kind = _scalar(_member(body, "Type"))
            if not kind.endswith("::Function") or kind not in _CODE:
                continue
            node = _member(_member(body, "Properties"), _CODE[kind][0])
            named = _scalar(node) if node is not None else shared
            function = self._function(Place(key.value, _CODE[kind][0], body, _CODE[kind][1]))
            if function is not None and named and not named.startswith(_ELSEWHERE):
                found[key.value] = (function, (self._path.parent / named).resolve())
        return found

    def _artifact(
        self, place: Place, function: Function | None, scratch: Path, home: Path, say: Callable[[str], None]
    ) -> tuple[Path, str]:
        """The file to upload for a place, and its suffix."""
        local = (self._path.parent / place.node.value).resolve()
        if not local.exists():
            line = place.node.start_mark.line + 1
            raise Failure(
                f"{self._path}:{line}: {place.property} of {place.logical_id} is {place.node.value}, which "
                "is not there.",
                f"Put the code at {local}, or change {place.property}.",
            )
        if place.property == "DefinitionUri":
            return local, local.suffix
        if local.is_file() and local.suffix in (".zip", ".jar"):
            return local, local.suffix
        scratch.mkdir(parents=True)
        folder = build(function, local, scratch, home, say) if function else local
        archive = scratch / "package.zip"
        pack(folder, archive)
        say(f"Packed {place.logical_id} ({archive.stat().st_size:,} bytes)")
        return archive, ".zip"

    def _places(self) -> list[Place]:
        found = []
        for key, body in _pairs(_member(self._root, "Resources")):
            kind = _scalar(_member(body, "Type"))
            if kind in _CODE:
                name, form = _CODE[kind]
                node = _member(_member(body, "Properties"), name)
                if node is not None:
                    found.append(Place(key.value, name, node, form))
        globals_ = _member(_member(self._root, "Globals"), "Function")
        node = _member(globals_, "CodeUri")
        if node is not None:
            found.append(Place("Globals", "CodeUri", node, "uri"))
        return found

    def _function(self, place: Place) -> Function | None:
        """What building a function's code needs to know; None for what is no function."""
        body = _member(_member(self._root, "Resources"), place.logical_id)
        if place.logical_id == "Globals":
            return Function(name="Globals", runtime=self._global("Runtime"), handler="", esbuild={})
        if not _scalar(_member(body, "Type")).endswith("::Function"):
            return None
        properties, metadata = _member(body, "Properties"), _member(body, "Metadata")
        method = _scalar(_member(metadata, "BuildMethod"))
        wanted = _plain(_member(metadata, "BuildProperties")) if method == "esbuild" else {}
        return Function(
            name=place.logical_id,
            runtime=_scalar(_member(properties, "Runtime")) or self._global("Runtime"),
            handler=_scalar(_member(properties, "Handler")) or self._global("Handler"),
            esbuild=(wanted or {}) | ({"": True} if method == "esbuild" else {}),
        )

    def _global(self, name: str) -> str:
        return _scalar(_member(_member(_member(self._root, "Globals"), "Function"), name))

    def _compose(self) -> yaml.Node:
        try:
            depth, aliased = 0, False
            for event in yaml.parse(self._text, Loader=yaml.SafeLoader):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                aliased = aliased or isinstance(event, yaml.AliasEvent)
                if depth > MAX_DEPTH:
                    raise Failure(f"{self._path} is nested more than {MAX_DEPTH} levels deep.")
            if aliased:  # CloudFormation takes no aliases; the AWS CLI writes them out too
                value = _plain(yaml.compose(self._text, Loader=yaml.SafeLoader))
                self._text = json.dumps(value, indent=2)
            root = yaml.compose(self._text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise Failure(f"{self._path} is no YAML or JSON: {error}", exit_code=1) from error
        if not isinstance(root, yaml.MappingNode):
            raise Failure(f"{self._path} is no template: it has no Resources.")
        return root


def _address(place: Place, bucket: str, key: str) -> str:
    if place.form == "uri":
        return json.dumps(f"s3://{bucket}/{key}")
    return json.dumps({"S3Bucket": bucket, "S3Key": key})


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _member(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return next((value for key, value in _pairs(node) if key.value == name), None)


def _scalar(node: yaml.Node | None) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


_FUNCTION_NAMES = {"!Ref": "Ref", "!Condition": "Condition"}


def _plain(node: yaml.Node | None) -> Any:
    """A node as plain values, short tags written out."""
    if node is None:
        return None
    if isinstance(node, yaml.MappingNode):
        value: Any = {}
        for key, part in node.value:
            if key.value == "<<":
                value = {**(_plain(part) or {}), **value}
            else:
                value[key.value] = _plain(part)
    elif isinstance(node, yaml.SequenceNode):
        value = [_plain(part) for part in node.value]
    elif node.tag.startswith("tag:yaml.org") and not node.tag.endswith("timestamp"):
        return yaml.safe_load(yaml.serialize(node))
    else:
        value = node.value
    if not node.tag.startswith("!"):
        return value
    if node.tag == "!GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {_FUNCTION_NAMES.get(node.tag, f"Fn::{node.tag[1:]}"): value}
