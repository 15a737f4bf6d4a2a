"""What destinations and dead-letter queues are told of an event: pure functions.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html, and recorded messages of AWS's.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from tule.services.lambda_ import limits
from tule.services.lambda_.models import LATEST
from tule.services.lambda_.queued_event import SUCCESS, ZERO_CONCURRENCY, Conclusion, Event, Response

_decode = msgspec.json.Decoder().decode
_NOT_INVOKED = "Function not invoked. Function isconfigured with zero reserved concurrent executions"
"""AWS's own words."""


def timestamp(instant_ms: int) -> str:
    """2026-11-21T12:00:00.123Z."""
    moment = datetime.fromtimestamp(instant_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1000:03d}Z"


def invocation_record(function_arn: str, event: Event, conclusion: Conclusion) -> bytes:
    """The record of an invocation, for a destination. `function_arn` is unqualified."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": timestamp(conclusion.at_ms),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": f"{function_arn}:{event.qualifier or LATEST}",
            "condition": conclusion.condition,
            "approximateInvokeCount": event.attempts,
        },
        "requestPayload": _spliced(event.payload),
    }
    response = event.response
    if response is not None and conclusion.condition != ZERO_CONCURRENCY:
        record["responseContext"] = _response_context(response, conclusion.condition)
        if response.payload:
            record["responsePayload"] = _spliced(response.payload)
    return msgspec.json.encode(record)


def _response_context(response: Response, condition: str) -> dict[str, Any]:
    context: dict[str, Any] = {"statusCode": response.status}
    if response.version:
        context["executedVersion"] = response.version
    if response.error and condition != SUCCESS:
        context["functionError"] = response.error
    return context


def _spliced(payload: bytes) -> Any:
    """JSON as it is; what is none (a custom runtime may answer anything) as text."""
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)
    except msgspec.DecodeError:
        return payload.decode("utf-8", "replace")
    return msgspec.Raw(payload)


def dead_letter_attributes(event: Event, conclusion: Conclusion) -> dict[str, dict[str, str]]:
    """Lambda's attributes of a dead letter. AWS leaves out ErrorCode where no attempt was answered."""
    attributes = {"RequestID": _text(event.request_id)}
    response = event.response
    if conclusion.condition == ZERO_CONCURRENCY:
        attributes["ErrorMessage"] = _text(_NOT_INVOKED)
        return attributes
    if response is not None:
        attributes["ErrorCode"] = {"DataType": "Number", "StringValue": str(response.status)}
        message = response.message or _error_message(response.payload)
        attributes["ErrorMessage"] = _text(_cut(message) or "Unhandled")
    return attributes


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def _error_message(payload: bytes) -> str:
    try:
        told = _decode(payload)
    except msgspec.DecodeError:
        return payload.decode("utf-8", "replace")
    return str(told.get("errorMessage") or "") if isinstance(told, dict) else ""


def _cut(message: str) -> str:
    """The first kilobyte, whole characters."""
    return message.encode("utf-8", "replace")[: limits.DEAD_LETTER_MESSAGE_BYTES].decode("utf-8", "ignore")
