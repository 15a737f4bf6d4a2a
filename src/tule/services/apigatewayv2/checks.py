"""Members of requests, checked as API Gateway checks them, turned into what is kept."""

import re
from typing import Any

from tule.kernel.arns import Arn
from tule.kernel.errors import OperationNotImplementedError
from tule.services.apigatewayv2 import limits
from tule.services.apigatewayv2.changes import BadRequestError
from tule.services.apigatewayv2.models import Cors, Integration
from tule.services.http_payloads import PAYLOADS

_ROUTE_KEY = re.compile(r"(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS|ANY) (/\S*)")
_VARIABLE = re.compile(r"\{[^{}/]+\}")
_STAGE_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}|\$default")
_INVOCATION = re.compile(r"arn:[^:]+:apigateway:[^:]+:lambda:path/2015-03-31/functions/(.+)/invocations")


def route_key(key: str) -> str:
    """A route key of an HTTP API."""
    match = _ROUTE_KEY.fullmatch(key)
    if key != "$default" and match is None:
        raise BadRequestError(
            "The provided route key is not formatted properly for HTTP protocol. "
            'Format should be "<HTTP METHOD> /<RESOURCE PATH>" or "$default"'
        )
    segments = match[2].split("/")[1:] if match else []
    for position, segment in enumerate(segments):
        if ("{" in segment or "}" in segment) and not _VARIABLE.fullmatch(segment):
            raise BadRequestError(f"Invalid path part '{segment}' in the route key: a variable fills a whole segment.")
        if segment.endswith("+}") and position != len(segments) - 1:
            raise BadRequestError("A greedy path variable must be the last part of the route key.")
    return key


def target(text: str | None) -> str:
    """The integration id in a route's Target."""
    if not text:
        return ""
    kind, _, integration_id = text.partition("/")
    if kind != "integrations" or not integration_id:
        raise BadRequestError("Invalid route target specified. The target must be integrations/<integration id>.")
    return integration_id


def function_arn(uri: str) -> str:
    """The function ARN in an integration's URI, which is one or API Gateway's own form around one."""
    match = _INVOCATION.fullmatch(uri)
    text = match[1] if match else uri
    arn = Arn.parse(text)
    if arn is None or arn.service != "lambda" or not arn.resource.startswith("function:"):
        raise BadRequestError("Invalid Integration URI specified: it is not the ARN of a Lambda function.")
    return text


def integration(operation: str, request: dict[str, Any], old: Integration | None, new_id: str) -> Integration:
    """An integration from a request, on top of what there was."""
    kind = request.get("IntegrationType") or "AWS_PROXY"
    if kind != "AWS_PROXY" or request.get("IntegrationSubtype"):
        what = request.get("IntegrationSubtype") or kind
        raise OperationNotImplementedError(
            "apigatewayv2", operation, f"The integration is {what}: only AWS_PROXY to a Lambda function is implemented."
        )
    if request.get("ConnectionType") == "VPC_LINK":
        raise OperationNotImplementedError("apigatewayv2", operation, "ConnectionType VPC_LINK: Tule has no VPCs.")
    uri = request.get("IntegrationUri") or (old.uri if old else "")
    function_arn(uri)
    version = request.get("PayloadFormatVersion") or (old.payload_version if old else "")
    if not version:
        raise BadRequestError("PayloadFormatVersion is a required parameter for integration")
    if version not in PAYLOADS:
        raise BadRequestError("Invalid PayloadFormatVersion specified. Must be 1.0 or 2.0")
    timeout_ms = request.get("TimeoutInMillis") or (old.timeout_ms if old else limits.INTEGRATION_TIMEOUT_MAX_MS)
    if not limits.INTEGRATION_TIMEOUT_MIN_MS <= timeout_ms <= limits.INTEGRATION_TIMEOUT_MAX_MS:
        raise BadRequestError("Timeout should be between 50 ms and 30000 ms")
    description = request.get("Description")
    return Integration(
        id=old.id if old else new_id,
        uri=uri,
        payload_version=version,
        timeout_ms=timeout_ms,
        method=request.get("IntegrationMethod") or (old.method if old else "POST"),
        description=(old.description if old else "") if description is None else description,
        managed=old.managed if old else False,
    )


def cors(members: dict[str, Any]) -> Cors:
    """CorsConfiguration."""
    credentials = bool(members.get("AllowCredentials"))
    origins = list(members.get("AllowOrigins") or [])
    if credentials and "*" in origins:
        raise BadRequestError("allowCredentials is not supported for origin *")
    for origin in origins:
        if origin != "*" and "://" not in origin:
            raise BadRequestError(f"Invalid format for origin {origin}")
    max_age = members.get("MaxAge")
    if max_age is not None and not -1 <= max_age <= 86_400:
        raise BadRequestError("maxAge must be between -1 and 86400")
    return Cors(
        allow_origins=origins,
        allow_methods=[method.upper() for method in members.get("AllowMethods") or []],
        allow_headers=[header.lower() for header in members.get("AllowHeaders") or []],
        expose_headers=[header.lower() for header in members.get("ExposeHeaders") or []],
        allow_credentials=credentials,
        max_age=max_age,
    )


def stage_name(name: str) -> str:
    if not _STAGE_NAME.fullmatch(name):
        raise BadRequestError("Stage name must be alphanumeric, with dashes and underscores, or $default")
    return name


def tags(given: dict[str, str]) -> dict[str, str]:
    if len(given) > limits.TAGS_MAX:
        raise BadRequestError(f"At most {limits.TAGS_MAX} tags are allowed")
    return dict(given)
