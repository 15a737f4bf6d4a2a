"""The rest-json protocol."""

from collections.abc import Callable
from typing import Any

from tule.net.messages import Headers, HttpRequest, HttpResponse
from tule.wire import event_stream
from tule.wire.dialects import dialect_of
from tule.wire.event_stream_output import Framed, compile_events
from tule.wire.json_body import compile_body_reader, compile_body_writer
from tule.wire.models import OperationModel, Shape
from tule.wire.rest import compile_bindings, compile_headers, payload_of, plain_body, read_plain
from tule.wire.routing import Route
from tule.wire.shaping import body_members, result_members

Parse = Callable[[HttpRequest, Route], dict[str, Any]]
Serialise = Callable[[dict[str, Any], str], HttpResponse]


def compile_rest_json(operation: OperationModel) -> tuple[Parse, Serialise]:
    """How to parse requests for `operation` and serialise its results."""
    return _parser(operation), _serialiser(operation)


def _parser(operation: OperationModel) -> Parse:
    fills = compile_bindings(operation)
    read_body = _body_reader(operation)

    def parse(request: HttpRequest, route: Route) -> dict[str, Any]:
        parameters = read_body(request)
        for fill in fills:
            fill(request, route, parameters)
        return parameters

    return parse


def _body_reader(operation: OperationModel) -> Callable[[HttpRequest], dict[str, Any]]:
    shape = operation.input
    if shape is None:
        return lambda _: {}
    dialect = dialect_of(operation.service.name)
    raw = dialect.raw_members.get(operation.name, frozenset())
    payload = payload_of(shape)
    if payload is not None:
        return _payload_reader(operation, shape, payload)
    if not body_members(shape):
        return lambda _: {}
    read = compile_body_reader(shape, dialect, raw)
    return lambda request: read(request.body) if request.body else {}


def _payload_reader(
    operation: OperationModel, shape: Shape, payload: tuple[str, Shape]
) -> Callable[[HttpRequest], dict[str, Any]]:
    name, member = payload
    if member.flag("document") or member.type in ("list", "map"):
        return _document(name, shape)
    if member.type != "structure":
        return _plain(name, member)
    read = compile_body_reader(member, dialect_of(operation.service.name), frozenset())
    return lambda request: {name: read(request.body)} if request.body else {}


def _plain(name: str, member: Shape) -> Callable[[HttpRequest], dict[str, Any]]:
    read = read_plain(member)

    def read_body(request: HttpRequest) -> dict[str, Any]:
        value = read(request)
        return {} if value is None else {name: value}

    return read_body


def _document(name: str, shape: Shape) -> Callable[[HttpRequest], dict[str, Any]]:
    """A list or map as payload is read as if it were the one member of a body."""
    member = shape.members[name]
    wire = member.wire_name(name)
    holder = Shape.__new__(Shape)
    holder.name, holder.type, holder.traits = shape.name, "structure", {}
    holder._members = {name: member}  # noqa: SLF001 - a shape made of one member
    read = compile_body_reader(holder, dialect_of(""), frozenset())
    head = f'{{"{wire}":'.encode()
    return lambda request: read(head + request.body + b"}") if request.body else {}


def _serialiser(operation: OperationModel) -> Serialise:
    emits = compile_headers(operation)
    shape = operation.output
    status_name = _status_member(shape)
    body_of = _body_writer(shape)
    default = operation.status

    def serialise(result: dict[str, Any], request_id: str) -> HttpResponse:
        headers: Headers = [("x-amzn-RequestId", request_id)]
        response = HttpResponse(default, headers)
        for emit in emits:
            emit(result, headers)
        if status_name and result.get(status_name) is not None:
            response.status = int(result[status_name])
        if response.status != 204:
            body_of(result, response)
        return response

    return serialise


def _status_member(shape: Shape | None) -> str:
    if shape is None:
        return ""
    return next((name for name, member in shape.members.items() if member.location == "statusCode"), "")


def _body_writer(shape: Shape | None) -> Callable[[dict[str, Any], HttpResponse], None]:
    json_type = ("Content-Type", "application/json")
    if shape is None:
        return lambda _result, response: response.headers.append(json_type)
    payload = payload_of(shape)
    if payload is None:
        members = frozenset(result_members(shape))
        write = compile_body_writer(shape)

        def body(result: dict[str, Any], response: HttpResponse) -> None:
            response.headers.append(json_type)
            response.body = write({name: value for name, value in result.items() if name in members})

        return body
    name, member = payload
    if member.flag("eventstream"):
        return _event_writer(name, member)
    if member.type in ("structure", "list", "map") or member.flag("document"):
        write_payload = compile_body_writer(member)

        def whole(result: dict[str, Any], response: HttpResponse) -> None:
            response.headers.append(json_type)
            value = result.get(name)
            response.body = write_payload({} if value is None else value)

        return whole

    def plain(result: dict[str, Any], response: HttpResponse) -> None:
        if not any(header.lower() == "content-type" for header, _ in response.headers):
            kind = "text/plain" if member.type == "string" else "application/octet-stream"
            response.headers.append(("Content-Type", kind))
        response.body, response.stream = plain_body(result.get(name))

    return plain


def _event_writer(name: str, union: Shape) -> Callable[[dict[str, Any], HttpResponse], None]:
    """The member `name` of a result is an async iterator of events, which are sent as they come."""
    frame = compile_events(union, compile_body_writer, "application/json")

    def events(result: dict[str, Any], response: HttpResponse) -> None:
        if not any(header.lower() == "content-type" for header, _ in response.headers):
            response.headers.append(("Content-Type", event_stream.CONTENT_TYPE))
        response.stream = Framed(result[name], frame)

    return events
