"""botocore's protocol vectors, the other way round: we parse what its clients send and they parse what we answer."""

import copy
import json
import math
from typing import Any

import pytest
from botocore.awsrequest import HeadersDict
from botocore.model import OperationModel as BotocoreOperation
from botocore.model import ServiceModel as BotocoreService
from botocore.parsers import JSONParser, QueryParser, RestJSONParser, RestXMLParser
from botocore.utils import parse_timestamp
from botocore_vectors import Vector, vectors

from tule.kernel.errors import AwsError
from tule.net.messages import HttpRequest
from tule.wire.codecs import CompiledOperation
from tule.wire.models import Shape
from tule.wire.paths import PathTable
from tule.wire.query import decode_form
from tule.wire.routing import Route, decode_query

PROTOCOLS = ["json", "json_1_0", "json_1_0-query-compatible", "query", "rest-json", "rest-xml"]

# What is left out, and why.
SKIPPED = {
    name: reason
    for reason, names in {
        "the vector keeps the compressed body to itself; test_wire_operations has compression": (
            "SDKAppliedContentEncoding_awsJson1_1",
            "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_1",
            "SDKAppliedContentEncoding_awsJson1_0",
            "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_0",
            "SDKAppliedContentEncoding_awsQuery",
            "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsQuery",
            "SDKAppliedContentEncoding_restJson1",
            "SDKAppendedGzipAfterProvidedEncoding_restJson1",
            "SDKAppliedContentEncoding_restXml",
            "SDKAppendedGzipAfterProvidedEncoding_restXml",
        ),
        "the client adds a token that the vector's parameters lack": (
            "QueryProtocolIdempotencyTokenAutoFill",
            "RestJsonQueryIdempotencyTokenAutoFill",
            "QueryIdempotencyTokenAutoFill",
        ),
        "an empty list or map is not sent, so nobody can read it": (
            "QueryEmptyQueryMaps",
            "RestJsonHttpPrefixHeadersAreNotPresent",
            "HttpPrefixHeadersAreNotPresent",
            "RestJsonOmitsEmptyListQueryValues",
        ),
        "an absent payload is sent as {}, so the two read alike": (
            "RestJsonHttpWithEmptyStructurePayload",
            "RestJsonHttpWithHeadersButNoPayload",
        ),
        "a map of the query string holds all of it for a server, bound members included": (
            "RestJsonQueryParamsStringListMap",
            "RestJsonQueryPrecedence",
            "AllQueryStringTypes",
            "RestXmlQueryStringEscaping",
            "RestXmlSupportsNaNFloatQueryValues",
            "RestXmlSupportsInfinityFloatQueryValues",
            "RestXmlSupportsNegativeInfinityFloatQueryValues",
            "RestXmlZeroAndFalseQueryValues",
            "RestXmlQueryParamsStringListMap",
            "RestXmlQueryPrecedence",
        ),
        "botocore fails it too: it names flattened lists by their elements, as SimpleDB and the old SQS do": (
            "QueryFlattenedListArgWithXmlName",
            "QueryXmlLists",
            "XmlLists",
        ),
        "botocore fails it too: a structure's own locationName goes with all its uses": ("BodyWithXmlName",),
        "botocore fails it too: the parameter is text where its model wants JSON": ("MediaTypeHeaderInputBase64",),
        "botocore gives b'' or {} for what is absent": (
            "RestJsonHttpPayloadTraitsWithNoBlobBody",
            "HttpPayloadTraitsWithNoBlobBody",
            "RestJsonHttpPayloadWithUnsetUnion",
            "RestXmlHttpPayloadWithUnsetUnion",
        ),
        "botocore does not parse lists in headers": (
            "RestJsonInputAndOutputWithQuotedStringHeaders",
            "RestJsonInputAndOutputWithTimestampHeaders",
            "InputAndOutputWithTimestampHeaders",
        ),
        "the path of the endpoint is the client's business": ("RestJsonHostWithPath",),
        "the prefix is empty, and our answers have headers of their own": ("HttpPrefixHeadersResponse",),
        "the vector answers 400 where its model says 402; SQS and CloudWatch answer what the model says": (
            "QueryCompatibleAwsJson10CustomCodeError",
        ),
    }.items()
    for name in names
}


def _cases(kind: str) -> list[Any]:
    found = []
    for vector in vectors(kind, PROTOCOLS):
        reason = SKIPPED.get(vector.case.get("id"))
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        found.append(pytest.param(vector, id=vector.id, marks=marks))
    return found


def _protocol(vector: Vector) -> str:
    return vector.document["metadata"]["protocol"]


def test_the_table_of_skipped_vectors_names_only_vectors_that_exist():
    known = {vector.case.get("id") for kind in ("input", "output") for vector in vectors(kind, PROTOCOLS)}
    assert set(SKIPPED) <= known


@pytest.mark.parametrize("vector", _cases("input"))
def test_we_read_what_botocore_writes(vector: Vector):
    sent = vector.case["serialized"]
    headers = {"host": "localhost", **{name.lower(): value for name, value in sent.get("headers", {}).items()}}
    path, _, query = sent.get("uri", "/").partition("?")
    body = sent.get("body", "").encode()
    request = HttpRequest(sent.get("method", "POST"), sent.get("uri", "/"), path, query, headers, body)
    operation = vector.operation()
    route = Route("vectors", vector.name, _protocol(vector))
    if route.protocol == "query":
        route.form = decode_form(body.decode())
    elif route.protocol.startswith("rest"):
        route.query = decode_query(query)
        found = PathTable(operation.service).find(request.method, path, route.query, headers)
        assert found is not None
        assert found[0] == vector.name
        route.labels = found[1]
    assert _readable(CompiledOperation(operation).parse(request, route)) == _readable(vector.case["params"])


@pytest.mark.parametrize("vector", _cases("output"))
def test_botocore_reads_what_we_write(vector: Vector):
    operation = CompiledOperation(vector.operation())
    route = Route("vectors", vector.name, _protocol(vector))
    case = vector.case
    if "error" in case:
        shapes = vector.service().errors
        shape = shapes.get(case["errorCode"])
        members = (
            {} if shape is None else _values(shape, {k: v for k, v in case["error"].items() if k.lower() != "message"})
        )
        error = AwsError(case.get("errorMessage", ""), code=case["errorCode"], members=members)
        response = operation.serialise_error(error, route, "request")
        assert response.status == case["response"]["status_code"]
    else:
        output = vector.operation().output
        result = _values(output, case["result"]) if output is not None else {}
        response = operation.serialise(result, route, "request")
    parsed = _parsed(vector, response)
    if "error" in case:
        assert parsed["Error"]["Code"] == case["errorCode"]
        assert (parsed["Error"]["Message"] or "") == case.get("errorMessage", "")
        expected = _readable(case["error"])
        assert {name: value for name, value in _readable(parsed).items() if name in expected} == expected
        return
    assert _readable(parsed) == _readable(case["result"])


def _parsed(vector: Vector, response: Any) -> dict[str, Any]:
    """What botocore's own parser makes of our answer, the members of a modelled error included."""
    document = copy.deepcopy({**vector.document, "operations": {vector.name: vector.case["given"]}})
    service = BotocoreService(document)
    operation = BotocoreOperation(vector.case["given"], service)
    parsers = {"json": JSONParser, "query": QueryParser, "rest-json": RestJSONParser, "rest-xml": RestXMLParser}
    protocol = _protocol(vector)
    parser = parsers[protocol](timestamp_parser=lambda value: parse_timestamp(value).timestamp())
    raw = {
        "status_code": response.status,
        "headers": HeadersDict(dict(response.headers)),
        "body": response.body,
        "context": {"operation_name": vector.name},
    }
    shape = operation.output_shape
    if protocol == "query" and shape is not None and shape.members:
        shape.serialization["resultWrapper"] = f"{vector.name}Result"
    parsed = parser.parse(raw, shape)
    if "error" in vector.case:
        for name, traits in service._shape_resolver._shape_map.items():
            code = traits.get("error", {}).get("code", name)
            if traits.get("exception") and parsed.get("Error", {}).get("Code") in (code, name):
                parsed.update(parser.parse(raw, service.shape_for(name)))
    parsed.pop("ResponseMetadata", None)
    return parsed


def _values(shape: Shape, value: Any) -> Any:
    """A vector's JSON as values: blobs are bytes, special numbers are numbers."""
    if value is None or shape.flag("document"):
        return value
    if shape.type == "structure":
        return {name: _values(shape.members[name], part) for name, part in value.items()}
    if shape.type == "list":
        return [_values(shape.element, part) for part in value]
    if shape.type == "map":
        return {name: _values(shape.value, part) for name, part in value.items()}
    convert = {"blob": str.encode, "float": float, "double": float}.get(shape.type)
    return value if convert is None else convert(value)


def _readable(value: Any) -> Any:
    """Bytes as text, special numbers as text, nulls gone: both sides in one notation."""
    if isinstance(value, dict):
        return {name: _readable(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_readable(part) for part in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if hasattr(value, "read"):
        return json.dumps(value.read())
    return value
