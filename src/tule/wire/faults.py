"""Errors in each protocol's own shape."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import msgspec

from tule.kernel.errors import AwsError
from tule.net.messages import Headers, HttpResponse
from tule.wire.dialects import Dialect
from tule.wire.models import ServiceModel, Shape
from tule.wire.naming import Naming
from tule.wire.rest import header_text
from tule.wire.shaping import Outward
from tule.wire.xml_writing import XmlWriter, escape

XML_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True, slots=True)
class Told:
    """An error with everything that the model knows of it."""

    error: AwsError
    shape: Shape | None
    code: str
    """The shape's name, or the plain code."""
    query_code: str
    status: int

    @property
    def side(self) -> str:
        return "Sender" if self.status < 500 else "Receiver"


def tell(error: AwsError, model: ServiceModel | None, dialect: Dialect) -> Told:
    """`error` with the shape, code and status that the model has for it."""
    shape = model.errors.get(error.error_code) if model is not None else None
    if shape is None and model is not None and dialect.query_codes:
        named = next((name for name, code in dialect.query_codes.items() if code == error.error_code), "")
        shape = model.errors.get(named)
    if shape is None:
        return Told(error, None, error.error_code, error.error_code, error.error_status)
    trait = shape.traits.get("error", {})
    status = trait.get("httpStatusCode") or dialect.statuses.get(shape.name)
    if status is None:
        status = 500 if shape.flag("fault") and error.error_status == 400 else error.error_status
    query_code = dialect.query_codes.get(shape.name) or trait.get("code") or shape.name
    return Told(error, shape, shape.name, query_code, status)


def json_fault(told: Told, dialect: Dialect, metadata: Mapping[str, Any], request_id: str) -> HttpResponse:
    """`__type` in the body; x-amzn-query-error for clients that know the old codes."""
    if told.shape is not None:
        kind = dialect.error_namespace + told.code
    else:
        kind = dialect.common_namespaces.get(told.code, "") + told.code
    document: dict[str, Any] = {"__type": kind}
    if told.code not in dialect.silent:
        document.update(_members(told, dialect, wire_names=True))
    body = msgspec.json.encode(document)
    version = metadata.get("jsonVersion", "1.0")
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", f"application/x-amz-json-{version}")]
    if dialect.body_checksum:
        headers.append(("x-amz-crc32", str(crc32(body))))
    if "awsQueryCompatible" in metadata:
        headers.append(("x-amzn-query-error", f"{told.query_code};{told.side}"))
    return HttpResponse(told.status, headers, body)


def rest_json_fault(told: Told, dialect: Dialect, request_id: str) -> HttpResponse:
    """The code in x-amzn-ErrorType, members in the body or in headers of their own."""
    headers = [("x-amzn-RequestId", request_id), ("x-amzn-ErrorType", told.code), ("Content-Type", "application/json")]
    document = _members(told, dialect, wire_names=True)
    if told.shape is not None and "Type" in told.shape.members and "Type" not in document:
        document["Type"] = "User" if told.status < 500 else "Server"
    headers += _header_members(told)
    return HttpResponse(told.status, headers, msgspec.json.encode(document))


def _header_members(told: Told) -> Headers:
    """Members of the error that travel in headers."""
    members = told.shape.members if told.shape is not None else {}
    given = told.error.members
    return [
        (member.wire_name(name), header_text(member)(given[name]))
        for name, member in members.items()
        if member.location == "header" and given.get(name) is not None
    ]


def _members(told: Told, dialect: Dialect, *, wire_names: bool) -> dict[str, Any]:
    """The message, under the name that the shape gives it, and the error's other members."""
    shape, error = told.shape, told.error
    message_name = "Message" if told.code in dialect.upper_message else "message"
    names: dict[str, str] = {}
    if shape is not None:
        names = {name: member.wire_name(name) if wire_names else name for name, member in shape.members.items()}
        message_name = next((names[name] for name in names if name.lower() == "message"), message_name)
    document = {message_name: error.message} if error.message or shape is not None else {}
    members = shape.members if shape is not None else {}
    for name, value in error.members.items():
        if value is not None and not (name in members and members[name].location):
            reshape = Outward().of(members[name]) if name in members else None
            document[names.get(name, name)] = value if reshape is None else reshape(value)
    return document


def query_fault(told: Told, dialect: Dialect, metadata: Mapping[str, Any], request_id: str) -> HttpResponse:
    """<ErrorResponse> with the service's namespace."""
    space = dialect.namespace or metadata.get("xmlNamespace", "")
    declared = f' xmlns="{space}"' if space else ""
    inside = _xml_members(told, dialect)
    body = (
        f"{XML_DECLARATION}<ErrorResponse{declared}><Error><Type>{told.side}</Type>"
        f"<Code>{escape(told.query_code)}</Code><Message>{escape(told.error.message)}</Message>{inside}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml"), *_header_members(told)]
    return HttpResponse(told.status, headers, body.encode())


def ec2_fault(error: AwsError, request_id: str) -> HttpResponse:
    """<Response><Errors>, as EC2 alone has it."""
    body = (
        f"{XML_DECLARATION}<Response><Errors><Error><Code>{escape(error.error_code)}</Code>"
        f"<Message>{escape(error.message)}</Message></Error></Errors><RequestID>{request_id}</RequestID></Response>"
    )
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
    return HttpResponse(error.error_status, headers, body.encode())


def rest_xml_fault(told: Told, dialect: Dialect, metadata: Mapping[str, Any], request_id: str) -> HttpResponse:
    """S3's bare <Error>, or <ErrorResponse> for everybody else."""
    if not dialect.trimmed_errors:
        return query_fault(told, dialect, metadata, request_id)
    host_id = host_identity(request_id)
    body = (
        f"{XML_DECLARATION}<Error><Code>{escape(told.query_code)}</Code>"
        f"<Message>{escape(told.error.message)}</Message>{_xml_members(told, dialect)}"
        f"<RequestId>{request_id}</RequestId><HostId>{host_id}</HostId></Error>"
    )
    headers = [("x-amz-request-id", request_id), ("x-amz-id-2", host_id), ("Content-Type", "application/xml")]
    headers += _header_members(told)
    bodiless = told.status == 304
    return HttpResponse(told.status, headers, b"" if bodiless else body.encode())


def host_identity(request_id: str) -> str:
    """x-amz-id-2: on AWS it names the machine; here it is made from the request's id."""
    return b64encode(request_id.encode().ljust(48, b"=")).decode()


def _xml_members(told: Told, dialect: Dialect) -> str:
    out: list[str] = []
    writer = XmlWriter(Naming(dialect))
    members = told.shape.members if told.shape is not None else {}
    for name, value in told.error.members.items():
        if value is None:
            continue
        member = members.get(name)
        if member is not None and member.location:
            continue
        if member is not None:
            writer.element(member, member.wire_name(name))(out, value)
        else:
            out.append(f"<{name}>{escape(str(value))}</{name}>")
    return "".join(out)
