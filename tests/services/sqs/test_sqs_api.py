"""SQS as its clients see it: boto3, and the query protocol by hand."""

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore.exceptions import ClientError

from tule.testing.server import Tule

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


@pytest.fixture
def sqs(tule: Tule, fresh_account: str) -> Any:
    return tule.client("sqs", fresh_account)


@pytest.fixture
def url(sqs: Any) -> str:
    made: str = sqs.create_queue(QueueName="orders")["QueueUrl"]
    return made


def refused(code: str, text: str) -> Any:
    """The error that a call must raise: AWS's code and sentence."""

    class Refusal:
        def __enter__(self) -> None: ...

        def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
            assert isinstance(error, ClientError), f"not refused: {error!r}"
            got = error.response["Error"]
            assert (got["Code"], got["Message"]) == (code, text)
            return True

    return Refusal()


def query(tule: Tule, account: str, url: str = "", **parameters: str) -> tuple[int, ET.Element]:
    """A call in the query protocol, as older SDKs make it."""
    body = urllib.parse.urlencode({"Version": "2012-11-05", **parameters}).encode()
    scope = f"Credential={account}/20260101/us-east-1/sqs/aws4_request"
    request = urllib.request.Request(
        url or tule.url + "/",
        body,
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=00",
        },
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, ET.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ET.fromstring(error.read())


# Queues


def test_a_queue_is_created_found_listed_and_deleted(sqs: Any, url: str, fresh_account: str) -> None:
    assert url.endswith(f"/{fresh_account}/orders")
    assert sqs.get_queue_url(QueueName="orders")["QueueUrl"] == url
    assert sqs.list_queues()["QueueUrls"] == [url]
    sqs.delete_queue(QueueUrl=url)
    assert "QueueUrls" not in sqs.list_queues()
    with refused("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."):
        sqs.get_queue_url(QueueName="orders")
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.send_message(QueueUrl=url, MessageBody="x")
    with refused(
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    ):
        sqs.create_queue(QueueName="orders")


def test_creating_again_needs_the_same_attributes(sqs: Any, url: str) -> None:
    assert sqs.create_queue(QueueName="orders")["QueueUrl"] == url
    assert sqs.create_queue(QueueName="orders", Attributes={"DelaySeconds": "0"})["QueueUrl"] == url
    with refused(
        "QueueAlreadyExists",
        "A queue already exists with the same name and a different value for attribute DelaySeconds",
    ):
        sqs.create_queue(QueueName="orders", Attributes={"DelaySeconds": "1"})


def test_queues_are_listed_by_prefix_and_page(sqs: Any) -> None:
    urls = [sqs.create_queue(QueueName=f"page-{n}")["QueueUrl"] for n in range(5)]
    sqs.create_queue(QueueName="other")
    first = sqs.list_queues(QueueNamePrefix="page-", MaxResults=3)
    assert first["QueueUrls"] == urls[:3]
    rest = sqs.list_queues(QueueNamePrefix="page-", MaxResults=3, NextToken=first["NextToken"])
    assert rest["QueueUrls"] == urls[3:]
    assert "NextToken" not in rest
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix="page-")
    assert [one for page in pages for one in page["QueueUrls"]] == urls


def test_attributes_have_their_defaults_and_can_be_set(sqs: Any, url: str, fresh_account: str) -> None:
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    created = int(shown.pop("CreatedTimestamp"))
    assert int(shown.pop("LastModifiedTimestamp")) == created
    assert shown == {
        "QueueArn": f"arn:aws:sqs:us-east-1:{fresh_account}:orders",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "VisibilityTimeout": "30",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7", "Policy": policy})
    names = ["VisibilityTimeout", "Policy", "RedrivePolicy"]
    got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert got == {"VisibilityTimeout": "7", "Policy": policy}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    assert not sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes")
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url)


@pytest.mark.parametrize(
    ("attributes", "code", "text"),
    [
        ({"DelaySeconds": "901"}, "InvalidAttributeValue", "Invalid value for the parameter DelaySeconds."),
        ({"VisibilityTimeout": "43201"}, "InvalidAttributeValue", "Invalid value for the parameter VisibilityTimeout."),
        ({"MessageRetentionPeriod": "59"}, "InvalidAttributeValue", "Invalid value for the parameter MessageRetentionPeriod."),  # noqa: E501 - AWS's own sentence
        ({"MaximumMessageSize": "1023"}, "InvalidAttributeValue", "Invalid value for the parameter MaximumMessageSize."),  # noqa: E501 - AWS's own sentence
        ({"ReceiveMessageWaitTimeSeconds": "x"}, "InvalidAttributeValue", "Invalid value for the parameter ReceiveMessageWaitTimeSeconds."),  # noqa: E501 - AWS's own sentence
        ({"FifoQueue": "false"}, "InvalidAttributeName", "Unknown Attribute FifoQueue."),
        ({"DeduplicationScope": "queue"}, "InvalidAttributeName", "You can specify the DeduplicationScope only when FifoQueue is set to true."),  # noqa: E501 - AWS's own sentence
        ({"Policy": "{"}, "InvalidAttributeValue", "Invalid value for the parameter Policy."),
        (
            {"RedrivePolicy": '{"maxReceiveCount":"3"}'},
            "InvalidParameterValue",
            'Value {"maxReceiveCount":"3"} for parameter RedrivePolicy is invalid. Reason: Redrive policy does not contain mandatory attribute: deadLetterTargetArn.',  # noqa: E501 - AWS's own sentence
        ),
        (
            {"RedrivePolicy": '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":"3"}'},  # noqa: E501 - AWS's own sentence
            "InvalidParameterValue",
            'Value {"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":"3"} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.',  # noqa: E501 - AWS's own sentence
        ),
    ],
)  # fmt: skip
def test_attributes_out_of_range_are_refused(sqs: Any, attributes: dict[str, str], code: str, text: str) -> None:
    with refused(code, text):
        sqs.create_queue(QueueName="refused", Attributes=attributes)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="refused")


@pytest.mark.parametrize("name", ["a/b", "a b", "x" * 81, "orders.fifo"])
def test_names_that_a_queue_may_not_have(sqs: Any, name: str) -> None:
    text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
    with refused("InvalidParameterValue", text):
        sqs.create_queue(QueueName=name)


def test_what_is_not_there_yet_says_so_by_name(sqs: Any) -> None:
    with pytest.raises(ClientError) as got:
        sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})
    assert got.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    with pytest.raises(ClientError, match="StartMessageMoveTask") as got:
        sqs.start_message_move_task(SourceArn="arn:aws:sqs:us-east-1:000000000000:x")
    assert got.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_tags_are_added_replaced_and_taken_away(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="tagged", tags={"a": "1", "b": "2"})["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={"b": "3", "C": "4"})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "1", "b": "3", "C": "4"}
    sqs.untag_queue(QueueUrl=url, TagKeys=["a", "b", "C", "none"])
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)


def test_permissions_are_statements_of_the_policy(sqs: Any, url: str, fresh_account: str) -> None:
    sqs.add_permission(QueueUrl=url, Label="give", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    with refused("InvalidParameterValue", "Value give for parameter Label is invalid. Reason: Already exists."):
        sqs.add_permission(QueueUrl=url, Label="give", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    assert policy["Statement"] == [
        {
            "Sid": "give",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
            "Action": "SQS:SendMessage",
            "Resource": f"arn:aws:sqs:us-east-1:{fresh_account}:orders",
        }
    ]
    sqs.remove_permission(QueueUrl=url, Label="give")
    with refused("InvalidParameterValue", "Value give for parameter Label is invalid. Reason: can't find label."):
        sqs.remove_permission(QueueUrl=url, Label="give")


def test_sources_of_a_dead_letter_queue_are_listed(sqs: Any, url: str, fresh_account: str) -> None:
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{fresh_account}:orders", "maxReceiveCount": 3}
    sources = [
        sqs.create_queue(QueueName=f"source-{n}", Attributes={"RedrivePolicy": json.dumps(policy)})["QueueUrl"]
        for n in range(3)
    ]
    assert sqs.list_dead_letter_source_queues(QueueUrl=url)["queueUrls"] == sources
    sqs.set_queue_attributes(QueueUrl=sources[0], Attributes={"RedrivePolicy": ""})
    assert sqs.list_dead_letter_source_queues(QueueUrl=url)["queueUrls"] == sources[1:]


def test_a_dead_letter_queue_may_choose_its_sources(sqs: Any, url: str, fresh_account: str) -> None:
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedriveAllowPolicy": '{"redrivePermission":"denyAll"}'})
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{fresh_account}:orders", "maxReceiveCount": 3}
    with pytest.raises(ClientError, match="does not allow"):
        sqs.create_queue(QueueName="source", Attributes={"RedrivePolicy": json.dumps(policy)})


# Messages


def test_message_attributes_come_back_with_their_digests(sqs: Any, url: str) -> None:
    attributes = {
        "colour": {"DataType": "String", "StringValue": "blue"},
        "colour.dark": {"DataType": "String.custom", "StringValue": "ü"},
        "n": {"DataType": "Number", "StringValue": "-1.5e3"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sent = sqs.send_message(QueueUrl=url, MessageBody="hello", MessageAttributes=attributes)  # boto3 checks the MD5s
    assert len(sent["MD5OfMessageAttributes"]) == 32
    receive = {"QueueUrl": url, "VisibilityTimeout": 0}
    (plain,) = sqs.receive_message(**receive)["Messages"]
    assert "MessageAttributes" not in plain
    for names in (["All"], [".*"]):
        (message,) = sqs.receive_message(**receive, MessageAttributeNames=names)["Messages"]
        assert message["MessageAttributes"] == attributes
        assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    (message,) = sqs.receive_message(**receive, MessageAttributeNames=["colour.*", "n"])["Messages"]
    assert set(message["MessageAttributes"]) == {"colour.dark", "n"}


def test_the_digest_of_attributes_is_the_one_aws_computes(sqs: Any, url: str) -> None:
    attributes = {"timestamp": {"StringValue": "1493147359900", "DataType": "Number"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="a", MessageAttributes=attributes)
    assert sent["MD5OfMessageAttributes"] == "235c5c510d26fb653d073faed50ae77c"


def test_a_batch_reports_each_entry(sqs: Any, url: str) -> None:
    entries: list[Any] = [
        {"Id": "good", "MessageBody": "one"},
        {"Id": "bad", "MessageBody": "\x00"},
        {"Id": "late", "MessageBody": "two", "DelaySeconds": 901},
    ]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [
        ("bad", "InvalidMessageContents", True),
        ("late", "InvalidParameterValue", True),
    ]


@pytest.mark.parametrize(
    ("entries", "code", "text"),
    [
        ([], "AWS.SimpleQueueService.EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."),  # noqa: E501 - AWS's own sentence
        ([{"Id": str(n), "MessageBody": "x"} for n in range(11)], "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 11."),  # noqa: E501 - AWS's own sentence
        ([{"Id": "a", "MessageBody": "x"}] * 2, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Id a repeated."),
        ([{"Id": "a b", "MessageBody": "x"}], "AWS.SimpleQueueService.InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."),  # noqa: E501 - AWS's own sentence
        ([{"Id": "a", "MessageBody": "x" * 600_000}, {"Id": "b", "MessageBody": "x" * 600_000}], "AWS.SimpleQueueService.BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1200000 bytes."),  # noqa: E501 - AWS's own sentence
    ],
)  # fmt: skip
def test_batches_that_are_refused_as_a_whole(sqs: Any, url: str, entries: list[Any], code: str, text: str) -> None:
    with refused(code, text):
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_messages_that_are_refused(sqs: Any, url: str) -> None:
    with refused("MissingParameter", "The request must contain the parameter MessageBody."):
        sqs.send_message(QueueUrl=url, MessageBody="")
    too_long = "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."
    with refused("InvalidParameterValue", too_long):
        sqs.send_message(QueueUrl=url, MessageBody="x" * 1_048_577)
    assert sqs.send_message(QueueUrl=url, MessageBody="x" * 1_048_576)["MessageId"]
    empty = {"ErrorDetails": {"DataType": "String", "StringValue": ""}}
    text = "Message (user) attribute 'ErrorDetails' must contain a non-empty value of type 'String'."
    with refused("InvalidParameterValue", text):
        sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=empty)
    number = {"age": {"DataType": "Number", "StringValue": "old"}}
    with refused("InvalidParameterValue", "Can't cast the value of message (user) attribute 'age' to a number."):
        sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=number)
    many = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)}
    with refused("InvalidParameterValue", "Number of message attributes [11] exceeds the allowed maximum [10]."):
        sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=many)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"MaxNumberOfMessages": 11}, "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."),  # noqa: E501 - AWS's own sentence
        ({"WaitTimeSeconds": 21}, "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."),  # noqa: E501 - AWS's own sentence
        ({"VisibilityTimeout": 43201}, "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided."),  # noqa: E501 - AWS's own sentence
    ],
)  # fmt: skip
def test_receives_that_are_refused(sqs: Any, url: str, parameters: dict[str, int], text: str) -> None:
    with refused("InvalidParameterValue", text):
        sqs.receive_message(QueueUrl=url, **parameters)


def test_handles_that_are_none(sqs: Any, url: str) -> None:
    with refused("ReceiptHandleIsInvalid", 'The input receipt handle "garbage" is not a valid receipt handle.'):
        sqs.delete_message(QueueUrl=url, ReceiptHandle="garbage")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    with pytest.raises(ClientError, match="is not a valid receipt handle"):
        sqs.delete_message(QueueUrl=other, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    with pytest.raises(ClientError, match="Message does not exist or is not available for visibility timeout change"):
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=1)


def test_a_long_poll_is_answered_by_a_send(tule: Tule, sqs: Any, url: str, fresh_account: str) -> None:
    got: list[Any] = []
    poller = tule.client("sqs", fresh_account)

    def poll() -> None:
        got.extend(poller.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", []))

    thread = threading.Thread(target=poll)
    thread.start()
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    thread.join(19)
    assert [message["Body"] for message in got] == ["hello"]


# The query protocol


def test_the_query_protocol_sends_and_receives(tule: Tule, sqs: Any, url: str, fresh_account: str) -> None:
    attribute = {
        "MessageAttribute.1.Name": "colour",
        "MessageAttribute.1.Value.DataType": "String",
        "MessageAttribute.1.Value.StringValue": "blue",
    }
    status, sent = query(tule, fresh_account, url, Action="SendMessage", MessageBody="hällo <&>", **attribute)
    assert status == 200
    number = sent.findtext(f"{NAMESPACE}SendMessageResult/{NAMESPACE}MessageId")
    names = {"AttributeName.1": "All", "MessageAttributeName.1": "All"}
    status, got = query(tule, fresh_account, Action="ReceiveMessage", QueueUrl=url, **names)
    message = got.find(f"{NAMESPACE}ReceiveMessageResult/{NAMESPACE}Message")
    assert message is not None
    assert message.findtext(f"{NAMESPACE}MessageId") == number
    assert message.findtext(f"{NAMESPACE}Body") == "hällo <&>"
    attributes = {
        one.findtext(f"{NAMESPACE}Name"): one.findtext(f"{NAMESPACE}Value")
        for one in message.findall(f"{NAMESPACE}Attribute")
    }
    assert attributes["ApproximateReceiveCount"] == "1"
    assert message.findtext(f"{NAMESPACE}MessageAttribute/{NAMESPACE}Value/{NAMESPACE}StringValue") == "blue"
    handle = message.findtext(f"{NAMESPACE}ReceiptHandle") or ""
    status, _ = query(tule, fresh_account, url, Action="DeleteMessage", ReceiptHandle=handle)
    assert status == 200
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
    assert counts["Attributes"] == {"ApproximateNumberOfMessagesNotVisible": "0"}


def test_the_query_protocol_has_its_own_error_codes(tule: Tule, fresh_account: str) -> None:
    status, error = query(tule, fresh_account, Action="GetQueueUrl", QueueName="none")
    assert status == 400
    assert error.findtext(f"{NAMESPACE}Error/{NAMESPACE}Code") == "AWS.SimpleQueueService.NonExistentQueue"
    assert error.findtext(f"{NAMESPACE}Error/{NAMESPACE}Type") == "Sender"


def test_any_host_reaches_a_queue(sqs: Any, url: str, fresh_account: str) -> None:
    for other in (f"https://sqs.us-east-1.amazonaws.com/{fresh_account}/orders", "orders"):
        assert sqs.send_message(QueueUrl=other, MessageBody="x")["MessageId"]


# Time


def test_a_delay_of_fifteen_minutes_passes_in_an_advance() -> None:
    with Tule() as running:
        sqs = running.client("sqs")
        running.admin("clock/pause", {})
        url = sqs.create_queue(QueueName="late")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=900)
        assert "Messages" not in sqs.receive_message(QueueUrl=url)
        running.admin("clock/advance", {"duration": "15m"})
        (message,) = sqs.receive_message(QueueUrl=url, VisibilityTimeout=43_200)["Messages"]
        running.admin("clock/advance", {"duration": "43199s"})
        assert "Messages" not in sqs.receive_message(QueueUrl=url)
        running.admin("clock/advance", {"duration": "1s"})
        (again,) = sqs.receive_message(QueueUrl=url)["Messages"]
        assert again["MessageId"] == message["MessageId"]
