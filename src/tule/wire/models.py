"""botocore's service models, read as data: nothing of botocore is imported."""

import gzip
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from tule.wire.dialects import dialect_of


@cache
def data_directory() -> Path:
    """Where botocore keeps its models."""
    spec = find_spec("botocore")
    if spec is None or spec.origin is None:
        raise RuntimeError("botocore is not installed, and its service models are what Tule's wire layer is made from.")
    return Path(spec.origin).parent / "data"


def read_document(service: str) -> dict[str, Any]:
    """The newest service-2.json of `service`, decoded. Raises FileNotFoundError for a service botocore doesn't have."""
    folder = data_directory() / service
    versions = sorted(entry.name for entry in folder.iterdir() if entry.name[0].isdigit())
    for version in reversed(versions):
        for name in ("service-2.json.gz", "service-2.json"):
            path = folder / version / name
            if path.exists():
                raw = path.read_bytes()
                decoded: dict[str, Any] = msgspec.json.decode(gzip.decompress(raw) if name.endswith(".gz") else raw)
                _drop_prose(decoded)
                return decoded
    raise FileNotFoundError(f"botocore has no model of {service}.")


def _drop_prose(node: Any) -> None:
    """Take the documentation out, which is most of a model's memory."""
    if isinstance(node, dict):
        if isinstance(node.get("documentation"), str):
            del node["documentation"]
        for part in node.values():
            _drop_prose(part)
    elif isinstance(node, list):
        for part in node:
            _drop_prose(part)


class Shape:
    """One use of a shape: the shape's own traits with those of the member that refers to it on top."""

    __slots__ = ("_members", "_model", "name", "traits", "type")

    def __init__(self, model: "ServiceModel", name: str, traits: dict[str, Any]) -> None:
        self._model = model
        self.name = name
        self.traits = traits
        self.type: str = traits["type"]
        self._members: dict[str, Shape] | None = None

    @property
    def members(self) -> "dict[str, Shape]":
        """Members of a structure by the model's names."""
        if self._members is None:
            refs = self.traits.get("members", {})
            self._members = {name: self._model.use(ref) for name, ref in refs.items()}
        return self._members

    @property
    def element(self) -> "Shape":
        """What a list holds."""
        return self._model.use(self.traits["member"])

    @property
    def key(self) -> "Shape":
        """The key of a map."""
        return self._model.use(self.traits["key"])

    @property
    def value(self) -> "Shape":
        """The value of a map."""
        return self._model.use(self.traits["value"])

    @property
    def required(self) -> list[str]:
        found: list[str] = self.traits.get("required", [])
        return found

    @property
    def location(self) -> str:
        """Where a top-level member travels: uri, querystring, header, headers, statusCode, or "" for the body."""
        return str(self.traits.get("location", ""))

    def wire_name(self, default: str) -> str:
        """The name on the wire."""
        return str(self.traits.get("locationName", default))

    def flag(self, trait: str) -> bool:
        return bool(self.traits.get(trait))


class OperationModel:
    """One operation of a service."""

    def __init__(self, service: "ServiceModel", name: str, document: dict[str, Any]) -> None:
        self.service = service
        self.name = name
        self.document = document
        self.method: str = document["http"]["method"]
        self.uri: str = document["http"]["requestUri"]
        self.status: int = document["http"].get("responseCode", 200)

    @cached_property
    def input(self) -> Shape | None:
        return self.service.use(self.document["input"]) if "input" in self.document else None

    @cached_property
    def output(self) -> Shape | None:
        return self.service.use(self.document["output"]) if "output" in self.document else None

    @property
    def result_wrapper(self) -> str:
        """The element around a query protocol's result."""
        return str(self.document.get("output", {}).get("resultWrapper", f"{self.name}Result"))


class ServiceModel:
    """A service: metadata, operations and shapes."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self.name = name
        self.metadata: dict[str, Any] = document["metadata"]
        self.operations = {key: OperationModel(self, key, value) for key, value in document["operations"].items()}
        self.shapes: dict[str, dict[str, Any]] = document["shapes"]

    def use(self, ref: dict[str, Any]) -> Shape:
        """The shape that `ref` names, with the traits of the reference on top."""
        name = ref["shape"]
        traits = {**self.shapes[name], **ref}
        traits.pop("documentation", None)
        return Shape(self, name, traits)

    @cached_property
    def errors(self) -> dict[str, Shape]:
        """Error shapes by their names and by the codes they have on the wire."""
        found: dict[str, Shape] = {}
        coded: dict[str, Shape] = {}
        for name, traits in self.shapes.items():
            if traits.get("exception") or traits.get("error"):
                shape = found[name] = self.use({"shape": name})
                code = traits.get("error", {}).get("code")
                if code:
                    coded.setdefault(code, shape)
        return {**coded, **found}

    @property
    def protocols(self) -> list[str]:
        return self.metadata.get("protocols") or [self.metadata["protocol"]]


@cache
def load(service: str) -> ServiceModel:
    """The model of `service` by botocore's name; read once. Raises FileNotFoundError when there is none."""
    document = read_document(service)
    for shape in dialect_of(service).open_enums:
        document["shapes"][shape].pop("enum", None)
    return ServiceModel(service, document)
