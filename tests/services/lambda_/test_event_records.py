"""What destinations and dead-letter queues are told, case by case."""

import json

import pytest

from tule.services.lambda_.queued_event import (
    AGE_EXCEEDED,
    RETRIES_EXHAUSTED,
    SUCCESS,
    ZERO_CONCURRENCY,
    Conclusion,
    Event,
    Response,
)
from tule.services.lambda_.records import dead_letter_attributes, invocation_record

ARN = "arn:aws:lambda:us-east-1:111122223333:function:worker"


def ended(condition):
    return Conclusion(condition=condition, at_ms=1_700_000_000_007, targets=())


def event(response=None, **changes):
    return Event(request_id="r-1", payload=b'{"n": 1}', accepted_ms=0, response=response, **changes)


def error(message):
    return json.dumps({"errorMessage": message, "errorType": "E"}).encode()


def test_a_record_is_awss_to_the_order_of_its_members():
    failed = event(Response(200, "7", "Unhandled", error("no")), attempts=3, qualifier="live")

    record = invocation_record(ARN, failed, ended(RETRIES_EXHAUSTED))

    assert record == (
        b'{"version":"1.0","timestamp":"2023-11-14T22:13:20.007Z","requestContext":{"requestId":"r-1","functionArn":'
        b'"arn:aws:lambda:us-east-1:111122223333:function:worker:live","condition":"RetriesExhausted",'
        b'"approximateInvokeCount":3},"requestPayload":{"n": 1},"responseContext":{"statusCode":200,"executedVersion":'
        b'"7","functionError":"Unhandled"},"responsePayload":{"errorMessage": "no", "errorType": "E"}}'
    )


@pytest.mark.parametrize(
    ("condition", "response", "context", "payload"),
    [
        (SUCCESS, Response(200, "$LATEST", "", b"[1]"), {"statusCode": 200, "executedVersion": "$LATEST"}, [1]),
        (
            SUCCESS,
            Response(200, "$LATEST", "", b"no json"),
            {"statusCode": 200, "executedVersion": "$LATEST"},
            "no json",
        ),
        (ZERO_CONCURRENCY, None, None, None),
        (AGE_EXCEEDED, None, None, None),
        (
            AGE_EXCEEDED,
            Response(429, error="TooManyRequestsException", message="Rate Exceeded."),
            {"statusCode": 429, "functionError": "TooManyRequestsException"},
            None,
        ),
    ],
)
def test_a_record_has_a_response_if_there_was_one(condition, response, context, payload):
    record = json.loads(invocation_record(ARN, event(response), ended(condition)))

    assert record.get("responseContext") == context
    assert record.get("responsePayload") == payload


@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        (Response(200, "1", "Unhandled", error("no luck")), "200", "no luck"),
        (Response(200, "1", "Unhandled", error("")), "200", "Unhandled"),
        (Response(200, "1", "Unhandled", b"not json"), "200", "not json"),
        (Response(200, "1", "Unhandled", b"[1]"), "200", "Unhandled"),
        (Response(429, error="TooManyRequestsException", message="Rate Exceeded."), "429", "Rate Exceeded."),
        (Response(200, "1", "Unhandled", error("é" * 2_000)), "200", "é" * 512),
    ],
)
def test_a_dead_letter_says_why_in_a_kilobyte(response, code, message):
    attributes = dead_letter_attributes(event(response), ended(RETRIES_EXHAUSTED))

    assert attributes == {
        "RequestID": {"DataType": "String", "StringValue": "r-1"},
        "ErrorCode": {"DataType": "Number", "StringValue": code},
        "ErrorMessage": {"DataType": "String", "StringValue": message},
    }
