"""Whatever comes in, the wire layer gives parameters or an AwsError that can be told: never anything else."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tule.kernel.errors import AwsError
from tule.net.messages import HttpRequest
from tule.wire import compiled, route, routing_refusal
from tule.wire.models import Shape, load
from tule.wire.sigv4 import Verifier

JSON = "application/x-amz-json-1.0"
FORM = "application/x-www-form-urlencoded"
ANONYMOUS = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


def ask(
    method: str = "POST", target: str = "/", headers: dict[str, str] | None = None, body: bytes = b""
) -> dict[str, Any] | AwsError:
    """Parameters or the error, which has been told to the client."""
    path, _, query = target.partition("?")
    request = HttpRequest(method, target, path, query, headers or {}, body)
    try:
        where = route(request)
    except AwsError as error:
        response = routing_refusal(request, error, "id")
        assert 400 <= response.status < 600
        return error
    operation = compiled(where.service, where.operation)
    try:
        Verifier().admit(request, where, None, 0)
        parameters = operation.parse(request, where)
    except AwsError as error:
        refusal = error
        response = operation.serialise_error(error, where, "id")
    else:
        assert isinstance(parameters, dict)
        return parameters
    assert 400 <= response.status < 500 or response.status == 501
    return refusal


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def shaped(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """JSON that nearly is what the model wants."""
    if depth > 4:
        return json_values
    if shape.type == "structure":
        members = {member.wire_name(name): shaped(member, depth + 1) for name, member in shape.members.items()}
        right = st.fixed_dictionaries({}, optional=members)
    elif shape.type == "list":
        right = st.lists(shaped(shape.element, depth + 1), max_size=3)
    elif shape.type == "map":
        right = st.dictionaries(st.text(max_size=5), shaped(shape.value, depth + 1), max_size=3)
    elif shape.type in ("integer", "long"):
        right = st.integers(-(2**70), 2**70)
    elif shape.type == "boolean":
        right = st.booleans()
    else:
        right = st.text(max_size=20)
    return st.one_of(right, right, right, right, json_values)


@pytest.mark.parametrize(
    ("service", "prefix", "operation"),
    [
        ("sqs", "AmazonSQS", "SendMessage"),
        ("sqs", "AmazonSQS", "SendMessageBatch"),
        ("dynamodb", "DynamoDB_20120810", "PutItem"),
        ("dynamodb", "DynamoDB_20120810", "Query"),
        ("dynamodb", "DynamoDB_20120810", "CreateTable"),
        ("logs", "Logs_20140328", "PutLogEvents"),
        ("events", "AWSEvents", "PutTargets"),
        ("stepfunctions", "AWSStepFunctions", "CreateStateMachine"),
    ],
)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_json_that_is_nearly_right(service, prefix, operation, data):
    shape = load(service).operations[operation].input
    document = data.draw(shaped(shape))
    ask(headers={"x-amz-target": f"{prefix}.{operation}", "content-type": JSON}, body=json.dumps(document).encode())


@given(st.binary(max_size=200))
@example(b"")
@example(b"[" * 100_000)
@example(b'{"QueueUrl":' * 50_000)
@example(b'{"QueueUrl":"\xff","MessageBody":"x"}')
@example(b'{"QueueUrl":"\\ud800","MessageBody":"x"}')
@example(b'{"QueueUrl":"x","MessageBody":"x","DelaySeconds":1e400}')
@example(b'{"QueueUrl":"x","MessageBody":"x","DelaySeconds":' + b"9" * 5000 + b"}")
def test_any_body_to_a_json_service(body):
    for target in ("AmazonSQS.SendMessage", "DynamoDB_20120810.PutItem", "DynamoDB_20120810.Nope", "x", ""):
        ask(headers={"x-amz-target": target, "content-type": JSON}, body=body)


@given(st.recursive(st.just({}), lambda inner: st.dictionaries(st.sampled_from("MLSN"), inner, max_size=2)))
def test_nested_attribute_values(value):
    body = json.dumps({"TableName": "t", "Item": {"a": value}}).encode()
    ask(headers={"x-amz-target": "DynamoDB_20120810.PutItem"}, body=body)


def test_an_abyss_of_attribute_values_is_refused():
    depth = 20_000
    body = b'{"TableName":"t","Item":{"a":' + b'{"M":{"a":' * depth + b'{"S":""}' + b"}}" * depth + b"}}"
    outcome = ask(headers={"x-amz-target": "DynamoDB_20120810.PutItem"}, body=body)
    assert isinstance(outcome, AwsError)
    assert outcome.error_code == "SerializationException"


names = st.sampled_from(
    ["Action", "Version", "QueueUrl", "MessageBody", "MessageAttribute", "1", "2", "Name", "Value", "StringValue",
     "member", "entry", "key", "value", "TopicArn", "Tags", "Message", "MessageAttributes", "x", ""]
)  # fmt: skip
pairs = st.tuples(
    st.lists(names, min_size=1, max_size=5).map(".".join), st.text(max_size=10) | st.sampled_from(["1", "true"])
)


@given(
    st.lists(pairs, max_size=8),
    st.sampled_from(["SendMessage", "Publish", "CreateTopic", "AssumeRole", "DescribeStacks", ""]),
)
@settings(deadline=None)
def test_forms_with_dots(parameters, action):
    body = "&".join(f"{name}={value}" for name, value in [("Action", action), *parameters])
    for service in ("sqs", "sns", "sts", "cloudformation", "iam", "nothing"):
        headers = {"content-type": FORM, "authorization": ANONYMOUS.format(service)}
        ask(headers=headers, body=body.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
@example(b"Action=SendMessage&QueueUrl=" + b"a.1=&" * 30_000)
@example(b"Action=Publish&" + b"a." * 5000 + b"b=1")
@example(b"Action=SendMessage&MessageAttribute.9999999999999999999.Name=x")
@example(b"Action=SendMessage&MessageAttribute=1&MessageAttribute.1.Name=x")
@example(b"Action=%ff&x=%zz")
def test_any_form(body):
    for service in ("sqs", "sns"):
        ask(headers={"content-type": FORM, "authorization": ANONYMOUS.format(service)}, body=body)
    ask(headers={"content-type": FORM}, body=body)


tags = st.sampled_from(
    ["Delete", "Object", "Key", "Quiet", "VersionId", "Tagging", "TagSet", "Tag", "Value", "x:y", "Grantee"]
)
xml = st.recursive(
    st.text(max_size=5),
    lambda inner: st.tuples(tags, st.lists(inner, max_size=3)).map(
        lambda pair: f"<{pair[0]}>{''.join(pair[1])}</{pair[0]}>"
    ),
)


@given(xml.map(str.encode) | st.binary(max_size=200))
@example(b"<a>" * 100_000)
@example(b'<!DOCTYPE a [<!ENTITY b "c">]><Delete>&b;</Delete>')
@example('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><Delete>&b;</Delete>'.encode("utf-16"))
@example(b'<?xml version="1.0" encoding="nope"?><Delete/>')
@example(b"<Delete><Object><Key>a</Key><Size>x</Size></Object></Delete>")
@settings(deadline=None)
def test_any_xml(body):
    for method, target in (
        ("POST", "/b?delete"),
        ("PUT", "/b/k?tagging"),
        ("PUT", "/b?acl"),
        ("PUT", "/b"),
        ("POST", "/b/k?uploadId=1"),
    ):
        ask(method, target, {"authorization": ANONYMOUS.format("s3")}, body)


def test_document_types_are_never_read():
    for body in (b'<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',):
        outcome = ask("POST", "/b?delete", {"authorization": ANONYMOUS.format("s3")}, body)
        assert isinstance(outcome, AwsError)
        assert outcome.error_code == "MalformedXML"


header_names = st.sampled_from(
    ["authorization", "x-amz-target", "content-type", "host", "x-amz-content-sha256", "x-amz-date", "content-encoding",
     "x-amz-trailer", "x-amz-decoded-content-length", "if-modified-since", "x-amz-meta-", "x-amz-checksum-crc32",
     "x-amz-invocation-type", "x-amz-copy-source", "range", "expires", "content-length"]
)  # fmt: skip
header_values = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30) | st.sampled_from(
    [ANONYMOUS.format("s3"), ANONYMOUS.format("lambda"), ANONYMOUS.format("apigateway"), "AWS4-HMAC-SHA256 Credential=",
     "AWS x:y", JSON, FORM, "AmazonSQS.SendMessage", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "aws-chunked", "gzip",
     "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "b.s3.amazonaws.com", "lambda.us-east-1.amazonaws.com", "x.localhost"]
)  # fmt: skip
segments = st.sampled_from(
    ["", "b", "2015-03-31", "functions", "f", "invocations", "v2", "apis", "%2F", "%ff", "%", "service", "operation",
     "2017-03-31", "tags", "event-source-mappings", "..", "restapis", "x" * 200]
)  # fmt: skip


@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS", "X"]),
    st.lists(segments, max_size=6),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
    | st.sampled_from(
        ["X-Amz-Credential=a/b/c", "AWSAccessKeyId=1", "MaxItems=x", "list-type=2&max-keys=x", "Action=X"]
    ),
    st.dictionaries(header_names, header_values, max_size=5),
    st.binary(max_size=50),
)
@settings(max_examples=500, deadline=None)
def test_any_request(method, parts, query, headers, body):
    ask(method, "/" + "/".join(parts) + (f"?{query}" if query else ""), headers, body)


@pytest.mark.parametrize("operation", ["CreateFunction", "CreateEventSourceMapping", "UpdateFunctionConfiguration"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_rest_json_that_is_nearly_right(operation, data):
    model = load("lambda").operations[operation]
    path = model.uri.replace("{FunctionName}", "f")
    document = data.draw(shaped(model.input))
    ask(model.method, path, {"authorization": ANONYMOUS.format("lambda")}, json.dumps(document).encode())
