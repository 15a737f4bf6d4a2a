"""Answers and refusals of the APIs, in AWS's words."""

from typing import Any, Final

import msgspec

from tule.net.messages import HttpResponse
from tule.runtime.contract import MAX_RESPONSE_BYTES

JSON: Final = ("content-type", "application/json")
NOT_ALLOWED: Final = "State transition is not allowed"

_encode = msgspec.json.Encoder().encode


def json(status: int, value: Any, *headers: tuple[str, str]) -> HttpResponse:
    return HttpResponse(status, [JSON, *headers], _encode(value))


def refusal(status: int, kind: str, message: str) -> HttpResponse:
    return json(status, {"errorMessage": message, "errorType": kind})


def accepted() -> HttpResponse:
    return json(202, {"status": "OK"})


def not_found() -> HttpResponse:
    return HttpResponse(404, [("content-type", "text/plain; charset=utf-8")], b"404 page not found\n")


def invalid_request_id() -> HttpResponse:
    return refusal(400, "InvalidRequestID", "Invalid request ID")


def invalid_response_mode() -> HttpResponse:
    return refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")


def truncated() -> HttpResponse:
    return refusal(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")


def too_large() -> HttpResponse:
    return refusal(413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).")


def invalid_transition(state: str, wanted: str) -> HttpResponse:
    """The runtime asks for something out of turn."""
    message = f"State transition from {state} to {wanted} failed for runtime. Error: {NOT_ALLOWED}"
    return refusal(403, "InvalidStateTransition", message)
