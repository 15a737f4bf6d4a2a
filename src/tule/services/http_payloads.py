"""What a function is handed for an HTTP request, by HTTP APIs and function URLs: payload formats 2.0 and 1.0."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from tule.net.messages import HttpRequest

TEXT_TYPES = frozenset({"application/json", "application/javascript", "application/xml"})
"""Content types, text/* and */*+json and */*+xml apart, whose bodies arrive as text. Forms do not: AWS encodes them."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request that found its route."""

    request: HttpRequest
    account: str
    api_id: str
    stage: str
    route_key: str
    path: str
    """Percent-encoded, with the stage's segment if it has one."""
    variables: Mapping[str, str]
    stage_variables: Mapping[str, str]
    request_id: str
    now_ms: int
    trace: str
    authorizer: Mapping[str, Any] | None = None
    """Who was let in and how, in format 2.0; None if nobody was asked."""


Payload = Callable[[Call], dict[str, Any]]


@lru_cache(maxsize=64)
def _time(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%d/%b/%Y:%H:%M:%S +0000}"


@lru_cache(maxsize=256)
def is_text(content_type: str) -> bool:
    """Whether a body of this type arrives as text rather than base64."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind.startswith("text/") or kind in TEXT_TYPES or kind.endswith(("+json", "+xml"))


def _body(request: HttpRequest) -> tuple[str | None, bool]:
    """(body as it is handed over, whether it is base64)."""
    body = request.body
    if not body:
        return None, False
    headers = request.headers
    if is_text(headers.get("content-type", "")) and "content-encoding" not in headers:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return b64encode(body).decode(), True


def _forwarded(call: Call) -> dict[str, str]:
    """The request's headers, hop-by-hop ones left out, and those the gateway adds."""
    request = call.request
    headers = dict(request.headers)
    for name in ("connection", "transfer-encoding", "keep-alive", "upgrade", "expect"):
        headers.pop(name, None)
    headers.setdefault("content-length", str(len(request.body)))
    seen = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{seen}, {request.peer}" if seen else request.peer
    headers["x-forwarded-proto"] = request.scheme
    port = headers.get("host", "").rpartition(":")[2]
    headers["x-forwarded-port"] = port if port.isdigit() else ("443" if request.scheme == "https" else "80")
    headers["x-amzn-trace-id"] = call.trace
    return headers


def _domain(request: HttpRequest) -> str:
    return request.headers.get("host", "").partition(":")[0]


def payload_2(call: Call) -> dict[str, Any]:
    """Format 2.0: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html."""
    request = call.request
    headers = _forwarded(call)
    cookie = headers.pop("cookie", None)
    raw_path = unquote(call.path)
    domain = _domain(request)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": call.route_key,
        "rawPath": raw_path,
        "rawQueryString": request.query,
    }
    if cookie:
        event["cookies"] = [part.strip() for part in cookie.split(";") if part.strip()]
    event["headers"] = headers
    if request.query:
        query: dict[str, str] = {}
        event["queryStringParameters"] = query
        for name, value in parse_qsl(request.query, keep_blank_values=True):
            query[name] = f"{query[name]},{value}" if name in query else value
    event["requestContext"] = {
        "accountId": call.account,
        "apiId": call.api_id,
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "http": {
            "method": request.method,
            "path": raw_path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.peer,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": call.request_id,
        "routeKey": call.route_key,
        "stage": call.stage,
        "time": _time(call.now_ms // 1000),
        "timeEpoch": call.now_ms,
    }
    if call.authorizer is not None:
        event["requestContext"]["authorizer"] = call.authorizer
    body, encoded = _body(request)
    if body is not None:
        event["body"] = body
    if call.variables:
        event["pathParameters"] = call.variables
    event["isBase64Encoded"] = encoded
    if call.stage_variables:
        event["stageVariables"] = call.stage_variables
    return event


def payload_1(call: Call) -> dict[str, Any]:
    """Format 1.0, the one of REST APIs, as HTTP APIs fill it in."""
    request = call.request
    headers = _forwarded(call)
    path = unquote(call.path)
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    body, encoded = _body(request)
    resource = call.route_key.partition(" ")[2] or call.route_key
    domain = _domain(request)
    return {
        "version": "1.0",
        "resource": resource,
        "path": path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "requestContext": {
            "accountId": call.account,
            "apiId": call.api_id,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "extendedRequestId": call.request_id,
            "httpMethod": request.method,
            "identity": {
                "accessKey": None, "accountId": None, "caller": None, "cognitoAmr": None,
                "cognitoAuthenticationProvider": None, "cognitoAuthenticationType": None, "cognitoIdentityId": None,
                "cognitoIdentityPoolId": None, "principalOrgId": None, "sourceIp": request.peer, "user": None,
                "userAgent": headers.get("user-agent", ""), "userArn": None,
            },
            "path": path,
            "protocol": "HTTP/1.1",
            "requestId": call.request_id,
            "requestTime": _time(call.now_ms // 1000),
            "requestTimeEpoch": call.now_ms,
            "resourceId": call.route_key,
            "resourcePath": resource,
            "stage": call.stage,
        },
        "pathParameters": dict(call.variables) or None,
        "stageVariables": dict(call.stage_variables) or None,
        "body": body,
        "isBase64Encoded": encoded,
    }  # fmt: skip


PAYLOADS: Mapping[str, Payload] = {"2.0": payload_2, "1.0": payload_1}
