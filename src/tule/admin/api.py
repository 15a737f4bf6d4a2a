"""Tule's own endpoints: health for everyone on this machine, everything else behind the admin token."""

import hmac
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec
import structlog

from tule.admin.endpoints import PREFIX, AdminError, Ask, Endpoint, Problem, openapi
from tule.kernel.errors import AwsError
from tule.kernel.tasks import Supervisor
from tule.net.messages import HttpRequest, HttpResponse

Reply = Callable[[HttpResponse], None]
Page = Callable[[], HttpResponse]

OPENAPI_PATH: Final = PREFIX + "openapi.json"

_JSON: Final = [("content-type", "application/json")]
_log = structlog.get_logger("tule.admin")


class AdminApi:
    """Answers /_tule/ and /_localstack/. `pages` need no token: they say nothing that a stranger could use."""

    def __init__(self, token: str, endpoints: list[Endpoint], pages: dict[str, Page], tasks: Supervisor) -> None:
        self._token = token
        self._endpoints = endpoints
        self._pages = pages
        self._tasks = tasks

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Answer `request`. On the listener that functions see, the admin API does not exist."""
        path = request.path
        page = self._pages.get(path)
        if request.listener != "public":
            reply(problem(404, "NotFound", "There is nothing here."))
        elif page is not None and request.method in ("GET", "HEAD"):
            reply(page())
        elif path == OPENAPI_PATH:
            reply(answer(openapi(self._endpoints)))
        elif not path.startswith(PREFIX):
            reply(problem(404, "NotFound", f"There is no {path}. {OPENAPI_PATH} describes what there is."))
        elif not self._knows_token(request):
            reply(
                problem(
                    401,
                    "TokenRequired",
                    "The admin API needs the token from the file admin-token in Tule's home, as Authorization: Bearer.",
                    [("www-authenticate", 'Bearer realm="tule"')],
                )
            )
        else:
            self._tasks.spawn(f"admin {request.method} {path}", self._answer(request, reply))

    def _knows_token(self, request: HttpRequest) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode())

    async def _answer(self, request: HttpRequest, reply: Reply) -> None:
        try:
            endpoint, parts = self._find(request)
            ask = Ask(parts, dict(parse_qsl(request.query)), _body(endpoint, request.body))
            response = answer(await endpoint.handler(ask))
        except AdminError as error:
            response = problem(error.status, error.code, error.message)
        except AwsError as error:
            response = problem(error.error_status, error.error_code, error.message)
        except Exception:  # noqa: BLE001 - told without its particulars, logged with them
            _log.exception("admin call failed", method=request.method, path=request.path)
            response = problem(500, "InternalFailure", "Tule failed on this call. Its log has the particulars.")
        reply(response)

    def _find(self, request: HttpRequest) -> tuple[Endpoint, dict[str, str]]:
        asked = request.path[len(PREFIX) :].rstrip("/").split("/")
        allowed = []
        for endpoint in self._endpoints:
            pattern = endpoint.path.split("/")
            if len(pattern) != len(asked):
                continue
            parts = {}
            for wanted, given in zip(pattern, asked, strict=True):
                if wanted.startswith("{"):
                    parts[wanted[1:-1]] = unquote(given)
                elif wanted != given:
                    break
            else:
                if endpoint.method == request.method:
                    return endpoint, parts
                allowed.append(endpoint.method)
        if allowed:
            raise AdminError(405, "MethodNotAllowed", f"{request.path} knows {', '.join(allowed)} alone.")
        raise AdminError(404, "NotFound", f"There is no {request.path}. {OPENAPI_PATH} describes what there is.")


def _body(endpoint: Endpoint, raw: bytes) -> Any:
    if endpoint.body is None:
        return None
    try:
        return msgspec.json.decode(raw, type=endpoint.body)
    except msgspec.DecodeError as error:
        raise AdminError(400, "InvalidBody", f"The body is not what this call takes: {error}.") from error


def answer(value: Any, status: int = 200) -> HttpResponse:
    """`value` as JSON; decimals as strings."""
    return HttpResponse(status, _JSON, msgspec.json.encode(value))


def problem(status: int, code: str, message: str, headers: list[tuple[str, str]] | None = None) -> HttpResponse:
    return HttpResponse(status, _JSON + (headers or []), msgspec.json.encode(Problem(code, message)))
