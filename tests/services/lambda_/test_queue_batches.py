"""What a function gets for a batch, and what its answer means."""

import json

import pytest

from tule.services.lambda_ import batches

ARN = "arn:aws:sqs:us-east-1:111122223333:orders"


def test_a_record_has_awss_members():
    message = {
        "MessageId": "m1",
        "ReceiptHandle": "r1",
        "Body": "hello",
        "MD5OfBody": "5d41402abc4b2a76b9719d911017c592",
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1"},
        "MessageAttributes": {
            "colour": {"DataType": "String", "StringValue": "red"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\0\1"},
        },
        "MD5OfMessageAttributes": "x",
    }

    assert json.loads(batches.event([message], ARN, "us-east-1")) == {
        "Records": [
            {
                "messageId": "m1",
                "receiptHandle": "r1",
                "body": "hello",
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1"},
                "messageAttributes": {
                    "colour": {
                        "stringValue": "red",
                        "stringListValues": [],
                        "binaryListValues": [],
                        "dataType": "String",
                    },
                    "raw": {
                        "binaryValue": "AAE=",
                        "stringListValues": [],
                        "binaryListValues": [],
                        "dataType": "Binary",
                    },
                },
                "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
                "md5OfMessageAttributes": "x",
                "eventSource": "aws:sqs",
                "eventSourceARN": ARN,
                "awsRegion": "us-east-1",
            }
        ]
    }


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"{}", b'{"batchItemFailures":null}', b'{"batchItemFailures":[]}', b'{"statusCode":200}']
)
def test_answers_that_mean_success(answer):
    assert batches.failed_ids(answer, ["a", "b"]) == set()


def test_named_messages_failed():
    assert batches.failed_ids(b'{"batchItemFailures":[{"itemIdentifier":"b"}]}', ["a", "b"]) == {"b"}


@pytest.mark.parametrize(
    "answer",
    [
        b"no json",
        b'"text"',
        b"[]",
        b'{"batchItemFailures":"a"}',
        b'{"batchItemFailures":[{"itemIdentifier":""}]}',
        b'{"batchItemFailures":[{"itemIdentifier":null}]}',
        b'{"batchItemFailures":[{"item":"a"}]}',
        b'{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"stranger"}]}',
    ],
)
def test_answers_that_make_no_sense_mean_that_all_failed(answer):
    assert batches.failed_ids(answer, ["a", "b"]) == {"a", "b"}
