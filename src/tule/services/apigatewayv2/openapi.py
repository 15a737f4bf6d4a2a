"""OpenAPI 3.0 documents with API Gateway's extensions, read as HTTP APIs: what ImportApi and SAM's templates give."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tule.kernel.errors import OperationNotImplementedError
from tule.kernel.randomness import RandomSource
from tule.services.apigatewayv2 import checks
from tule.services.apigatewayv2.changes import BadRequestError, new_id
from tule.services.apigatewayv2.models import DEFAULT_ROUTE, Cors, Integration, Route

BODY_MAX_BYTES = 6 * 1024 * 1024
"""AWS's limit for API definitions."""

_METHODS = {
    "get": "GET", "post": "POST", "put": "PUT", "patch": "PATCH", "delete": "DELETE", "head": "HEAD",
    "options": "OPTIONS", "x-amazon-apigateway-any-method": "ANY",
}  # fmt: skip
_INTEGRATION = "x-amazon-apigateway-integration"
_INTEGRATIONS = "x-amazon-apigateway-integrations"
_CORS = {
    "allowOrigins": "AllowOrigins", "allowMethods": "AllowMethods", "allowHeaders": "AllowHeaders",
    "exposeHeaders": "ExposeHeaders", "allowCredentials": "AllowCredentials", "maxAge": "MaxAge",
}  # fmt: skip
_HONOURED = {
    "type": "IntegrationType", "uri": "IntegrationUri", "httpMethod": "IntegrationMethod",
    "payloadFormatVersion": "PayloadFormatVersion", "timeoutInMillis": "TimeoutInMillis",
    "connectionType": "ConnectionType", "integrationSubtype": "IntegrationSubtype",
}  # fmt: skip
_REFUSED = ("credentials", "requestParameters", "responseParameters", "connectionId", "tlsConfig")


class Imported(NamedTuple):
    """What the document describes."""

    name: str
    description: str
    version: str
    cors: Cors | None
    endpoint_disabled: bool
    tags: dict[str, str]
    routes: list[Route]
    integrations: list[Integration]
    warnings: list[str]


def parse_body(operation: str, body: Any, random: RandomSource, *, fail_on_warnings: bool = False) -> Imported:
    """Read a document given as text (JSON or YAML) or, from a template, as a mapping."""
    document = _document(body)
    version = str(document.get("openapi") or "")
    if not version.startswith("3.0"):
        raise BadRequestError("Only OpenAPI 3.0 definitions are supported for HTTP APIs")
    info = _mapping(document.get("info"), "info")
    reader = _Reader(operation, document, random)
    reader.read_paths()
    if fail_on_warnings and reader.warnings:
        raise BadRequestError(f"Warnings found during import: {'; '.join(reader.warnings)}")
    configuration = document.get("x-amazon-apigateway-endpoint-configuration") or {}
    return Imported(
        str(info.get("title") or ""),
        str(info.get("description") or ""),
        str(info.get("version") or ""),
        _cors(document.get("x-amazon-apigateway-cors")),
        bool(configuration.get("disableExecuteApiEndpoint")),
        _tags(document.get("tags") or []),
        reader.routes,
        list(reader.integrations.values()),
        reader.warnings,
    )


def _document(body: Any) -> Mapping[str, Any]:
    if isinstance(body, str):
        if len(body.encode()) > BODY_MAX_BYTES:
            raise BadRequestError("The API definition is larger than 6 MB")
        try:
            body = json.loads(body)
        except ValueError:
            import yaml

            try:
                body = yaml.safe_load(body)
            except yaml.YAMLError:
                raise BadRequestError("Unable to parse API definition because of a malformed input") from None
    return _mapping(body, "document")


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadRequestError(f"Unable to parse API definition because of a malformed {what}")
    return value


def _cors(value: Any) -> Cors | None:
    if not value:
        return None
    members = {_CORS[key]: item for key, item in _mapping(value, "x-amazon-apigateway-cors").items() if key in _CORS}
    for key in ("AllowOrigins", "AllowMethods", "AllowHeaders", "ExposeHeaders"):
        if isinstance(members.get(key), str):
            members[key] = [members[key]]
    return checks.cors(members)


def _tags(entries: list[Any]) -> dict[str, str]:
    return {
        str(entry["name"]): str(entry["x-amazon-apigateway-tag-value"])
        for entry in entries
        if isinstance(entry, Mapping) and "x-amazon-apigateway-tag-value" in entry
    }


class _Reader:
    """Collects routes and integrations; equal integrations of different routes become one."""

    def __init__(self, operation: str, document: Mapping[str, Any], random: RandomSource) -> None:
        self._operation = operation
        self._document = document
        self._random = random
        self.routes: list[Route] = []
        self.integrations: dict[tuple[tuple[str, str], ...], Integration] = {}
        self.warnings: list[str] = []

    def read_paths(self) -> None:
        self._refuse_security(self._document)
        for path, item in _mapping(self._document.get("paths") or {}, "paths").items():
            for verb, method in _mapping(item, f"path {path}").items():
                if verb.lower() in _METHODS:
                    self._route(path, _METHODS[verb.lower()], _mapping(method, f"method {verb} of {path}"))

    def _route(self, path: str, method: str, operation: Mapping[str, Any]) -> None:
        self._refuse_security(operation)
        key = DEFAULT_ROUTE if path in ("/$default", "$default") else checks.route_key(f"{method} {path}")
        route = Route(
            id=new_id(self._random, 7),
            key=key,
            integration=self._integration(key, operation),
            operation_name=str(operation.get("operationId") or ""),
        )
        self.routes.append(route)

    def _integration(self, key: str, operation: Mapping[str, Any]) -> str:
        given = operation.get(_INTEGRATION)
        if isinstance(given, Mapping) and "$ref" in given:
            name = str(given["$ref"]).rpartition("/")[2]
            shared = (self._document.get("components") or {}).get(_INTEGRATIONS) or {}
            given = shared.get(name)
        if not given:
            self.warnings.append(f"No integration is defined for route {key}")
            return ""
        given = _mapping(given, f"integration of {key}")
        for member in _REFUSED:
            if given.get(member):
                raise OperationNotImplementedError(
                    "apigatewayv2", self._operation, f"The integration of {key} has {member}, which is not honoured."
                )
        members = {_HONOURED[name]: value for name, value in given.items() if name in _HONOURED}
        members["IntegrationType"] = str(members.get("IntegrationType") or "").upper()
        members.setdefault("PayloadFormatVersion", "1.0")
        members["PayloadFormatVersion"] = str(members["PayloadFormatVersion"])
        identity = tuple(sorted((name, str(value)) for name, value in members.items()))
        known = self.integrations.get(identity)
        if known is None:
            known = checks.integration(self._operation, members, None, new_id(self._random, 7))
            self.integrations[identity] = known
        return known.id

    def _refuse_security(self, holder: Mapping[str, Any]) -> None:
        named = [name for requirement in holder.get("security") or [] for name in requirement if name != "NONE"]
        if named:
            raise OperationNotImplementedError(
                "apigatewayv2", self._operation, f"The definition asks for the authorizer {named[0]}."
            )
