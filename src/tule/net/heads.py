"""Response heads as bytes."""

from http import HTTPStatus

from tule.net.messages import Headers

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})
_NOTED = frozenset({"content-length", "date"}) | _HOP_BY_HOP
_NOTED_LENGTHS = frozenset(len(name) for name in _NOTED)

BODILESS = frozenset({204, 304})
"""Statuses whose answer ends with its head (RFC 9110, 15.3.5 and 15.4.5)."""


def declared_length(headers: Headers) -> int | None:
    """The content-length that the application set, None without one."""
    for name, value in headers:
        if len(name) == 14 and name.lower() == "content-length":
            return int(value)
    return None


def render_head(status: int, headers: Headers, date: str, length: int | None, *, close: bool) -> bytes:
    """The head, with our own Date, framing and Connection lines; without `length` the body goes out in chunks.

    A line break inside a header is a defect of whoever set it, and would let a caller write our answers.
    """
    lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n"]
    dated = False
    for name, value in headers:
        if len(name) in _NOTED_LENGTHS and (low := name.lower()) in _NOTED:
            if low != "date":
                continue
            dated = True
        lines.append(f"{name}: {value}\r\n")
    if not dated:
        lines.append(date)
    if length is not None:
        lines.append(f"content-length: {length}\r\n")
    elif status not in BODILESS and not close:
        lines.append("transfer-encoding: chunked\r\n")
    lines.append("connection: close\r\n\r\n" if close else "\r\n")
    text = "".join(lines)
    breaks = len(lines) + (1 if close else 0)
    if text.count("\n") != breaks or text.count("\r") != breaks:
        raise ValueError(f"A header of an answer with status {status} contains a line break.")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()
