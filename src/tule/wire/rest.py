"""REST bindings: labels, query strings, headers, status codes and payloads."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec

from tule.kernel.errors import AwsError
from tule.net.messages import Headers, HttpRequest
from tule.wire.coercion import SerializationError
from tule.wire.models import OperationModel, Shape
from tule.wire.routing import Route
from tule.wire.scalars import scalar_reader
from tule.wire.timestamps import FORMATTERS, rfc822
from tule.wire.xml_writing import spelled

Fill = Callable[[HttpRequest, Route, dict[str, Any]], None]
Emit = Callable[[dict[str, Any], Headers], None]

_COMMA: Final = ","


def compile_bindings(operation: OperationModel) -> list[Fill]:
    """Functions that fill parameters from everything but the body."""
    if operation.input is None:
        return []
    fills = []
    for name, member in operation.input.members.items():
        wire = member.wire_name(name)
        if member.location == "uri":
            fills.append(_label(name, wire, member))
        elif member.location == "querystring":
            fills.append(_query_map(name, member) if member.type == "map" else _query(name, wire, member))
        elif member.location == "header":
            fills.append(_header(name, wire.lower(), member))
        elif member.location == "headers":
            fills.append(_prefixed(name, member.traits.get("locationName", "").lower()))
    return fills


def _convert(read: Callable[[str], Any], text: str, name: str) -> Any:
    try:
        return read(text)
    except (ValueError, OverflowError, msgspec.DecodeError):
        raise SerializationError(f"The value {text[:100]!r} of {name} can not be converted.") from None


def _label(name: str, wire: str, shape: Shape) -> Fill:
    read = scalar_reader(shape, "iso8601")

    def fill(_: HttpRequest, route: Route, parameters: dict[str, Any]) -> None:
        text = route.labels.get(wire)
        if text is not None:
            parameters[name] = _convert(read, text, name)

    return fill


def _query(name: str, wire: str, shape: Shape) -> Fill:
    many = shape.type == "list"
    read = scalar_reader(shape.element if many else shape, "iso8601")

    def fill(_: HttpRequest, route: Route, parameters: dict[str, Any]) -> None:
        texts = route.query.get(wire)
        if texts is not None:
            values = [_convert(read, text, name) for text in (texts if many else texts[:1])]
            parameters[name] = values if many else values[0]

    return fill


def _query_map(name: str, shape: Shape) -> Fill:
    many = shape.value.type == "list"

    def fill(_: HttpRequest, route: Route, parameters: dict[str, Any]) -> None:
        if route.query:
            parameters[name] = {key: texts if many else texts[0] for key, texts in route.query.items()}

    return fill


def _header(name: str, wire: str, shape: Shape) -> Fill:
    if shape.flag("jsonvalue"):
        read: Callable[[str], Any] = lambda text: msgspec.json.decode(b64decode(text))  # noqa: E731 - one of three readers
    elif shape.type == "list":
        element = scalar_reader(shape.element, "rfc822")
        dates = shape.element.type == "timestamp" and shape.element.traits.get("timestampFormat", "rfc822") == "rfc822"
        read = lambda text: [element(part) for part in split_list(text, dates=dates)]  # noqa: E731 - as above
    else:
        read = scalar_reader(shape, "rfc822")

    def fill(request: HttpRequest, _: Route, parameters: dict[str, Any]) -> None:
        text = request.headers.get(wire)
        if text is not None:
            parameters[name] = _convert(read, text, name)

    return fill


def _prefixed(name: str, prefix: str) -> Fill:
    def fill(request: HttpRequest, _: Route, parameters: dict[str, Any]) -> None:
        found = {key[len(prefix) :]: text for key, text in request.headers.items() if key.startswith(prefix)}
        if found:
            parameters[name] = found

    return fill


def split_list(text: str, *, dates: bool = False) -> list[str]:
    """The elements of a list in a header; quoted ones may hold commas, dates hold one each."""
    if dates:
        parts = text.split(_COMMA)
        return [f"{day},{rest}".strip() for day, rest in zip(parts[::2], parts[1::2], strict=False)]
    if '"' not in text:
        return [part.strip() for part in text.split(_COMMA)] if text else []
    parts, current, quoted, escaped = [], "", False, False
    for letter in text:
        if escaped:
            current, escaped = current + letter, False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == _COMMA and not quoted:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    return [*parts, current.strip()]


# -- answers


def compile_headers(operation: OperationModel) -> list[Emit]:
    """Functions that turn members of a result into headers."""
    if operation.output is None:
        return []
    emits = []
    for name, member in operation.output.members.items():
        wire = member.wire_name(name)
        if member.location == "header":
            emits.append(_emit(name, wire, header_text(member)))
        elif member.location == "headers":
            emits.append(_emit_prefixed(name, member.traits.get("locationName", "")))
    return emits


def _emit(name: str, wire: str, text_of: Callable[[Any], str]) -> Emit:
    def emit(result: dict[str, Any], headers: Headers) -> None:
        value = result.get(name)
        if value is not None:
            headers.append((wire, text_of(value)))

    return emit


def _emit_prefixed(name: str, prefix: str) -> Emit:
    def emit(result: dict[str, Any], headers: Headers) -> None:
        for key, value in (result.get(name) or {}).items():
            headers.append((f"{prefix}{key}", str(value)))

    return emit


def header_text(shape: Shape) -> Callable[[Any], str]:
    """A value of `shape` as a header's text."""
    if shape.flag("jsonvalue"):
        return lambda value: b64encode(msgspec.json.encode(value)).decode()
    if shape.type == "list":
        inner, text = header_text(shape.element), shape.element.type == "string"
        return lambda value: ", ".join(_quoted(inner(part)) if text else inner(part) for part in value)
    if shape.type == "timestamp":
        style = shape.traits.get("timestampFormat")
        return FORMATTERS[style] if style else rfc822
    return _TEXTS.get(shape.type, str)


_TEXTS: Final[dict[str, Callable[[Any], str]]] = {
    "boolean": lambda value: "true" if value else "false",
    "blob": lambda value: b64encode(value).decode(),
    "float": spelled,
    "double": spelled,
}


def _quoted(text: str) -> str:
    if _COMMA in text or '"' in text:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return text


def payload_of(shape: Shape | None) -> tuple[str, Shape] | None:
    """The member that is the whole body, with its shape."""
    name = shape.traits.get("payload") if shape is not None else None
    if shape is None or not name:
        return None
    return name, shape.members[name]


def read_plain(shape: Shape) -> Callable[[HttpRequest], Any]:
    """A body that is a blob, a text or a stream."""
    if shape.type == "string":

        def text(request: HttpRequest) -> Any:
            try:
                return request.body.decode() or None
            except UnicodeDecodeError:
                raise SerializationError("The body is not UTF-8.") from None

        return text

    def blob(request: HttpRequest) -> Any:
        if request.stream is not None:
            return request.stream
        return request.body if request.body or shape.flag("streaming") else None

    return blob


def plain_body(value: Any) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """Bytes, text or a stream as an answer's body."""
    if value is None:
        return b"", None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), None
    if isinstance(value, str):
        return value.encode(), None
    stream: AsyncIterator[bytes] = value
    return b"", stream


def decoded_blob(text: str) -> bytes:
    """Base64 from a place where only text can be. Raises AwsError."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AwsError("The value is not base64.", code="InvalidArgument") from None
