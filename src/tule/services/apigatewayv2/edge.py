"""The endpoint of an HTTP API: from a request to its stage, route, function and back."""

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from tule.kernel.context import Principal, RequestContext
from tule.kernel.errors import AwsError
from tule.net.messages import HttpRequest, HttpResponse
from tule.observe.metering import meter_call
from tule.services.apigatewayv2 import cors, state
from tule.services.apigatewayv2.answers import INTERNAL_ERROR, NOT_FOUND, TOO_LARGE, UNAVAILABLE, answer, gateway_error
from tule.services.apigatewayv2.checks import function_arn
from tule.services.apigatewayv2.limits import PAYLOAD_MAX_BYTES, STEP_BYTES
from tule.services.apigatewayv2.models import DEFAULT_STAGE, Api, Deployment, Stage
from tule.services.apigatewayv2.routing import Router
from tule.services.declaration import Aws, Context
from tule.services.http_payloads import PAYLOADS, Call
from tule.store.transaction import ReadTxn

PATH = "/_aws/execute-api/"
HOSTS = (
    "{api}.execute-api.localhost",
    "{api}.execute-api.{region}.localhost",
    "{api}.execute-api.{region}.amazonaws.com",
    "{api}.execute-api.localhost.localstack.cloud",
)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Target:
    """A route, resolved to the function behind it."""

    key: str
    function: str
    """Its ARN; "" for a route without an integration."""
    payload_version: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ServedStage:
    """A stage and the router of its deployment."""

    name: str
    variables: dict[str, str]
    router: Router[Target]


@dataclass(frozen=True, slots=True)
class Served:
    """An API as the edge needs it, in memory until the API changes."""

    api: Api
    stages: dict[str, ServedStage]
    principal: Principal


async def http_api(ctx: Context, request: HttpRequest) -> HttpResponse:
    """Answer one request to an API's endpoint."""
    api_id, stage_name, path = _address(request)
    served: Served | None = ctx.env.state.setdefault("served", {}).get(api_id)
    if served is None:
        served = await _load(ctx, api_id)
        if served is None:
            return gateway_error(NOT_FOUND)
    if served.api.endpoint_disabled:
        return gateway_error(NOT_FOUND)
    stage, inner, path = _stage(served, stage_name, path)
    if stage is None:
        return gateway_error(NOT_FOUND)
    rules = served.api.cors
    if rules is not None and cors.is_preflight(request):
        return cors.preflight(rules, request)
    response = await _respond(ctx, served, stage, inner, path, request)
    if rules is not None:
        cors.decorate(rules, request, response)
    return response


def _address(request: HttpRequest) -> tuple[str, str, str]:
    """(API id, stage or "" if the path says it, path) of the host form or the path form."""
    if request.path.startswith(PATH):
        api_id, _, rest = request.path[len(PATH) :].partition("/")
        stage, _, path = rest.partition("/")
        return api_id, unquote(stage) or DEFAULT_STAGE, f"/{path}"
    return request.headers.get("host", "").partition(".")[0].lower(), "", request.path or "/"


def _stage(served: Served, name: str, path: str) -> tuple[ServedStage | None, str, str]:
    """(stage, path to route by, path to show): a named stage's segment is shown and not routed by."""
    stages = served.stages
    if not name:
        head, _, rest = path[1:].partition("/")
        stage = stages.get(head)
        if stage is not None:
            return stage, f"/{rest}", path
        return stages.get(DEFAULT_STAGE), path, path
    stage = stages.get(name)
    return stage, path, path if name == DEFAULT_STAGE else f"/{name}{path}"


async def _load(ctx: Context, api_id: str) -> Served | None:
    def read(txn: ReadTxn) -> tuple[Api, list[tuple[Stage, Deployment]]] | None:
        api = state.read_api(txn)
        if api is None:
            return None
        pairs = [(stage, state.read(txn, Deployment, stage.deployment)) for stage in state.read_all(txn, Stage)]
        return api, [(stage, deployment) for stage, deployment in pairs if deployment is not None]

    found = await ctx.store.read(state.api_shard(api_id), read, ctx.request)
    if found is None:
        return None
    api, pairs = found
    stages = {stage.name: _served_stage(stage, deployment) for stage, deployment in pairs}
    principal = Principal(
        "service", f"arn:{api.partition}:iam::{api.account}:apigateway.amazonaws.com", "apigateway", known=True
    )
    served = Served(api, stages, principal)
    ctx.env.state["served"][api_id] = served
    return served


def _served_stage(stage: Stage, deployment: Deployment) -> ServedStage:
    integrations = {integration.id: integration for integration in deployment.integrations}
    routes = []
    for route in deployment.routes:
        integration = integrations.get(route.integration)
        if integration is None:
            routes.append((route.key, Target(route.key, "", "2.0", 0)))
            continue
        uri = integration.uri
        for name, value in stage.variables.items():
            uri = uri.replace("${stageVariables.%s}" % name, value)  # noqa: UP031 - braces would need escaping
        target = Target(route.key, function_arn(uri), integration.payload_version, integration.timeout_ms / 1000)
        routes.append((route.key, target))
    return ServedStage(stage.name, stage.variables, Router(routes))


async def _respond(
    ctx: Context, served: Served, stage: ServedStage, inner: str, path: str, request: HttpRequest
) -> HttpResponse:
    match = stage.router.match(request.method, inner)
    if match is None:
        return gateway_error(NOT_FOUND)
    target = match.route
    if not target.function:
        return gateway_error(INTERNAL_ERROR)
    if len(request.body) > PAYLOAD_MAX_BYTES:
        return gateway_error(TOO_LARGE)
    env, api = ctx.env, served.api
    request_id = b64encode(env.random.token(11)).decode()
    context = _context(ctx.request, served)
    call = Call(
        request, api.account, api.id, stage.name, target.key, path, match.variables, stage.variables, request_id,
        env.clock.now(), context.trace.header(),
    )  # fmt: skip
    payload = _encode(PAYLOADS[target.payload_version](call))
    response = await _invoke(env.aws_for(context), target, payload)
    response.headers.append(("apigw-requestid", request_id))
    meter_call(ctx.request, "apigateway.http_requests", -(-max(len(request.body), len(response.body), 1) // STEP_BYTES))
    return response


def _context(request: RequestContext, served: Served) -> RequestContext:
    """The call to the function, in the API's account and region and in the gateway's name."""
    api = served.api
    return RequestContext(
        request.request_id, "apigatewayv2", "HttpApi", api.account, api.region, served.principal, request.trace,
        request.base_url, api.partition, None, request.source_ip, request.user_agent,
    )  # fmt: skip


async def _invoke(aws: Aws, target: Target, payload: bytes) -> HttpResponse:
    try:
        async with asyncio.timeout(target.timeout_s):
            result: dict[str, Any] = await aws.lambda_.invoke(FunctionName=target.function, Payload=payload)
    except TimeoutError:
        return gateway_error(UNAVAILABLE)
    except AwsError as error:
        busy = error.error_code in ("TooManyRequestsException", "ServiceUnavailable", "ServiceException")
        return gateway_error(UNAVAILABLE if busy else INTERNAL_ERROR)
    if result.get("FunctionError"):
        return gateway_error(INTERNAL_ERROR)
    return answer(bytes(result["Payload"]), target.payload_version)
