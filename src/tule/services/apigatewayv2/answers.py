"""What a caller is answered: a function's result, read by its payload format's rules, and the gateway's own errors."""

import binascii
from base64 import b64decode
from typing import Any

import msgspec

from tule.net.messages import Headers, HttpResponse

INTERNAL_ERROR = (500, "Internal Server Error")
NOT_FOUND = (404, "Not Found")
UNAVAILABLE = (503, "Service Unavailable")
TOO_LARGE = (413, "Request Entity Too Large")

_decode = msgspec.json.Decoder().decode
_NO_BODY = frozenset({204, 304})
_OWN_HEADERS = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "date"})
"""Set by Tule's server for every answer, so a function's are dropped."""


def gateway_error(what: tuple[int, str]) -> HttpResponse:
    """One of the gateway's own answers."""
    status, message = what
    return HttpResponse(status, [("content-type", "application/json")], b'{"message":"%b"}' % message.encode())


def answer(payload: bytes, version: str) -> HttpResponse:
    """A function's result as an HTTP answer; a result that breaks the rules is an internal server error."""
    try:
        result = _decode(payload)
    except msgspec.DecodeError:
        return gateway_error(INTERNAL_ERROR)
    if not isinstance(result, dict) or "statusCode" not in result:
        if version == "2.0":
            return HttpResponse(200, [("content-type", "application/json")], payload)
        return gateway_error(INTERNAL_ERROR)
    try:
        status = _status(result["statusCode"])
        body = _body(result)
        headers = _headers(result)
        if version == "2.0":
            headers += [("set-cookie", _clean(cookie)) for cookie in result.get("cookies") or []]
    except (ValueError, TypeError, AttributeError):
        return gateway_error(INTERNAL_ERROR)
    if status in _NO_BODY:
        return HttpResponse(status, headers)
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=utf-8"))
    return HttpResponse(status, headers, body)


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    status = int(value)
    if not 200 <= status <= 599:
        raise ValueError
    return status


def _body(result: dict[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise TypeError
    if result.get("isBase64Encoded") is True:
        try:
            return b64decode("".join(body.split()), validate=True)
        except binascii.Error as error:
            raise ValueError from error
    return body.encode()


def _clean(value: Any) -> str:
    """A header's value as text that can't end the header."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise TypeError
    text = str(value)
    if "\r" in text or "\n" in text:
        raise ValueError
    return text


def _headers(result: dict[str, Any]) -> Headers:
    headers: Headers = []
    repeated = result.get("multiValueHeaders") or {}
    for name, values in repeated.items():
        headers += [(name.lower(), _clean(value)) for value in values]
    named = {name.lower() for name in repeated}
    for name, value in (result.get("headers") or {}).items():
        if name.lower() not in named and value is not None:
            headers.append((name.lower(), _clean(value)))
    return [(name, value) for name, value in headers if name not in _OWN_HEADERS and not set(name) & set(" \r\n:")]
