"""What a function that answers HTTP requests returns, read by the rules of its payload format."""

import binascii
from base64 import b64decode
from typing import Any

import msgspec

from tule.net.messages import Headers, HttpResponse

_decode = msgspec.json.Decoder().decode
_NO_BODY = frozenset({204, 304})
_OWN_HEADERS = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "date"})
"""Set by Tule's server for every answer, so a function's are dropped."""


class NotAnAnswerError(ValueError):
    """What the function returned breaks the rules of its payload format."""


def read_answer(payload: bytes, version: str, default_type: str) -> HttpResponse:
    """A function's result as an HTTP answer. `default_type` is the content type of a body without one."""
    try:
        result = _decode(payload)
    except msgspec.DecodeError as error:
        raise NotAnAnswerError from error
    if not isinstance(result, dict) or "statusCode" not in result:
        if version == "2.0":
            return HttpResponse(200, [("content-type", "application/json")], payload)
        raise NotAnAnswerError
    try:
        response = HttpResponse(_status(result["statusCode"]), head_of(result, version), _body(result))
    except (ValueError, TypeError, AttributeError) as error:
        raise NotAnAnswerError from error
    if response.status in _NO_BODY:
        response.body = b""
    elif not any(name == "content-type" for name, _ in response.headers):
        response.headers.append(("content-type", default_type))
    return response


def read_prelude(document: bytes) -> HttpResponse:
    """Status, headers and cookies that a streamed response begins with; the body is to follow."""
    try:
        result = _decode(document)
        if not isinstance(result, dict):
            raise NotAnAnswerError
        return HttpResponse(_status(result.get("statusCode", 200)), head_of(result, "2.0"))
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError) as error:
        raise NotAnAnswerError from error


def head_of(result: dict[str, Any], version: str) -> Headers:
    """Headers, with the cookies of format 2.0."""
    headers = _headers(result)
    if version == "2.0":
        headers += [("set-cookie", _clean(cookie)) for cookie in result.get("cookies") or []]
    return headers


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
