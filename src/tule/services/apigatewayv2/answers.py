"""What a caller is answered: a function's result, read by its payload format's rules, and the gateway's own errors."""

from tule.net.messages import HttpResponse
from tule.services.http_answers import NotAnAnswerError, read_answer

INTERNAL_ERROR = (500, "Internal Server Error")
NOT_FOUND = (404, "Not Found")
UNAVAILABLE = (503, "Service Unavailable")
TOO_LARGE = (413, "Request Entity Too Large")


def gateway_error(what: tuple[int, str]) -> HttpResponse:
    """One of the gateway's own answers."""
    status, message = what
    return HttpResponse(status, [("content-type", "application/json")], b'{"message":"%b"}' % message.encode())


def answer(payload: bytes, version: str) -> HttpResponse:
    """A function's result as an HTTP answer; a result that breaks the rules is an internal server error."""
    try:
        return read_answer(payload, version, "text/plain;charset=utf-8")
    except NotAnAnswerError:
        return gateway_error(INTERNAL_ERROR)
