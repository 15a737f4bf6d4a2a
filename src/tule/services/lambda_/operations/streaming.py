"""InvokeWithResponseStream: the response as the function writes it, then how the invocation ended."""

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

from tule.kernel.errors import OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.lambda_.execution import Invocation, execution
from tule.services.lambda_.names import parse_name
from tule.services.lambda_.operations.invocations import check_request
from tule.services.lambda_.streaming import StreamedResponse, stream


class _Events:
    """PayloadChunk after PayloadChunk, then InvokeComplete."""

    def __init__(self, response: StreamedResponse, *, tail: bool) -> None:
        self._response = response
        self._tail = tail
        self._complete = False

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        if self._complete:
            raise StopAsyncIteration
        try:
            return {"PayloadChunk": {"Payload": await anext(self._response)}}
        except StopAsyncIteration:
            self._complete = True
            return {"InvokeComplete": self._end()}

    def _end(self) -> dict[str, Any]:
        outcome = self._response.outcome
        end: dict[str, Any] = {}
        if outcome.error:
            end["ErrorCode"] = outcome.error
            end["ErrorDetails"] = outcome.payload.decode("utf-8", "replace")
        if self._tail:
            end["LogResult"] = b64encode(outcome.tail()).decode()
        return end

    async def aclose(self) -> None:
        await self._response.aclose()


async def invoke_with_response_stream(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    if request.get("TenantId"):
        raise OperationNotImplementedError("lambda", "InvokeWithResponseStream", "TenantId was given.")
    context = ctx.request
    payload, client_context = check_request(request)
    runner = execution(ctx.env)
    name = parse_name(context, request["FunctionName"], request.get("Qualifier") or "")
    resolved = await runner.resolve(context, name)
    if request.get("InvocationType") == "DryRun":
        return {"StatusCode": 204}
    invocation = Invocation(payload, context.request_id, context.trace, client_context, name.qualifier)
    response = await stream(runner, resolved, invocation)
    return {
        "StatusCode": 200,
        "ExecutedVersion": resolved.function.version,
        "EventStream": _Events(response, tail=request.get("LogType") == "Tail"),
    }
