"""Cross-origin answers of an API that has a CorsConfiguration: the gateway's, whatever the function says."""

from tule.net.messages import HttpRequest, HttpResponse
from tule.services.apigatewayv2.models import Cors

_PREFIX = "access-control-"


def is_preflight(request: HttpRequest) -> bool:
    return (
        request.method == "OPTIONS"
        and "origin" in request.headers
        and "access-control-request-method" in request.headers
    )


def allowed_origin(cors: Cors, origin: str) -> str:
    """What to send as Access-Control-Allow-Origin; "" if this origin is not allowed."""
    if "*" in cors.allow_origins:
        return "*"
    scheme = origin.partition("://")[0]
    if origin in cors.allow_origins or f"{scheme}://*" in cors.allow_origins:
        return origin
    return ""


def preflight(cors: Cors, request: HttpRequest) -> HttpResponse:
    """204, with what is allowed if the origin is."""
    origin = allowed_origin(cors, request.headers["origin"])
    headers: list[tuple[str, str]] = []
    if origin:
        headers.append(("access-control-allow-origin", origin))
        if cors.allow_methods:
            headers.append(("access-control-allow-methods", ",".join(cors.allow_methods)))
        if cors.allow_headers:
            headers.append(("access-control-allow-headers", ",".join(cors.allow_headers)))
        if cors.allow_credentials:
            headers.append(("access-control-allow-credentials", "true"))
        if cors.max_age is not None:
            headers.append(("access-control-max-age", str(cors.max_age)))
    return HttpResponse(204, headers)


def decorate(cors: Cors, request: HttpRequest, response: HttpResponse) -> None:
    """Replace the integration's CORS headers by the API's."""
    response.headers = [(name, value) for name, value in response.headers if not name.startswith(_PREFIX)]
    origin = allowed_origin(cors, request.headers.get("origin", "")) if "origin" in request.headers else ""
    if not origin:
        return
    response.headers.append(("access-control-allow-origin", origin))
    if cors.allow_credentials:
        response.headers.append(("access-control-allow-credentials", "true"))
    if cors.expose_headers:
        response.headers.append(("access-control-expose-headers", ",".join(cors.expose_headers)))
