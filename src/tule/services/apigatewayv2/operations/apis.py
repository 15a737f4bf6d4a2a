"""APIs: create, read, update, delete, import."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from tule.kernel.errors import OperationNotImplementedError
from tule.services.apigatewayv2 import checks, state
from tule.services.apigatewayv2.changes import (
    BadRequestError,
    change,
    deploy_automatically,
    forget_served,
    new_id,
    page,
    read,
    refuse,
)
from tule.services.apigatewayv2.models import DEFAULT_ROUTE, DEFAULT_STAGE, Api, Integration, Route, Stage
from tule.services.apigatewayv2.openapi import Imported, parse_body
from tule.services.apigatewayv2.views import api_view
from tule.services.declaration import Context
from tule.store.transaction import Txn

Request = dict[str, Any]

NOT_HONOURED = {
    "CredentialsArn": "Integrations are called without a role of their own.",
    "DisableSchemaValidation": "It belongs to WebSocket APIs.",
}


def _new_api(ctx: Context, **fields: Any) -> Api:
    return Api(
        id=new_id(ctx.env.random, 10),
        account=ctx.request.account,
        region=ctx.request.region,
        partition=ctx.request.partition,
        created_ms=ctx.env.clock.now(),
        **fields,
    )


async def _create(ctx: Context, api: Api, fill: Callable[[Txn], None]) -> dict[str, Any]:
    def create(txn: Txn) -> None:
        state.write_api(txn, api)
        fill(txn)

    await ctx.store.transact(state.api_shard(api.id), create, ctx.request)
    forget_served(ctx.env, api.id)
    return api_view(api, ctx.request.base_url)


async def create_api(ctx: Context, request: Request) -> dict[str, Any]:
    """With Target, the quick create: a $default stage that deploys itself and a route to the function."""
    if request["ProtocolType"] != "HTTP":
        raise OperationNotImplementedError("apigatewayv2", "CreateApi", "ProtocolType WEBSOCKET was given.")
    refuse("CreateApi", request, NOT_HONOURED)
    if request.get("RouteKey") and not request.get("Target"):
        raise BadRequestError("Target must be specified when RouteKey is specified")
    api = _new_api(
        ctx,
        name=request["Name"],
        description=request.get("Description") or "",
        version=request.get("Version") or "",
        cors=checks.cors(request["CorsConfiguration"]) if request.get("CorsConfiguration") else None,
        endpoint_disabled=bool(request.get("DisableExecuteApiEndpoint")),
        tags=checks.tags(request.get("Tags") or {}),
    )
    random = ctx.env.random
    ids = new_id(random, 7), new_id(random, 7), new_id(random, 6)
    members = {"IntegrationUri": request.get("Target"), "PayloadFormatVersion": "2.0"}
    target = checks.integration("CreateApi", members, None, ids[0]) if request.get("Target") else None
    key = checks.route_key(request.get("RouteKey") or DEFAULT_ROUTE)

    def fill(txn: Txn) -> None:
        if target is None:
            return
        state.write(txn, replace(target, managed=True))
        state.write(txn, Route(id=ids[1], key=key, integration=ids[0], managed=True))
        state.write(
            txn,
            Stage(name=DEFAULT_STAGE, created_ms=txn.now, updated_ms=txn.now, auto_deploy=True, managed=True),
        )
        deploy_automatically(txn, ids[2])

    return await _create(ctx, api, fill)


async def get_api(ctx: Context, request: Request) -> dict[str, Any]:
    return await read(ctx, request["ApiId"], lambda _, api: api_view(api, ctx.request.base_url))


async def get_apis(ctx: Context, request: Request) -> dict[str, Any]:
    apis = await state.list_apis(ctx.store, ctx.request, "", 10_000)
    items, token = page(apis, request, lambda api: api.id)
    result: dict[str, Any] = {"Items": [api_view(api, ctx.request.base_url) for api in items]}
    if token:
        result["NextToken"] = token
    return result


async def update_api(ctx: Context, request: Request) -> dict[str, Any]:
    refuse("UpdateApi", request, {**NOT_HONOURED, "Target": "Change the integration.", "RouteKey": "Change the route."})
    fields: dict[str, Any] = {}
    for member, field in (("Name", "name"), ("Description", "description"), ("Version", "version")):
        if request.get(member) is not None:
            fields[field] = request[member]
    if request.get("DisableExecuteApiEndpoint") is not None:
        fields["endpoint_disabled"] = bool(request["DisableExecuteApiEndpoint"])
    if request.get("CorsConfiguration") is not None:
        fields["cors"] = checks.cors(request["CorsConfiguration"])

    def update(txn: Txn, api: Api) -> Api:
        changed = replace(api, **fields)
        state.write_api(txn, changed)
        return changed

    return api_view(await change(ctx, request["ApiId"], update), ctx.request.base_url)


async def delete_cors_configuration(ctx: Context, request: Request) -> dict[str, Any]:
    await change(ctx, request["ApiId"], lambda txn, api: state.write_api(txn, replace(api, cors=None)))
    return {}


async def delete_api(ctx: Context, request: Request) -> dict[str, Any]:
    await change(ctx, request["ApiId"], state.erase_api)
    return {}


def _imported(ctx: Context, operation: str, request: Request) -> Imported:
    basepath = request.get("Basepath") or "ignore"
    if basepath not in ("ignore", ""):
        raise OperationNotImplementedError("apigatewayv2", operation, f"Basepath {basepath} was given: only ignore is.")
    return parse_body(operation, request["Body"], ctx.env.random, fail_on_warnings=bool(request.get("FailOnWarnings")))


async def import_api(ctx: Context, request: Request) -> dict[str, Any]:
    imported = _imported(ctx, "ImportApi", request)
    api = _new_api(
        ctx,
        name=imported.name,
        description=imported.description,
        version=imported.version,
        cors=imported.cors,
        endpoint_disabled=imported.endpoint_disabled,
        tags=imported.tags,
    )

    def fill(txn: Txn) -> None:
        for integration in imported.integrations:
            state.write(txn, integration)
        for route in imported.routes:
            state.write(txn, route)

    return await _create(ctx, api, fill) | _warnings(imported)


async def reimport_api(ctx: Context, request: Request) -> dict[str, Any]:
    """Replaces routes, integrations and what the body says of the API itself; stages stay."""
    imported = _imported(ctx, "ReimportApi", request)

    def update(txn: Txn, api: Api) -> Api:
        known = {route.key: route for route in state.read_all(txn, Route)}
        for old in known.values():
            state.erase(txn, old)
        for unused in state.read_all(txn, Integration):
            state.erase(txn, unused)
        for integration in imported.integrations:
            state.write(txn, integration)
        for route in imported.routes:
            kept = known.get(route.key)
            state.write(txn, replace(route, id=kept.id) if kept else route)
        changed = replace(
            api,
            name=imported.name or api.name,
            description=imported.description,
            version=imported.version,
            cors=imported.cors,
            endpoint_disabled=imported.endpoint_disabled,
            tags={**api.tags, **imported.tags},
        )
        state.write_api(txn, changed)
        return changed

    api = await change(ctx, request["ApiId"], update, deploys=True)
    return api_view(api, ctx.request.base_url) | _warnings(imported)


def _warnings(imported: Imported) -> dict[str, Any]:
    return {"Warnings": imported.warnings} if imported.warnings else {}
