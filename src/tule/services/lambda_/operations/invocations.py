"""Invoke: synchronously, as an event, or as a dry run."""

from base64 import b64decode, b64encode
from typing import Any

import msgspec

from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.lambda_ import limits
from tule.services.lambda_.execution import Invocation, execution
from tule.services.lambda_.names import parse_name

_check_json = msgspec.json.Decoder(msgspec.Raw).decode
"""Reads past a value without building it."""


class RequestTooLargeError(AwsError):
    code = "RequestTooLargeException"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"Request must be smaller than {limit} bytes for the InvokeFunction operation")


class InvalidRequestContentError(AwsError):
    code = "InvalidRequestContentException"

    def __init__(self, message: str) -> None:
        super().__init__(message, members={"Type": "User"})


async def invoke(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    env, context = ctx.env, ctx.request
    if request.get("DurableExecutionName") or request.get("TenantId"):
        member = "DurableExecutionName" if request.get("DurableExecutionName") else "TenantId"
        raise OperationNotImplementedError("lambda", "Invoke", f"{member} was given.")
    kind = request.get("InvocationType") or "RequestResponse"
    payload, client_context = check_request(request)
    runner = execution(env)
    name = parse_name(context, request["FunctionName"], request.get("Qualifier") or "")
    resolved = await runner.resolve(context, name)
    if kind == "DryRun":
        return {"StatusCode": 204, "Payload": b""}
    invocation = Invocation(payload, context.request_id, context.trace, client_context, name.qualifier)
    if kind == "Event":
        await runner.events.accept(context, resolved, invocation)
        return {"StatusCode": 202, "Payload": b""}
    outcome = await runner.run(resolved, invocation)
    result: dict[str, Any] = {
        "StatusCode": 200,
        "ExecutedVersion": resolved.function.version,
        "Payload": outcome.payload,
    }
    if outcome.error:
        result["FunctionError"] = outcome.error
    if request.get("LogType") == "Tail":
        result["LogResult"] = b64encode(outcome.tail()).decode()
    return result


def check_request(request: dict[str, Any]) -> tuple[bytes, str]:
    """The payload and client context of a request to run a function; refuses what can't be given to one."""
    payload: bytes = request.get("Payload") or b"{}"
    limit = limits.SYNC_PAYLOAD_MAX_BYTES
    if request.get("InvocationType") == "Event":
        limit = limits.ASYNC_PAYLOAD_MAX_BYTES
    if len(payload) > limit:
        raise RequestTooLargeError(limit)
    check_payload(payload)
    client_context = request.get("ClientContext") or ""
    if client_context:
        _check_client_context(client_context)
    return payload, client_context


def _check_client_context(text: str) -> None:
    if len(text) > limits.CLIENT_CONTEXT_MAX_BYTES:
        raise AwsError(
            f"1 validation error detected: Value '{text}' at 'clientContext' failed to satisfy constraint: "
            f"Member must have length less than or equal to {limits.CLIENT_CONTEXT_MAX_BYTES}",
            code="ValidationException",
        )
    try:
        msgspec.json.decode(b64decode(text, validate=True))
    except ValueError:
        raise InvalidRequestContentError("Client context must be a valid Base64-encoded JSON object.") from None


def check_payload(payload: bytes) -> None:
    """Refuse what is no JSON, in the words of the parser AWS uses."""
    try:
        _check_json(payload)
        payload.decode()
    except ValueError:
        raise InvalidRequestContentError(
            f"Could not parse request body into json: Could not parse payload into json: {_complaint(payload)}"
        ) from None


_EXPECTED = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


def _complaint(payload: bytes) -> str:
    """Jackson's sentence about the first byte that doesn't fit."""
    import json

    where = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {}, column: {}]"
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        inside = "continuation" in error.reason and error.end < len(payload)
        at, kind = (error.end, "middle") if inside else (error.start, "start")
        line = payload.count(b"\n", 0, at) + 1
        column = at - payload.rfind(b"\n", 0, at) + 1
        return f"Invalid UTF-8 {kind} byte 0x{payload[at]:x} at {where.format(line, column)}"
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        place = where.format(error.lineno, error.colno + 1)
        rest = text[error.pos :]
        if not rest:
            return f"Unexpected end-of-input at {where.format(error.lineno, error.colno)}"
        word = rest.split(maxsplit=1)[0] if not rest[0].isspace() else rest[0]
        if rest[0].isalpha():
            token = "".join(c for c in word if c.isalnum() or c == "_")
            end = where.format(error.lineno, error.colno + len(token))
            return f"Unrecognized token '{token}': was expecting {_EXPECTED} at {end}"
        return (
            f"Unexpected character ('{rest[0]}' (code {ord(rest[0])})): expected a valid value {_EXPECTED} at {place}"
        )
    return f"Unexpected content at {where.format(1, 1)}"
