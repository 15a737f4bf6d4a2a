"""The framing of `application/vnd.amazon.eventstream`: messages with typed headers, lengths and checksums.

https://smithy.io/2.0/aws/amazon-eventstream.html: a prelude (total length, length of the headers, CRC-32 of these two),
the headers, the payload, and the CRC-32 of all that precedes it. Numbers are big-endian.
"""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final, NamedTuple
from zlib import crc32

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"

HEADERS_MAX_BYTES: Final = 128 * 1024
"""Of all headers of a message (the specification above)."""

PAYLOAD_MAX_BYTES: Final = 24 * 1024 * 1024
"""Of a message's payload: what AWS's own SDKs read (botocore's parser has this bound)."""

NAME_MAX_BYTES: Final = 255
VALUE_MAX_BYTES: Final = 32_767

_UUID_BYTES: Final = 16
_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_AROUND: Final = _PRELUDE.size + _CRC.size


class Kind(IntEnum):
    """What a header's value is, as it stands on the wire."""

    TRUE = 0
    FALSE = 1
    BYTE = 2
    SHORT = 3
    INTEGER = 4
    LONG = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    UUID = 9


class Header(NamedTuple):
    """A value with its kind. A timestamp is in milliseconds since the epoch, a UUID has 16 bytes."""

    kind: Kind
    value: bool | int | str | bytes


class Message(NamedTuple):
    """One message, its headers by name."""

    headers: dict[str, Header]
    payload: bytes

    def text(self, name: str) -> str:
        """A text header, or ""."""
        header = self.headers.get(name)
        return header.value if header is not None and isinstance(header.value, str) else ""


class EventStreamError(ValueError):
    """Bytes that are no event stream, or a message that can't be one."""


_FIXED: Final = {
    Kind.BYTE: struct.Struct(">b"),
    Kind.SHORT: struct.Struct(">h"),
    Kind.INTEGER: struct.Struct(">i"),
    Kind.LONG: struct.Struct(">q"),
    Kind.TIMESTAMP: struct.Struct(">q"),
}


def encode(headers: Mapping[str, str | Header], payload: bytes = b"") -> bytes:
    """One message. A header that is a text is a string header."""
    head = b"".join([_header(name, value) for name, value in headers.items()])
    if len(head) > HEADERS_MAX_BYTES or len(payload) > PAYLOAD_MAX_BYTES:
        raise EventStreamError(f"{len(head)} bytes of headers and {len(payload)} of payload exceed a message.")
    sizes = struct.pack(">II", _AROUND + len(head) + len(payload), len(head))
    frame = b"".join((sizes, _CRC.pack(crc32(sizes)), head, payload))
    return frame + _CRC.pack(crc32(frame))


def _header(name: str, value: str | Header) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) <= NAME_MAX_BYTES:
        raise EventStreamError(f"A header's name has 1 to {NAME_MAX_BYTES} bytes, not {len(encoded)}.")
    kind, content = (Kind.STRING, value) if isinstance(value, str) else value
    return b"%c%b%c%b" % (len(encoded), encoded, kind, _value(kind, content))


def _value(kind: Kind, content: bool | int | str | bytes) -> bytes:  # noqa: FBT001 - booleans are values here
    if kind in (Kind.TRUE, Kind.FALSE):
        return b""
    fixed = _FIXED.get(kind)
    if fixed is not None:
        try:
            return fixed.pack(content)
        except struct.error as error:
            raise EventStreamError(f"{content!r} is no {kind.name.lower()}.") from error
    if kind is Kind.UUID and isinstance(content, bytes) and len(content) == _UUID_BYTES:
        return content
    data = content.encode() if isinstance(content, str) else content
    if kind is Kind.UUID or not isinstance(data, bytes) or len(data) > VALUE_MAX_BYTES:
        raise EventStreamError(f"A header takes text or bytes, at most {VALUE_MAX_BYTES}; a UUID takes 16.")
    return struct.pack(">H", len(data)) + data


class Decoder:
    """Takes an event stream in pieces of any size and gives its messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def unfinished_bytes(self) -> int:
        """What came of a message that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes. Raises EventStreamError at the first that is wrong."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _PRELUDE.size:
            total, head, checksum = _PRELUDE.unpack_from(buffer)
            if crc32(buffer[:8]) != checksum:
                raise EventStreamError("The checksum of a message's prelude is wrong.")
            payload = total - head - _AROUND
            if head > HEADERS_MAX_BYTES or not 0 <= payload <= PAYLOAD_MAX_BYTES:
                raise EventStreamError(f"A message of {total} bytes with {head} bytes of headers is impossible.")
            if len(buffer) < total:
                return
            frame = bytes(buffer[:total])
            del buffer[:total]
            yield _message(frame, head)


def decode(data: bytes) -> list[Message]:
    """All messages of a complete stream. Raises EventStreamError, also for an end in the middle of a message."""
    decoder = Decoder()
    messages = list(decoder.feed(data))
    if decoder.unfinished_bytes:
        raise EventStreamError(f"The stream ends {decoder.unfinished_bytes} bytes into a message.")
    return messages


def _message(frame: bytes, head: int) -> Message:
    if crc32(frame[: -_CRC.size]) != _CRC.unpack_from(frame, len(frame) - _CRC.size)[0]:
        raise EventStreamError("The checksum of a message is wrong.")
    start = _PRELUDE.size
    return Message(_headers(frame[start : start + head]), frame[start + head : -_CRC.size])


def _headers(data: bytes) -> dict[str, Header]:
    headers: dict[str, Header] = {}
    position = 0
    try:
        while position < len(data):
            size = data[position]
            name = data[position + 1 : position + 1 + size].decode()
            kind = Kind(data[position + 1 + size])
            value, position = _read(kind, data, position + 2 + size)
            if name in headers:
                raise EventStreamError(f"The header {name} comes twice.")
            headers[name] = Header(kind, value)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise EventStreamError("A message's headers end in the middle, or are no text.") from error
    except ValueError as error:
        raise error if isinstance(error, EventStreamError) else EventStreamError(str(error)) from error
    return headers


def _read(kind: Kind, data: bytes, position: int) -> tuple[bool | int | str | bytes, int]:
    if kind in (Kind.TRUE, Kind.FALSE):
        return kind is Kind.TRUE, position
    fixed = _FIXED.get(kind)
    if fixed is not None:
        number: int = fixed.unpack_from(data, position)[0]
        return number, position + fixed.size
    if kind is Kind.UUID:
        return _cut(data, position, _UUID_BYTES), position + _UUID_BYTES
    (size,) = struct.unpack_from(">H", data, position)
    raw = _cut(data, position + 2, size)
    return raw.decode() if kind is Kind.STRING else raw, position + 2 + size


def _cut(data: bytes, position: int, size: int) -> bytes:
    part = data[position : position + size]
    if len(part) < size:
        raise IndexError
    return part
