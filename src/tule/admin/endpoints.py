"""How an endpoint of the admin API is declared, and how its declaration becomes OpenAPI."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import msgspec

from tule import __version__

PREFIX: Final = "/_tule/v1/"


class AdminError(Exception):
    """A refusal of the admin API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Problem(msgspec.Struct, frozen=True):
    """What every refusal looks like."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One call: what stood in the path, the query and the body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number of the query between 1 and `most`."""
        text = self.query.get(name, str(default))
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise AdminError(400, "InvalidParameter", f"{name} must be a whole number from 1 to {most}.")
        return int(text)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path under /_tule/v1/. "{id}" in the path is one part of it."""

    method: str
    path: str
    summary: str
    handler: Callable[[Ask], Awaitable[Any]]
    answer: Any
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    """Names and meanings of query parameters."""


def openapi(endpoints: list[Endpoint]) -> dict[str, Any]:
    """The OpenAPI 3.1 description of `endpoints`."""
    types = [endpoint.answer for endpoint in endpoints] + [Problem]
    types += [endpoint.body for endpoint in endpoints if endpoint.body is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = {id(type_): schema for type_, schema in zip(types, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tule admin API", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(endpoint: Endpoint, by_type: Mapping[int, Any]) -> dict[str, Any]:
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in endpoint.path.split("/")
        if part.startswith("{")
    ]
    parameters += [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in endpoint.query.items()
    ]
    described: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}_{endpoint.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "summary": endpoint.summary,
        "responses": {
            "200": _content(HTTPStatus.OK.phrase, by_type[id(endpoint.answer)]),
            "default": _content("A refusal", by_type[id(Problem)]),
        },
    }
    if parameters:
        described["parameters"] = parameters
    if endpoint.body is not None:
        described["requestBody"] = {"required": True, **_content("", by_type[id(endpoint.body)])}
        described["requestBody"].pop("description")
    return described


def _content(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
