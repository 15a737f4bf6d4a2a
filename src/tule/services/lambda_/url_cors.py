"""Cross-origin answers of a function URL that has a Cors configuration.

https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html: preflights never reach the function, and what the
URL says comes beside what the function says (a function that sends such headers too makes browsers refuse both).
"""

from tule.net.messages import Headers, HttpRequest, HttpResponse
from tule.services.lambda_.function_url import Cors


def is_preflight(request: HttpRequest) -> bool:
    headers = request.headers
    return request.method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def _allowed_origin(cors: Cors, origin: str) -> str:
    """What Access-Control-Allow-Origin says; "" if this origin may not."""
    origins = cors.allow_origins or ()
    if origin in origins:
        return origin
    if "*" in origins:
        return origin if cors.allow_credentials else "*"
    return ""


def _common(cors: Cors, request: HttpRequest) -> Headers:
    """What preflights and other answers have in common; nothing for an origin that may not."""
    origin = _allowed_origin(cors, request.headers.get("origin", "")) if "origin" in request.headers else ""
    if not origin:
        return []
    headers = [("access-control-allow-origin", origin), ("vary", "Origin")]
    if cors.allow_credentials:
        headers.append(("access-control-allow-credentials", "true"))
    return headers


def preflight(cors: Cors, request: HttpRequest) -> HttpResponse:
    """The answer to a preflight."""
    headers = _common(cors, request)
    if headers:
        if cors.allow_methods:
            headers.append(("access-control-allow-methods", ",".join(cors.allow_methods)))
        if cors.allow_headers:
            headers.append(("access-control-allow-headers", ",".join(cors.allow_headers)))
        if cors.max_age_s is not None:
            headers.append(("access-control-max-age", str(cors.max_age_s)))
    return HttpResponse(200, headers)


def decorate(cors: Cors, request: HttpRequest, response: HttpResponse) -> None:
    """Add what the page's browser needs to show it the answer."""
    headers = _common(cors, request)
    if headers and cors.expose_headers:
        headers.append(("access-control-expose-headers", ",".join(cors.expose_headers)))
    response.headers = [*response.headers, *headers]
