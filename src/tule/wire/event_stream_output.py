"""Event streams in answers: a handler gives an async iterator of events, the caller gets them framed as they come."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import msgspec

from tule.kernel.errors import AwsError
from tule.wire import event_stream
from tule.wire.event_stream import Header, Kind
from tule.wire.models import Shape

Write = Callable[[Any], bytes]
"""A structure as a document of the protocol."""

Frame = Callable[[Mapping[str, Any]], bytes]
"""One event, a dict with the union's one member, as a message."""

_KINDS: Final = {
    "byte": Kind.BYTE,
    "short": Kind.SHORT,
    "integer": Kind.INTEGER,
    "long": Kind.LONG,
    "timestamp": Kind.TIMESTAMP,
    "blob": Kind.BYTES,
}
_REFUSAL: Final = {":content-type": "application/json", ":message-type": "exception"}


def compile_events(union: Shape, writer_of: Callable[[Shape], Write], document_type: str) -> Frame:
    """A function that frames events of `union`; structures become documents of `document_type`."""
    frames = {name: _event(name, member, writer_of, document_type) for name, member in union.members.items()}

    def frame(event: Mapping[str, Any]) -> bytes:
        ((name, value),) = event.items()
        return frames[name](value)

    return frame


def _event(name: str, shape: Shape, writer_of: Callable[[Shape], Write], document_type: str) -> Write:
    kind = "exception" if shape.flag("exception") else "event"
    base = {f":{kind}-type": name}
    in_headers = {key: member for key, member in shape.members.items() if member.flag("eventheader")}
    whole = next(((key, member) for key, member in shape.members.items() if member.flag("eventpayload")), None)
    if whole is None:
        write, content_type = writer_of(shape), document_type
    else:
        write, content_type = _payload(*whole, writer_of), _content_type(whole[1], document_type)
    head = {**base, ":content-type": content_type, ":message-type": kind}

    def frame(value: Mapping[str, Any]) -> bytes:
        headers: dict[str, str | Header] = {**head}
        for key, member in in_headers.items():
            if value.get(key) is not None:
                headers[key] = _header(member, value[key])
        rest = value if not in_headers else {key: part for key, part in value.items() if key not in in_headers}
        return event_stream.encode(headers, write(rest))

    return frame


def _content_type(member: Shape, document_type: str) -> str:
    return {"blob": "application/octet-stream", "string": "text/plain"}.get(member.type, document_type)


def _payload(key: str, member: Shape, writer_of: Callable[[Shape], Write]) -> Write:
    if member.type == "blob":
        return lambda value: bytes(value.get(key) or b"")
    if member.type == "string":
        return lambda value: str(value.get(key) or "").encode()
    write = writer_of(member)
    return lambda value: write(value.get(key) or {})


def _header(member: Shape, value: Any) -> Header:
    if member.type == "boolean":
        return Header(Kind.TRUE if value else Kind.FALSE, bool(value))
    kind = _KINDS.get(member.type, Kind.STRING)
    return Header(kind, round(value * 1000) if kind is Kind.TIMESTAMP else value)


class Framed:
    """The events as they come. A refusal in the middle is told as an exception, and ends the stream.

    No generator: one that was never begun runs no clean-up when its reader leaves.
    """

    def __init__(self, events: AsyncIterator[Mapping[str, Any]], frame: Frame) -> None:
        self._events = events
        self._frame = frame
        self._ended = False

    def __aiter__(self) -> "Framed":
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            return self._frame(await anext(self._events))
        except AwsError as error:
            self._ended = True
            body = msgspec.json.encode({"message": error.message, **error.members})
            return event_stream.encode({**_REFUSAL, ":exception-type": error.error_code}, body)

    async def aclose(self) -> None:
        """The reader has left."""
        closer = getattr(self._events, "aclose", None)
        if closer is not None:
            await closer()
