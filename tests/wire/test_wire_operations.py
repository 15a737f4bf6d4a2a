"""Routes, parameters, sentences and errors, as clients other than botocore send and expect them too."""

# ruff: noqa: E501, ISC004 - tables of AWS's own sentences read best one to a line

import gzip
import json
import zlib
from xml.etree import ElementTree as ET

import pytest

from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.net.messages import HttpRequest, HttpResponse
from tule.wire import RawJson, Route, compiled, route, routing_refusal
from tule.wire.index import INDEX_FILE, rendered
from tule.wire.streaming import wants_stream
from tule.wire.validation import matcher

SCOPE = "AWS4-HMAC-SHA256 Credential=123456789012/20261121/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=00"
FORM = "application/x-www-form-urlencoded; charset=utf-8"


def request(method: str, target: str, body: bytes = b"", scope: str = "", **headers: str) -> HttpRequest:
    path, _, query = target.partition("?")
    found = {"host": "localhost:4566", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if scope:
        found["authorization"] = SCOPE.format(scope)
    return HttpRequest(method, target, path, query, found, body)


def json_call(target: str, document: object) -> HttpRequest:
    return request("POST", "/", json.dumps(document).encode(), x_amz_target=target)


def parse(message: HttpRequest) -> dict:
    where = route(message)
    return compiled(where.service, where.operation).parse(message, where)


def refused(message: HttpRequest) -> AwsError:
    with pytest.raises(AwsError) as caught:
        parse(message)
    return caught.value


def test_the_index_of_services_is_that_of_the_installed_botocore():
    assert INDEX_FILE.read_bytes() == rendered()


@pytest.mark.parametrize(
    ("message", "service", "operation"),
    [
        (request("POST", "/", x_amz_target="AmazonSQS.SendMessage"), "sqs", "SendMessage"),
        (request("POST", "/", x_amz_target="DynamoDBStreams_20120810.GetRecords"), "dynamodbstreams", "GetRecords"),
        (request("POST", "/", x_amz_target="GraniteServiceVersion20100801.PutMetricData"), "cloudwatch", "PutMetricData"),
        (request("POST", "/", b"Action=Publish", "sns", content_type=FORM), "sns", "Publish"),
        (request("POST", "/", b"Action=PutMetricData", "monitoring", content_type=FORM), "cloudwatch", "PutMetricData"),
        (request("POST", "/", b"Action=SendEmail", "ses", content_type=FORM), "ses", "SendEmail"),
        (request("POST", "/", b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15", content_type=FORM), "sts", "AssumeRoleWithWebIdentity"),
        (request("GET", "/?Action=GetCallerIdentity&Version=2011-06-15"), "sts", "GetCallerIdentity"),
        (request("POST", "/123456789012/q", b"Action=SendMessage", content_type=FORM), "sqs", "SendMessage"),
        (request("POST", "/123456789012/q", b"Action=ReceiveMessage", "sqs", content_type=FORM), "sqs", "ReceiveMessage"),
        (request("POST", "/2015-03-31/functions/f/invocations", scope="lambda"), "lambda", "Invoke"),
        (request("POST", "/2015-03-31/functions/f/invocations"), "lambda", "Invoke"),
        (request("GET", "/2015-03-31/functions/", scope="lambda"), "lambda", "ListFunctions"),
        (request("POST", "/2015-03-31/functions", scope="lambda"), "lambda", "CreateFunction"),
        (request("GET", "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Af", scope="lambda"), "lambda", "ListTags"),
        (request("POST", "/v2/apis", scope="apigateway"), "apigatewayv2", "CreateApi"),
        (request("POST", "/restapis", scope="apigateway"), "apigateway", "CreateRestApi"),
        (request("GET", "/", scope="s3"), "s3", "ListBuckets"),
        (request("GET", "/"), "s3", "ListBuckets"),
        (request("PUT", "/b", scope="s3"), "s3", "CreateBucket"),
        (request("PUT", "/b/", scope="s3"), "s3", "CreateBucket"),
        (request("GET", "/b?list-type=2&prefix=a", scope="s3"), "s3", "ListObjectsV2"),
        (request("GET", "/b?prefix=a", scope="s3"), "s3", "ListObjects"),
        (request("GET", "/b?versions", scope="s3"), "s3", "ListObjectVersions"),
        (request("GET", "/b?lifecycle", scope="s3"), "s3", "GetBucketLifecycleConfiguration"),
        (request("GET", "/b?notification", scope="s3"), "s3", "GetBucketNotificationConfiguration"),
        (request("PUT", "/b?notification", scope="s3"), "s3", "PutBucketNotificationConfiguration"),
        (request("GET", "/b?analytics&id=1", scope="s3"), "s3", "GetBucketAnalyticsConfiguration"),
        (request("GET", "/b?analytics", scope="s3"), "s3", "ListBucketAnalyticsConfigurations"),
        (request("POST", "/b?delete", scope="s3"), "s3", "DeleteObjects"),
        (request("PUT", "/b/k/l", scope="s3"), "s3", "PutObject"),
        (request("PUT", "/b/k?x-id=PutObject", scope="s3"), "s3", "PutObject"),
        (request("PUT", "/b/k", scope="s3", x_amz_copy_source="/a/b"), "s3", "CopyObject"),
        (request("PUT", "/b/k?partNumber=1&uploadId=2", scope="s3"), "s3", "UploadPart"),
        (request("PUT", "/b/k?partNumber=1&uploadId=2", scope="s3", x_amz_copy_source="/a/b"), "s3", "UploadPartCopy"),
        (request("POST", "/b/k?uploads", scope="s3"), "s3", "CreateMultipartUpload"),
        (request("POST", "/b/k?uploadId=2", scope="s3"), "s3", "CompleteMultipartUpload"),
        (request("GET", "/b/k?uploadId=2", scope="s3"), "s3", "ListParts"),
        (request("DELETE", "/b/k?uploadId=2", scope="s3"), "s3", "AbortMultipartUpload"),
        (request("HEAD", "/b/k", scope="s3"), "s3", "HeadObject"),
        (request("GET", "/b/k?attributes", scope="s3", x_amz_object_attributes="ETag"), "s3", "GetObjectAttributes"),
        (request("GET", "/k?X-Amz-Credential=a%2F20261121%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature=1", host="b.s3.eu-west-1.amazonaws.com"), "s3", "GetObject"),
        (request("GET", "/k", scope="s3", host="b.localhost:4566"), "s3", "GetObject"),
    ],
)  # fmt: skip
def test_routes(message, service, operation):
    where = route(message)
    assert (where.service, where.operation) == (service, operation)


def test_keys_and_buckets_come_from_paths_and_hosts():
    where = route(request("GET", "/a%20b/c%2Fd//e", scope="s3", host="my.bucket.s3.eu-west-1.amazonaws.com"))
    assert where.labels == {"Bucket": "my.bucket", "Key": "a b/c/d//e"}
    assert route(request("GET", "/b/%C3%A9", scope="s3")).labels == {"Bucket": "b", "Key": "é"}


def test_the_queue_url_is_the_endpoint_when_nothing_else_says_it():
    parameters = parse(request("POST", "/1/q", b"Action=SendMessage&MessageBody=x", content_type=FORM))
    assert parameters["QueueUrl"] == "http://localhost:4566/1/q"


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        (request("POST", "/", b"{}", x_amz_target="Nope.SendMessage"), 400, "UnknownOperationException"),
        (request("POST", "/", b"{}", x_amz_target="AmazonSQS.Nope"), 400, "UnknownOperationException"),
        (request("POST", "/", b"Action=Nope", "sns", content_type=FORM), 400, "InvalidAction"),
        (request("POST", "/", b"Foo=Nope", "sns", content_type=FORM), 400, "MissingAction"),
        (request("POST", "/nope", b"", "lambda"), 404, "UnknownOperationException"),
        (request("PATCH", "/b/k", b"", "s3"), 405, "MethodNotAllowed"),
        (request("GET", "/b/%ff", b"", "s3"), 400, "InvalidURI"),
        (request("POST", "/service/S/operation/O"), 501, "NotImplemented"),
    ],
)
def test_what_has_no_route_is_told_in_the_callers_protocol(message, status, code):
    with pytest.raises(AwsError) as caught:
        route(message)
    response = routing_refusal(message, caught.value, "id-1")
    assert response.status == status
    assert code.encode() in response.body or (("x-amzn-ErrorType", code) in response.headers)
    assert "id-1" in [value for _, value in response.headers]


def sqs(operation: str, **parameters: object) -> AwsError:
    return refused(json_call(f"AmazonSQS.{operation}", parameters))


def test_sqs_misses_parameters_in_its_own_words():
    error = sqs("SendMessage", QueueUrl="x")
    assert (error.error_code, error.message) == (
        "MissingParameter",
        "The request must contain the parameter MessageBody.",
    )
    inner = sqs("SendMessage", QueueUrl="x", MessageBody="x", MessageAttributes={"a": {"StringValue": "x"}})
    assert inner.message == "The request must contain the parameter DataType."


@pytest.mark.parametrize(
    ("target", "document", "message"),
    [
        # aws_errors.md, recorded on AWS
        ("AWSEvents.PutTargets", {"Rule": "r", "Targets": [{"Id": "!@#$@!#$", "Arn": "a"}]},
         r"1 validation error detected: Value '!@#$@!#$' at 'targets.1.member.id' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+"),
        ("AWSStepFunctions.ListExecutions", {"stateMachineArn": "x", "maxResults": 1001},
         "1 validation error detected: Value '1001' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 1000"),
        ("Logs_20140328.FilterLogEvents", {"limit": 10001},
         "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000"),
        ("TrentService.GenerateRandom", {"NumberOfBytes": 0},
         "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1"),
        ("TrentService.Encrypt", {"KeyId": "k", "Plaintext": "QUFB" * 1366},
         "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"),
        ("Logs_20140328.PutLogEvents", {"logGroupName": "g"},
         "2 validation errors detected: Value null at 'logStreamName' failed to satisfy constraint: Member must not be null; "
         "Value null at 'logEvents' failed to satisfy constraint: Member must not be null"),
    ],
)  # fmt: skip
def test_sentences_of_validation(target, document, message):
    assert refused(json_call(target, document)).message == message


def test_sentences_about_lists_and_maps():
    body = {"FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r", "Code": {}, "Architectures": ["X86_64"]}
    error = refused(request("POST", "/2015-03-31/functions", json.dumps(body).encode(), "lambda"))
    assert error.message == (
        "1 validation error detected: Value '[X86_64]' at 'architectures' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )
    weights = {"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}}
    error = refused(request("POST", "/2015-03-31/functions/f/aliases", json.dumps(weights).encode(), "lambda"))
    assert error.message.startswith(
        "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
        "constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must "
        "have value greater than or equal to 0.0, Me"
    )


def test_required_members_inside_sns_attributes():
    body = b"Action=Publish&TopicArn=t&Message=m&MessageAttributes.entry.1.Name=attr1&MessageAttributes.entry.1.Value="
    error = refused(request("POST", "/", body, "sns", content_type=FORM))
    assert error.error_code == "ValidationError"
    assert error.message == (
        "1 validation error detected: Value null at 'messageAttributes.attr1.member.dataType' failed to satisfy "
        "constraint: Member must not be null"
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        # dynamodb_errors.md, section 4, recorded on AWS
        ({"TableName": True}, "TRUE_VALUE cannot be converted to String"),
        ({"TableName": 23}, "NUMBER_VALUE cannot be converted to String"),
        ({"TableName": 23.5}, "DECIMAL_VALUE cannot be converted to String"),
        ({"TableName": []}, "Unrecognized collection type class java.lang.String"),
        ({"TableName": {}}, "Start of structure or map found where not expected"),
        ({"Item": "x"}, "Unexpected field type"),
        ({"Item": {"a": "x"}}, "Unexpected value type in payload"),
        ({"Item": {"a": {"S": 1}}}, "NUMBER_VALUE cannot be converted to String"),
        ({"Item": []}, "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>"),
        ({"Item": {"a": []}}, "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"),
        ({"ExpressionAttributeNames": []}, "Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>"),
    ],
)  # fmt: skip
def test_dynamodb_types(document, message):
    error = refused(json_call("DynamoDB_20120810.PutItem", document))
    assert (error.error_code, error.message) == ("SerializationException", message)


def test_dynamodbs_items_stay_as_they_were_and_nulls_are_absent():
    item = {"b": {"B": "AAE="}, "m": {"M": {"l": {"L": [{"N": "1"}, {"BS": ["AA=="]}]}}}}
    assert parse(json_call("DynamoDB_20120810.PutItem", {"TableName": "t", "Item": item, "Other": 1})) == {
        "TableName": "t",
        "Item": item,
    }
    with_null = {"TableName": "t", "Item": item, "ReturnValues": None}
    assert parse(json_call("DynamoDB_20120810.PutItem", with_null)) == {"TableName": "t", "Item": item}


def answer(service: str, operation: str, result: object, protocol: str = "json") -> HttpResponse:
    return compiled(service, operation).serialise(result, Route(service, operation, protocol), "id-1")


def fault(service: str, operation: str, error: AwsError, protocol: str = "json") -> HttpResponse:
    return compiled(service, operation).serialise_error(error, Route(service, operation, protocol), "id-1")


def test_dynamodb_answers_carry_the_checksum_of_their_body():
    response = answer("dynamodb", "GetItem", {"Item": RawJson(b'{"a":{"S":"x"}}')})
    assert response.body == b'{"Item":{"a":{"S":"x"}}}'
    assert dict(response.headers)["x-amz-crc32"] == str(zlib.crc32(response.body))
    assert answer("dynamodb", "GetItem", RawJson(b'{"Item":1}')).body == b'{"Item":1}'


def test_members_that_are_none_are_left_out():
    assert answer("sqs", "SendMessage", {"MessageId": "m", "SequenceNumber": None}).body == b'{"MessageId":"m"}'


@pytest.mark.parametrize(
    ("service", "operation", "error", "kind", "message_name"),
    [
        ("dynamodb", "PutItem", AwsError("no", code="ConditionalCheckFailedException"), "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message"),
        ("dynamodb", "PutItem", AwsError("no", code="ValidationException"), "com.amazon.coral.validate#ValidationException", "message"),
        ("dynamodb", "PutItem", AwsError("no", code="SerializationException"), "com.amazon.coral.service#SerializationException", "Message"),
        ("sqs", "SendMessage", AwsError("no", code="QueueDoesNotExist"), "com.amazonaws.sqs#QueueDoesNotExist", "message"),
        ("sqs", "SendMessage", AwsError("no", code="AWS.SimpleQueueService.NonExistentQueue"), "com.amazonaws.sqs#QueueDoesNotExist", "message"),
        ("events", "PutRule", AwsError("no", code="ResourceNotFoundException"), "ResourceNotFoundException", "message"),
    ],
)  # fmt: skip
def test_errors_of_json_services(service, operation, error, kind, message_name):
    response = fault(service, operation, error)
    assert json.loads(response.body) == {"__type": kind, message_name: "no"}
    assert response.status == 400


def test_sqs_errors_carry_the_codes_of_its_query_days():
    response = fault("sqs", "PurgeQueue", AwsError("busy", code="PurgeQueueInProgress"))
    assert dict(response.headers)["x-amzn-query-error"] == "AWS.SimpleQueueService.PurgeQueueInProgress;Sender"
    assert response.status == 403
    query = fault("sqs", "PurgeQueue", AwsError("busy <&>", code="PurgeQueueInProgress"), "query")
    root = ET.fromstring(query.body)
    space = "{http://queue.amazonaws.com/doc/2012-11-05/}"
    assert root.tag == f"{space}ErrorResponse"
    assert root.findtext(f"{space}Error/{space}Code") == "AWS.SimpleQueueService.PurgeQueueInProgress"
    assert root.findtext(f"{space}Error/{space}Type") == "Sender"
    assert root.findtext(f"{space}Error/{space}Message") == "busy <&>"
    assert root.findtext(f"{space}RequestId") == "id-1"


def test_lambda_errors_have_their_type_and_headers():
    error = AwsError(
        "Rate Exceeded.",
        code="TooManyRequestsException",
        members={"Reason": "CallerRateLimitExceeded", "retryAfterSeconds": "1"},
    )
    response = fault("lambda", "Invoke", error, "rest-json")
    assert json.loads(response.body) == {
        "message": "Rate Exceeded.",
        "Reason": "CallerRateLimitExceeded",
        "Type": "User",
    }
    headers = dict(response.headers)
    assert (response.status, headers["Retry-After"], headers["x-amzn-ErrorType"]) == (
        429,
        "1",
        "TooManyRequestsException",
    )


def test_s3_errors_are_bare():
    response = fault("s3", "GetObject", AwsError("No.", code="NoSuchKey", members={"Key": "a&b"}), "rest-xml")
    root = ET.fromstring(response.body)
    assert (response.status, root.tag, root.findtext("Code"), root.findtext("Key")) == (
        404,
        "Error",
        "NoSuchKey",
        "a&b",
    )
    assert root.findtext("RequestId") == dict(response.headers)["x-amz-request-id"] == "id-1"


def test_what_is_not_implemented_says_so_with_501_in_every_protocol():
    for service, operation, protocol in (
        ("sqs", "SendMessage", "json"),
        ("sqs", "SendMessage", "query"),
        ("lambda", "Invoke", "rest-json"),
        ("s3", "GetObject", "rest-xml"),
    ):
        response = fault(service, operation, OperationNotImplementedError(service, operation), protocol)
        assert response.status == 501
        assert f"{service}:{operation}".encode() in response.body


def test_sqs_by_query_as_its_old_clients_write_and_read_it():
    body = (
        b"Action=SendMessageBatch&QueueUrl=u"
        b"&SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.2.MessageBody=2"
        b"&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=1&SendMessageBatchRequestEntry.1.DelaySeconds=5"
        b"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Binary"
        b"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.BinaryValue=AAE%3D"
    )
    assert parse(request("POST", "/", body, "sqs", content_type=FORM))["Entries"] == [
        {"Id": "a", "MessageBody": "1", "DelaySeconds": 5, "MessageAttributes": {"n": {"DataType": "Binary", "BinaryValue": b"\x00\x01"}}},
        {"Id": "b", "MessageBody": "2"},
    ]  # fmt: skip
    body = b"Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&Tag.1.Key=k&Tag.1.Value=v"
    created = parse(request("POST", "/", body, "sqs", content_type=FORM))
    assert created == {"QueueName": "q", "Attributes": {"DelaySeconds": "5"}, "tags": {"k": "v"}}
    body = b"Action=ReceiveMessage&QueueUrl=u&AttributeName.1=All&MessageAttributeName.1=a&MessageAttributeName.2=b"
    received = parse(request("POST", "/", body, "sqs", content_type=FORM))
    assert received == {"QueueUrl": "u", "AttributeNames": ["All"], "MessageAttributeNames": ["a", "b"]}
    message = {
        "MessageId": "m",
        "Body": "<x>",
        "Attributes": {"SentTimestamp": "1"},
        "MessageAttributes": {"a": {"DataType": "String", "StringValue": "s"}},
    }
    response = answer("sqs", "ReceiveMessage", {"Messages": [message]}, "query")
    assert response.body.decode().partition("?>\n")[2] == (
        '<ReceiveMessageResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><ReceiveMessageResult>'
        "<Message><MessageId>m</MessageId><Body>&lt;x&gt;</Body>"
        "<Attribute><Name>SentTimestamp</Name><Value>1</Value></Attribute>"
        "<MessageAttribute><Name>a</Name><Value><StringValue>s</StringValue><DataType>String</DataType></Value></MessageAttribute>"
        "</Message></ReceiveMessageResult><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></ReceiveMessageResponse>"
    )
    listed = answer("sqs", "ListQueues", {"QueueUrls": ["a", "b"]}, "query").body
    assert b"<ListQueuesResult><QueueUrl>a</QueueUrl><QueueUrl>b</QueueUrl></ListQueuesResult>" in listed


def test_compressed_bodies_of_operations_that_allow_them():
    document = {"Namespace": "n", "MetricData": []}
    message = json_call("GraniteServiceVersion20100801.PutMetricData", document)
    message.headers = {**message.headers, "content-encoding": "gzip"}
    message.body = gzip.compress(message.body)
    assert parse(message) == document
    message.body = message.body[:-9]
    assert refused(message).error_code == "SerializationException"


def test_large_objects_are_streamed_and_nothing_else():
    large = str(5 * 1024 * 1024)
    assert wants_stream(request("PUT", "/b/k", scope="s3", content_length=large))
    assert wants_stream(request("PUT", "/b/k", scope="s3", transfer_encoding="chunked"))
    assert wants_stream(request("PUT", "/b/k?partNumber=1&uploadId=1", scope="s3", content_length=large))
    assert not wants_stream(request("PUT", "/b/k", scope="s3", content_length="10"))
    assert not wants_stream(request("PUT", "/b/k?tagging", scope="s3", content_length=large))
    assert not wants_stream(request("POST", "/", scope="sqs", content_length=large))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("[a-z]+", "abc", "abc1"),
        (r"[\p{Alnum}-]+", "a-1", "a_1"),
        (r"\p{Upper}+", "AB", "Ab"),
        ("a|b", "b", "ab"),
        (r"\d+", "12", "١٢"),
    ],
)
def test_java_patterns(pattern, yes, no):
    assert matcher(pattern)(yes)
    assert not matcher(pattern)(no)


def test_patterns_of_all_scripts_and_patterns_python_has_no_equal_for():
    tag = matcher(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*")
    assert tag("Größe 5/x")
    assert not tag("a;b")
    for pattern in ("(unclosed", r"[\w-_]*", "[a-z&&[^b]]+", r"\P{L}+"):
        assert matcher(pattern)("anything")
