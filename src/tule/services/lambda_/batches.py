"""A batch of queue messages as the event a function gets, and what its answer says of each message: pure functions."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode

Message = dict[str, Any]
"""As ReceiveMessage returns it."""


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if value.get("StringValue") is not None:
        result["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        result["binaryValue"] = b64encode(value["BinaryValue"]).decode()
    result["stringListValues"] = []
    result["binaryListValues"] = []
    result["dataType"] = value["DataType"]
    return result


def record(message: Message, source_arn: str, region: str) -> dict[str, Any]:
    """One entry of Records."""
    result = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes") or {},
        "messageAttributes": {
            name: _attribute(value) for name, value in (message.get("MessageAttributes") or {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": source_arn,
        "awsRegion": region,
    }
    if message.get("MD5OfMessageAttributes"):
        result["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return result


def event(messages: Iterable[Message], source_arn: str, region: str) -> bytes:
    """The payload for a batch."""
    return msgspec.json.encode({"Records": [record(message, source_arn, region) for message in messages]})


def failed_ids(payload: bytes, ids: Iterable[str]) -> set[str]:
    """The messages that a function with ReportBatchItemFailures did not process.

    AWS: no answer, one without the list and an empty list mean success; an answer that makes no sense, or names a
    message that was not in the batch, means that the whole batch failed.
    """
    batch = set(ids)
    try:
        named = _named(payload)
    except (msgspec.DecodeError, TypeError):
        return batch
    return named if named.issubset(batch) else batch


def _named(payload: bytes) -> set[str]:
    """The identifiers in an answer; a `TypeError` if it has another shape."""
    answer = _decode(payload) if payload else None
    if answer is None:
        return set()
    if not isinstance(answer, dict):
        raise TypeError
    failures = answer.get("batchItemFailures") or []
    if not isinstance(failures, list):
        raise TypeError
    named = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(identifier, str):
            raise TypeError
        named.add(identifier)
    return named


def size_of(message: Message) -> int:
    """About how much of the invocation's payload a message takes."""
    return len(message["Body"]) + 1024
