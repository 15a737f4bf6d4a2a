"""JSON bodies: requests in, results out."""

from collections.abc import Callable
from typing import Any

import msgspec

from tule.wire.coercion import Coercion, SerializationError
from tule.wire.dialects import Dialect
from tule.wire.json_types import NotTypableError, type_of, typed_dict
from tule.wire.models import Shape
from tule.wire.shaping import Inward, Outward, body_members

RawJson = msgspec.Raw
"""JSON that is spliced into an answer as it is, or that a handler asked to get unread."""

_decode_any = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


def compile_body_reader(shape: Shape, dialect: Dialect, raw: frozenset[str]) -> Callable[[bytes], dict[str, Any]]:
    """A function from a JSON body to the members of `shape` that travel in it.

    It raises SerializationError. msgspec reads well-formed requests; what it refuses is read again with patience.
    """
    slow = _compile_slow(shape, dialect, raw)
    reshape = Inward().of(shape)
    try:
        fields = {
            member.wire_name(name): RawJson if name in raw else type_of(member, dialect, (shape.name,))
            for name, member in body_members(shape).items()
            if not member.flag("eventstream")
        }
    except NotTypableError:
        decode = slow
    else:
        decode = msgspec.json.Decoder(typed_dict(shape.name, fields)).decode

    def read(body: bytes) -> dict[str, Any]:
        try:
            document = decode(body)
        except (msgspec.ValidationError, UnicodeDecodeError, msgspec.DecodeError, RecursionError):
            document = slow(body)
        return document if reshape is None else reshape(document)

    return read


def _compile_slow(shape: Shape, dialect: Dialect, raw: frozenset[str]) -> Callable[[bytes], dict[str, Any]]:
    coerce = Coercion(dialect).of(shape)
    raw_names = [member.wire_name(name) for name, member in shape.members.items() if name in raw]

    def read(body: bytes) -> dict[str, Any]:
        try:
            document = _decode_any(body)
            result: dict[str, Any] = coerce(document)
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
            raise SerializationError from None
        for name in raw_names:
            if document.get(name) is not None:
                result[name] = RawJson(encode(document[name]))
        return result

    return read


def compile_body_writer(shape: Shape | None) -> Callable[[Any], bytes]:
    """A function from a result to its JSON body: members that are None are left out, a `RawJson` is the body itself."""
    reshape = None if shape is None else Outward().of(shape)

    def write(result: Any) -> bytes:
        if isinstance(result, RawJson):
            return bytes(result)
        if isinstance(result, dict) and None in result.values():
            result = {name: value for name, value in result.items() if value is not None}
        return encode(result if reshape is None else reshape(result))

    return write
