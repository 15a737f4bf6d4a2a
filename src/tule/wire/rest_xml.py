"""The rest-xml protocol, S3 first of all."""

from collections.abc import Callable
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.net.messages import Headers, HttpRequest, HttpResponse
from tule.wire.dialects import dialect_of
from tule.wire.faults import XML_DECLARATION, host_identity
from tule.wire.models import OperationModel, Shape
from tule.wire.naming import Naming
from tule.wire.rest import compile_bindings, compile_headers, payload_of, plain_body, read_plain
from tule.wire.routing import Route
from tule.wire.shaping import body_members, result_members
from tule.wire.timestamps import iso8601, iso8601_milliseconds
from tule.wire.xml_reading import XmlReader, parse_document
from tule.wire.xml_writing import XmlWriter, declaration

Parse = Callable[[HttpRequest, Route], dict[str, Any]]
Serialise = Callable[[dict[str, Any], str], HttpResponse]

_ROOTS: Final = {
    # What S3 calls the elements around its results (https://docs.aws.amazon.com/AmazonS3/latest/API/), where the
    # model only has the shape's name.
    "ListBuckets": "ListAllMyBucketsResult",
    "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListParts": "ListPartsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketTagging": "Tagging",
    "GetObjectTagging": "Tagging",
    "GetBucketAcl": "AccessControlPolicy",
    "GetObjectAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketReplication": "ReplicationConfiguration",
    "GetObjectAttributes": "GetObjectAttributesResponse",
}
_BARE: Final = {"GetBucketLocation": "LocationConstraint"}
"""Operations whose answer is one element with a text (Smithy's s3UnwrappedXmlOutput, which botocore drops)."""

_S3_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


def compile_rest_xml(operation: OperationModel) -> tuple[Parse, Serialise]:
    """How to parse requests for `operation` and serialise its results."""
    return _parser(operation), _serialiser(operation)


PARTIAL_CONTENT = 206
"""The status of an answer that gives a range: HTTP's, which the models leave out."""


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
    reader = XmlReader(Naming(dialect_of(operation.service.name)))
    payload = payload_of(shape)
    if payload is None:
        if not body_members(shape):
            return lambda _: {}
        read = reader.structure(shape, body_only=True)
        return lambda request: read(parse_document(request.body)) if request.body.strip() else {}
    name, member = payload
    if member.type not in ("structure", "list", "map"):
        plain = read_plain(member)

        def read_body(request: HttpRequest) -> dict[str, Any]:
            value = plain(request)
            return {} if value is None else {name: value}

        return read_body
    read_payload = reader.of(member)
    required = name in shape.required

    def read_element(request: HttpRequest) -> dict[str, Any]:
        if request.body.strip():
            return {name: read_payload(parse_document(request.body))}
        if required:
            raise AwsError("Request Body is empty", code="MissingRequestBodyError")
        return {}

    return read_element


def _serialiser(operation: OperationModel) -> Serialise:
    emits = compile_headers(operation)
    shape = operation.output
    s3 = operation.service.name == "s3"
    body_of = _body_writer(operation)
    default = operation.status
    status_name = ""
    ranged = shape is not None and "ContentRange" in shape.members
    if shape is not None:
        status_name = next((name for name, member in shape.members.items() if member.location == "statusCode"), "")

    def serialise(result: dict[str, Any], request_id: str) -> HttpResponse:
        headers: Headers = [("x-amz-request-id" if s3 else "x-amzn-RequestId", request_id)]
        if s3:
            headers.append(("x-amz-id-2", host_identity(request_id)))
        response = HttpResponse(default, headers)
        for emit in emits:
            emit(result, headers)
        if status_name and result.get(status_name) is not None:
            response.status = int(result[status_name])
        if ranged and result.get("ContentRange"):
            response.status = PARTIAL_CONTENT
        body_of(result, response)
        return response

    return serialise


def _body_writer(operation: OperationModel) -> Callable[[dict[str, Any], HttpResponse], None]:
    shape = operation.output
    if shape is None:
        return lambda _result, _response: None
    payload = payload_of(shape)
    if payload is not None and payload[1].type not in ("structure", "list", "map"):
        name = payload[0]

        def plain(result: dict[str, Any], response: HttpResponse) -> None:
            response.body, response.stream = plain_body(result.get(name))

        return plain
    if payload is None and not result_members(shape):
        return lambda _result, _response: None
    return _element_writer(operation, shape, payload)


def _element_writer(
    operation: OperationModel, shape: Shape, payload: tuple[str, Shape] | None
) -> Callable[[dict[str, Any], HttpResponse], None]:
    s3 = operation.service.name == "s3"
    writer = XmlWriter(Naming(dialect_of(operation.service.name)), iso8601_milliseconds if s3 else iso8601)
    space = _S3_NAMESPACE if s3 else operation.service.metadata.get("xmlNamespace", "")
    held = shape if payload is None else payload[1]
    tag = _ROOTS.get(operation.name) if s3 else None
    tag = tag or str(held.traits.get("locationName", held.name))
    declared = declaration(held) or (f' xmlns="{space}"' if space else "")
    content, attributes = writer.content(held, body_only=payload is None), writer.attributes(held)
    bare = _BARE.get(operation.name) if s3 else None

    def write(result: dict[str, Any], response: HttpResponse) -> None:
        value: Any = result if payload is None else result.get(payload[0])
        if value is None:
            return
        out = [XML_DECLARATION]
        if bare:
            member = shape.members[bare]
            out.append(f"<{bare}{declared}>{writer.text_of(member)(value.get(bare) or '')}</{bare}>")
        else:
            out.append(f"<{tag}{declared}{attributes(value)}>")
            content(out, value)
            out.append(f"</{tag}>")
        response.headers.append(("Content-Type", "application/xml"))
        response.body = "".join(out).encode()

    return write
