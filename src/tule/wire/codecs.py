"""An operation's codecs: parse requests, serialise results and errors, in whatever protocol the caller speaks."""

import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tule.kernel.errors import AwsError
from tule.kernel.limits import MAX_BUFFERED_BODY_BYTES
from tule.net.messages import HttpRequest, HttpResponse
from tule.wire import faults
from tule.wire.catalog import catalog
from tule.wire.dialects import dialect_of
from tule.wire.json_body import RawJson, compile_body_reader, compile_body_writer
from tule.wire.models import OperationModel, ServiceModel, load
from tule.wire.naming import Naming
from tule.wire.query import QueryReader, nested
from tule.wire.rest_json import compile_rest_json
from tule.wire.rest_xml import compile_rest_xml
from tule.wire.routing import EC2, Route
from tule.wire.signatures import read_signature
from tule.wire.validation import Predicates, envelope, violations
from tule.wire.xml_writing import XmlWriter

__all__ = ["CompiledOperation", "RawJson", "compiled", "routing_refusal"]

Parse = Callable[[HttpRequest, Route], dict[str, Any]]
Serialise = Callable[[dict[str, Any], str], HttpResponse]


class CompiledOperation:
    """One operation of one service. Protocols are compiled when somebody speaks them."""

    def __init__(self, model: OperationModel) -> None:
        self.model = model
        self.service = model.service.name
        self.name = model.name
        self._dialect = dialect_of(self.service)
        self._parsers: dict[str, Parse] = {}
        self._serialisers: dict[str, Serialise] = {}
        self._accepts: Callable[[Any], bool] | None = None
        if self._dialect.validates != "types" and model.input is not None:
            predicates = Predicates(required_only=self._dialect.validates == "required")
            self._accepts = predicates.of(model.input)

    def parse(self, request: HttpRequest, route: Route) -> dict[str, Any]:
        """The parameters by the model's names. Raises AwsError for what is malformed or violates the model."""
        parse = self._parsers.get(route.protocol)
        if parse is None:
            parse = self._parsers[route.protocol] = _PARSERS[route.protocol](self.model)
        coding = request.headers.get("content-encoding")
        if coding is not None and "gzip" in coding and "requestcompression" in self.model.document:
            request.body = decompressed(request.body)
        parameters = parse(request, route)
        if self._accepts is not None and not self._accepts(parameters):
            raise self.violation(parameters)
        return parameters

    def serialise(self, result: Mapping[str, Any] | None, route: Route, request_id: str) -> HttpResponse:
        """The answer for `result`, which has the model's names."""
        serialise = self._serialisers.get(route.protocol)
        if serialise is None:
            serialise = self._serialisers[route.protocol] = _SERIALISERS[route.protocol](self.model)
        return serialise(result or {}, request_id)  # type: ignore[arg-type]  # nobody changes it

    def serialise_error(self, error: AwsError, route: Route, request_id: str) -> HttpResponse:
        """The answer for `error`."""
        return _fault(self.model.service, route.protocol, error, request_id)

    def validate(self, parameters: Mapping[str, Any]) -> None:
        """Hold parameters that came from inside against the model. Raises AwsError."""
        if self._accepts is not None and not self._accepts(parameters):
            raise self.violation(parameters)

    def violation(self, parameters: Mapping[str, Any]) -> AwsError:
        """The error of parameters that violate the model."""
        dialect, shape = self._dialect, self.model.input
        if dialect.missing_code and shape is not None:
            missing = next(
                (name for name in shape.required if name not in parameters), _missing_inside(shape, parameters)
            )
            return AwsError(dialect.missing_text.format(name=missing), code=dialect.missing_code)
        sentences = violations(self.model, parameters, dialect)
        return AwsError(envelope(sentences), code=dialect.validation_code)


def decompressed(body: bytes) -> bytes:
    """A body that its client compressed with gzip. Raises AwsError."""
    try:
        unpacker = zlib.decompressobj(wbits=31)
        plain = unpacker.decompress(body, MAX_BUFFERED_BODY_BYTES)
    except zlib.error:
        raise AwsError("The body is not gzip as its Content-Encoding says.", code="SerializationException") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise AwsError("The body is incomplete or too large once decompressed.", code="SerializationException")
    return plain


def _missing_inside(shape: Any, value: Any) -> str:
    """The first required member that is missing somewhere inside."""
    if shape.type == "structure":
        for name in shape.required:
            if name not in value:
                return str(name)
        inner = ((member, value[name]) for name, member in shape.members.items() if value.get(name) is not None)
    elif shape.type == "list":
        inner = ((shape.element, part) for part in value)
    elif shape.type == "map":
        inner = ((shape.value, part) for part in value.values())
    else:
        return ""
    return next((found for member, part in inner if (found := _missing_inside(member, part))), "")


@cache
def compiled(service: str, operation: str) -> CompiledOperation:
    """The codecs of an operation by botocore's and the model's names. Raises KeyError for an operation nobody has."""
    return CompiledOperation(load(service).operations[operation])


# -- JSON and query; the REST protocols have files of their own


def _json_parser(operation: OperationModel) -> Parse:
    if operation.input is None:
        return lambda _request, _route: {}
    dialect = dialect_of(operation.service.name)
    read = compile_body_reader(operation.input, dialect, dialect.raw_members.get(operation.name, frozenset()))
    return lambda request, _route: read(request.body)


def _json_serialiser(operation: OperationModel) -> Serialise:
    write = compile_body_writer(operation.output)
    name = operation.service.name
    content_type = ("Content-Type", f"application/x-amz-json-{operation.service.metadata.get('jsonVersion', '1.0')}")
    checksum = dialect_of(name).body_checksum

    def serialise(result: dict[str, Any], request_id: str) -> HttpResponse:
        body = write(result)
        headers = [("x-amzn-RequestId", request_id), content_type]
        if checksum:
            headers.append(("x-amz-crc32", str(zlib.crc32(body))))
        return HttpResponse(200, headers, body)

    return serialise


def _query_parser(operation: OperationModel) -> Parse:
    if operation.input is None:
        return lambda _request, _route: {}
    read = QueryReader(Naming(dialect_of(operation.service.name))).structure(operation.input)

    def parse(_: HttpRequest, route: Route) -> dict[str, Any]:
        parameters: dict[str, Any] = read(nested(route.form))
        return parameters

    return parse


def _query_serialiser(operation: OperationModel) -> Serialise:
    dialect = dialect_of(operation.service.name)
    space = dialect.namespace or operation.service.metadata.get("xmlNamespace", "")
    declared = f' xmlns="{space}"' if space else ""
    head = f"{faults.XML_DECLARATION}<{operation.name}Response{declared}>"
    tail = f"</{operation.name}Response>"
    wrapper = operation.result_wrapper
    output = operation.output
    content = XmlWriter(Naming(dialect)).content(output) if output is not None else None

    def serialise(result: dict[str, Any], request_id: str) -> HttpResponse:
        out = [head]
        if content is not None:
            out.append(f"<{wrapper}>")
            content(out, result)
            out.append(f"</{wrapper}>")
        out.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>{tail}")
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
        return HttpResponse(200, headers, "".join(out).encode())

    return serialise


_PARSERS: dict[str, Callable[[OperationModel], Parse]] = {
    "json": _json_parser,
    "query": _query_parser,
    "rest-json": lambda operation: compile_rest_json(operation)[0],
    "rest-xml": lambda operation: compile_rest_xml(operation)[0],
}
_SERIALISERS: dict[str, Callable[[OperationModel], Serialise]] = {
    "json": _json_serialiser,
    "query": _query_serialiser,
    "rest-json": lambda operation: compile_rest_json(operation)[1],
    "rest-xml": lambda operation: compile_rest_xml(operation)[1],
}


# -- errors


def _fault(service: ServiceModel | None, protocol: str, error: AwsError, request_id: str) -> HttpResponse:
    dialect = dialect_of(service.name if service is not None else "")
    metadata = service.metadata if service is not None else {}
    told = faults.tell(error, service, dialect)
    if protocol == "json":
        return faults.json_fault(told, dialect, metadata, request_id)
    if protocol == "rest-json":
        return faults.rest_json_fault(told, dialect, request_id)
    if protocol == "query":
        return faults.query_fault(told, dialect, metadata, request_id)
    return faults.rest_xml_fault(told, dialect, metadata, request_id)


def routing_refusal(request: HttpRequest, error: AwsError, request_id: str) -> HttpResponse:
    """The answer for an error before a route was found, in the protocol that the request seems to speak."""
    signature = read_signature(request)
    service = _signing_service(signature.service if signature is not None else "")
    content_type = request.headers.get("content-type", "")
    if service == EC2:
        return faults.ec2_fault(error, request_id)
    if "x-amz-target" in request.headers or content_type.startswith("application/x-amz-json"):
        prefix = request.headers.get("x-amz-target", "").rpartition(".")[0]
        entry = catalog().by_target.get(prefix)
        return _fault(load(entry.name if entry else "dynamodb"), "json", error, request_id)
    if content_type.startswith("application/x-www-form-urlencoded") or "Action=" in request.query:
        return _fault(load(service) if service else None, "query", error, request_id)
    protocol = catalog().by_name[service or "s3"].protocols[0]
    return _fault(load(service or "s3"), protocol if protocol.startswith("rest") else "rest-json", error, request_id)


def _signing_service(signing_name: str) -> str:
    """botocore's name of the first service that signs with this name, or ""."""
    entries = catalog().by_signing_name.get(signing_name, ())
    named = [entry.name for entry in entries if entry.name == signing_name]
    return (named or [entry.name for entry in entries] or [""])[0]
