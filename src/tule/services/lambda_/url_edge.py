"""The endpoint of a function URL: from an HTTP request to its function and back, in one piece or as a stream."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError
from tule.net.body import ClientGoneError
from tule.net.messages import HttpRequest, HttpResponse
from tule.runtime.contract import STREAM_WITH_PRELUDE
from tule.services.declaration import Context
from tule.services.http_answers import NotAnAnswerError, read_answer, read_prelude
from tule.services.http_payloads import Call, payload_2
from tule.services.lambda_ import invoking_state, limits, state, url_cors
from tule.services.lambda_.execution import Invocation, execution
from tule.services.lambda_.function_url import RESPONSE_STREAM, FunctionUrl, UrlPlace
from tule.services.lambda_.models import Policy
from tule.services.lambda_.names import FunctionName
from tule.services.lambda_.streaming import StreamedResponse, stream
from tule.services.lambda_.url_callers import Caller, ForbiddenError, admit
from tule.store.transaction import ReadTxn

PATH = "/_aws/lambda-url/"
HOSTS = (
    "{url}.lambda-url.{region}.localhost",
    "{url}.lambda-url.localhost",
    "{url}.lambda-url.{region}.on.aws",
    "{url}.lambda-url.{region}.localhost.localstack.cloud",
)

_ROUTE = "$default"
_PRELUDE_END = bytes(8)
_JSON = "application/json"
_BYTES = "application/octet-stream"
_encode = msgspec.json.Encoder().encode


class BrokenOffError(ClientGoneError):
    """The function failed after its response had begun: the connection ends before the response does."""


class _Served(NamedTuple):
    """A URL with what its function's shard says about it."""

    place: UrlPlace
    url: FunctionUrl
    policy: Policy | None


async def function_url(ctx: Context, request: HttpRequest) -> HttpResponse:
    """Answer one request to a function URL."""
    url_id, path = _address(request)
    served = await _find(ctx, url_id)
    if served is None:
        return _refused(403, "AccessDeniedException", None)
    rules = served.url.cors
    if rules is not None and url_cors.is_preflight(request):
        return url_cors.preflight(rules, request)
    response = await _respond(ctx, served, path, request)
    response.headers = [
        *response.headers,
        ("x-amzn-requestid", ctx.request.request_id),
        ("x-amzn-trace-id", f"Root={ctx.request.trace.root};Sampled={int(ctx.request.trace.sampled)}"),
    ]
    if rules is not None:
        url_cors.decorate(rules, request, response)
    return response


def _address(request: HttpRequest) -> tuple[str, str]:
    """(id, path) of the host form or the path form."""
    if request.path.startswith(PATH):
        url_id, _, rest = request.path[len(PATH) :].partition("/")
        return url_id, f"/{rest}"
    return request.headers.get("host", "").partition(".")[0].lower(), request.path or "/"


async def _find(ctx: Context, url_id: str) -> _Served | None:
    place = await ctx.store.read(invoking_state.url_shard(url_id), invoking_state.read_place, ctx.request)
    if place is None:
        return None

    def read(txn: ReadTxn) -> _Served | None:
        url = invoking_state.read_url(txn, place.qualifier)
        if url is None or url.id != url_id:
            return None
        return _Served(place, url, state.read_policy(txn, place.qualifier))

    shard = state.function_shard(place.account, place.region, place.function)
    return await ctx.store.read(shard, read, ctx.request)


async def _respond(ctx: Context, served: _Served, path: str, request: HttpRequest) -> HttpResponse:
    try:
        caller = admit(ctx.env, request, served.url, served.place, served.policy)
    except ForbiddenError as error:
        return _refused(403, error.error_code, error.message)
    if len(request.body) > limits.SYNC_PAYLOAD_MAX_BYTES:
        return _refused(413, "RequestEntityTooLargeException", "Request must be smaller than 6291456 bytes")
    try:
        response = await _invoke(ctx, served, _payload(ctx, served, caller, path, request))
    except AwsError as error:
        return _refused(error.error_status, error.error_code, error.message)
    try:
        if served.url.invoke_mode == RESPONSE_STREAM:
            return await _streamed(response)
        return await _buffered(response)
    except NotAnAnswerError:
        await response.aclose()
        return _failed()


def _payload(ctx: Context, served: _Served, caller: Caller | None, path: str, request: HttpRequest) -> bytes:
    account = caller.account if caller is not None else "anonymous"
    call = Call(
        request, account, served.url.id, _ROUTE, _ROUTE, path, {}, {}, ctx.request.request_id, ctx.env.clock.now(),
        ctx.request.trace.header(), None if caller is None else caller.authorizer(),
    )  # fmt: skip
    return _encode(payload_2(call))


async def _invoke(ctx: Context, served: _Served, payload: bytes) -> StreamedResponse:
    place, seen = served.place, ctx.request
    runner = execution(ctx.env)
    context = _context(seen, ctx.env.background(place.account, place.region))
    name = FunctionName(place.account, place.region, place.function, place.qualifier)
    resolved = await runner.resolve(context, name)
    return await stream(runner, resolved, Invocation(payload, seen.request_id, seen.trace, "", place.qualifier))


def _context(seen: RequestContext, own: RequestContext) -> RequestContext:
    """The request in the function's account and region: nobody's key decides where a URL leads."""
    own.request_id, own.trace, own.base_url = seen.request_id, seen.trace, seen.base_url
    return own


# -- answers


def _refused(status: int, code: str, message: str | None) -> HttpResponse:
    headers = [("content-type", _JSON), ("x-amzn-errortype", code)]
    return HttpResponse(status, headers, _encode({"Message": message}))


def _failed() -> HttpResponse:
    """What callers see of a function that failed, or answered what is no answer."""
    headers = [("content-type", _JSON), ("x-amzn-errortype", "InternalServerErrorException")]
    return HttpResponse(502, headers, b"Internal Server Error")


async def _buffered(response: StreamedResponse) -> HttpResponse:
    """The whole answer at once, also of a function that streams."""
    pieces, size = [], 0
    async for piece in response:
        size += len(piece)
        if size > limits.RESPONSE_MAX_BYTES:
            raise NotAnAnswerError
        pieces.append(piece)
    if response.outcome.error:
        return _failed()
    payload = b"".join(pieces)
    if response.content_type == STREAM_WITH_PRELUDE:
        prelude, end, body = payload.partition(_PRELUDE_END)
        if not end:
            raise NotAnAnswerError
        return _complete(read_prelude(prelude), body)
    if response.content_type not in ("", _JSON):
        return HttpResponse(200, [("content-type", response.content_type)], payload)
    if payload.startswith(b'"'):
        return HttpResponse(200, [("content-type", _JSON)], str(msgspec.json.decode(payload)).encode())
    return read_answer(payload, "2.0", _JSON)


def _complete(head: HttpResponse, body: bytes) -> HttpResponse:
    head.body = body
    if not any(name == "content-type" for name, _ in head.headers):
        head.headers.append(("content-type", _BYTES))
    return head


async def _streamed(response: StreamedResponse) -> HttpResponse:
    """What the function writes, as it writes it."""
    if response.content_type == STREAM_WITH_PRELUDE:
        head, first = await _prelude(response)
        answer = _complete(head, first)
    else:
        if await response.is_over() and response.outcome.error:
            return _failed()
        answer = HttpResponse(200, [("content-type", response.content_type or _BYTES)])
    answer.stream = _Rest(response)
    return answer


async def _prelude(response: StreamedResponse) -> tuple[HttpResponse, bytes]:
    """(status and headers that a stream begins with, what came of its body along with them)."""
    begun = b""
    async for piece in response:
        begun += piece
        prelude, end, first = begun.partition(_PRELUDE_END)
        if end:
            return read_prelude(prelude), first
        if len(begun) > limits.PRELUDE_MAX_BYTES:
            break
    raise NotAnAnswerError


class _Rest:
    """The body that is still to come. No generator: one that was never begun runs no clean-up."""

    def __init__(self, response: StreamedResponse) -> None:
        self._response = response
        self.aclose = response.aclose

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._response)
        except StopAsyncIteration:
            if self._response.outcome.error:
                raise BrokenOffError from None
            raise
