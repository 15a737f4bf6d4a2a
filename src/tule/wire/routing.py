"""Which operation of which service a request is for, by its headers, host, path and body."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.net.messages import HttpRequest
from tule.wire.catalog import ServiceEntry, catalog, speaks_query
from tule.wire.models import load
from tule.wire.paths import path_table
from tule.wire.query import decode_form
from tule.wire.signatures import Signature, read_signature

_FORM: Final = "application/x-www-form-urlencoded"
_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


@dataclass(slots=True)
class Route:
    """Where a request goes."""

    service: str
    """botocore's name."""
    operation: str
    protocol: str
    """ "json", "query", "rest-json" or "rest-xml"."""
    signature: Signature | None = None
    labels: dict[str, str] = field(default_factory=dict)
    """Path labels, decoded; a bucket in the host name is one of them."""
    query: dict[str, list[str]] = field(default_factory=dict)
    """The query string of a REST request, decoded."""
    form: dict[str, str] = field(default_factory=dict)
    """The parameters of a query-protocol request, decoded."""


class UnknownOperationError(AwsError):
    """Nothing of AWS's is called that, or the operation is not there."""

    code = "UnknownOperationException"


def route(request: HttpRequest) -> Route:
    """The route of `request`. Raises AwsError as AWS answers what it can't route."""
    headers = request.headers
    signature = read_signature(request)
    target = headers.get("x-amz-target")
    if target is not None:
        service, operation = _target(target)
        return Route(service, operation, "json", signature)
    if request.path.startswith("/service/") and "/operation/" in request.path:
        raise OperationNotImplementedError("smithy-rpc-v2-cbor", request.path, "Use JSON or the query protocol.")
    content_type = headers.get("content-type", "")
    if content_type.startswith(_FORM) or "Action=" in request.query:
        found = _query_route(request, signature, form=content_type.startswith(_FORM))
        if found is not None:
            return found
    return _rest_route(request, signature)


EC2 = "ec2"
"""The one service that speaks the ec2 dialect of the query protocol, which comes with its first operation."""


@lru_cache(maxsize=4096)
def _target(target: str) -> tuple[str, str]:
    prefix, _, operation = target.rpartition(".")
    entry = catalog().by_target.get(prefix)
    if entry is None or operation not in load(entry.name).operations:
        raise UnknownOperationError
    return entry.name, operation


# -- query


def _query_route(request: HttpRequest, signature: Signature | None, *, form: bool) -> Route | None:
    """None when the request is for a service that doesn't speak query."""
    parameters = decode_form(request.query) if "Action=" in request.query else {}
    if form:
        try:
            parameters.update(decode_form(request.body.decode()))
        except UnicodeDecodeError:
            raise AwsError("The request is not UTF-8.", code="MalformedQueryString") from None
    entry = _query_service(request, signature, parameters)
    if entry is None:
        if signature is not None and signature.service == EC2:
            raise OperationNotImplementedError(EC2, parameters.get("Action", "*"))
        return None
    action = parameters.get("Action", "")
    if not action:
        raise AwsError("The request must contain the parameter Action.", code="MissingAction")
    if action not in load(entry.name).operations:
        raise AwsError(f"Could not find operation {action} for version {entry.api_version}", code="InvalidAction")
    if entry.name == "sqs" and "QueueUrl" not in parameters and request.path.count("/") >= 2:
        parameters["QueueUrl"] = f"{request.scheme}://{request.headers.get('host', '')}{request.path}"
    return Route(entry.name, action, "query", signature, form=parameters)


def _query_service(
    request: HttpRequest, signature: Signature | None, parameters: dict[str, str]
) -> ServiceEntry | None:
    index = catalog()
    if signature is not None and signature.service:
        entries = [entry for entry in index.by_signing_name.get(signature.service, ()) if speaks_query(entry)]
        named = [entry for entry in entries if entry.name == signature.service]
        return next(iter(named or entries), None)
    version = parameters.get("Version", "")
    entries = list(index.by_version.get(version, ()))
    host = request.headers.get("host", "").partition(".")[0]
    if len(entries) != 1:
        entries = [entry for entry in entries or _query_entries(host) if entry.endpoint_prefix == host]
    if not entries and "Action" in parameters and request.path.count("/") == 2:
        return index.by_name["sqs"]  # the queue's URL as endpoint, unsigned
    return entries[0] if entries else None


def _query_entries(endpoint: str) -> list[ServiceEntry]:
    return [entry for entry in catalog().by_endpoint.get(endpoint, ()) if speaks_query(entry)]


# -- REST


def decode_query(text: str) -> dict[str, list[str]]:
    """A query string as lists of values. Raises AwsError for what is no UTF-8."""
    found: dict[str, list[str]] = {}
    try:
        for pair in text.split("&"):
            if pair:
                name, _, value = pair.partition("=")
                found.setdefault(unquote_plus(name, errors="strict"), []).append(unquote_plus(value, errors="strict"))
    except UnicodeDecodeError:
        raise AwsError("Couldn't parse the specified URI.", code="InvalidURI") from None
    return found


def _rest_route(request: HttpRequest, signature: Signature | None) -> Route:
    query = decode_query(request.query)
    host = request.headers.get("host", "").lower().partition(":")[0]
    for entry in _rest_entries(request, signature, host):
        path = request.path
        if entry.name == "s3" and (bucket := bucket_of_host(host)):
            path = f"/{bucket}{path}"
        try:
            found = path_table(entry.name).find(request.method, path, query, request.headers)
        except UnicodeDecodeError:
            raise AwsError("Couldn't parse the specified URI.", code="InvalidURI") from None
        if found is not None:
            operation, labels = found
            return Route(entry.name, operation, entry.protocols[0], signature, labels, query)
        if entry.name == "s3":
            text = "The specified method is not allowed against this resource."
            raise AwsError(text, code="MethodNotAllowed", status=405)
    raise UnknownOperationError(status=404)


def _rest_entries(request: HttpRequest, signature: Signature | None, host: str) -> list[ServiceEntry]:
    """Services that the request may be for, most likely first."""
    index = catalog()
    names: tuple[ServiceEntry, ...] = ()
    if signature is not None and signature.service:
        names = index.by_signing_name.get(signature.service, ())
    elif host.endswith((*_AMAZON, ".localhost")):
        labels = host.split(".")
        names = next((found for label in labels if (found := index.by_endpoint.get(label))), ())
    elif request.path[:3] == "/20" and request.path[5:6] == "-":
        names = (index.by_name["lambda"],)  # all of Lambda's paths begin with a date
    entries = [entry for entry in names if entry.protocols[0].startswith("rest")]
    if not entries and (signature is None or not signature.service):
        entries = [index.by_name["s3"]]  # anonymous reads of objects
    return sorted(entries, key=lambda entry: signature is None or entry.name != signature.service)


def bucket_of_host(host: str) -> str:
    """The bucket in a virtual-hosted name (`bucket.s3.region.amazonaws.com`, `bucket.localhost`), or ""."""
    for marker in (".s3.", ".s3-"):
        head, found, _ = host.partition(marker)
        if found:
            return head
    if host.endswith(".localhost") and not host.startswith("s3."):
        return host.removesuffix(".localhost")
    return ""
