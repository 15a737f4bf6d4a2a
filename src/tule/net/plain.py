"""Requests as clients usually send them, read in one step: whole, alone in what was received, nothing unusual in them.

Everything that is not plainly right is left to the real parser: its verdict is the only one. So no leniency may come in
here: header names are those that the parser has taken before, and none that says how a message is framed or what else
is expected of a server, but for content-length and "connection: keep-alive", which Node's clients always send.
"""

import re
from collections.abc import Mapping
from typing import Final

from tule.net.messages import HttpRequest

FRAMING: Final = frozenset(
    {"expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that change how a message is read or answered."""

_LONGEST_LENGTH: Final = 12
_TEXT: Final = bytes([9, *range(32, 127), *range(128, 256)])
"""What may stand in a line (RFC 9112, 2.2 and 4; RFC 9110, 5.5)."""
_REQUEST_LINE: Final = re.compile(r"(DELETE|GET|HEAD|PATCH|POST|PUT) (/[A-Za-z0-9\-._~/%:@!$&'()*+,;=?]*) HTTP/1\.1")


def read_plain(data: bytes, names: Mapping[str, str], most_head_bytes: int) -> HttpRequest | None:
    """The request that `data` is, from nobody yet; None if the parser must look at it.

    `names` has the lower-case names of headers that the parser knows, as clients write them, without `FRAMING`.
    """
    end = data.find(b"\r\n\r\n")
    if not 0 < end <= most_head_bytes:
        return None
    head = data[:end]
    first, *lines = head.decode("latin-1").split("\r\n")
    line = ("POST", "/") if first == "POST / HTTP/1.1" else _method_and_target(first)
    if line is None or head.translate(None, _TEXT) != b"\r\n" * len(lines):
        return None
    headers: dict[str, str] = {}
    for text in lines:
        name, _, value = text.partition(":")
        key = names.get(name)
        if key is None or key in headers:
            return None
        headers[key] = value.lstrip(" \t")
    body = data[end + 4 :]
    length = headers.get("content-length", "0")
    whole = length.isdecimal() and len(length) < _LONGEST_LENGTH and int(length) == len(body)
    if not whole or "host" not in headers or headers.get("connection", "keep-alive") != "keep-alive":
        return None
    method, target = line
    path, _, query = target.partition("?")
    return HttpRequest(method, target, path, query, headers, body)


def _method_and_target(first: str) -> tuple[str, str] | None:
    match = _REQUEST_LINE.fullmatch(first)
    return None if match is None else (match[1], match[2])
