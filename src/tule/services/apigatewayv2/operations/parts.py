"""Routes, integrations, stages and deployments."""

from typing import Any

from msgspec.structs import replace

from tule.kernel.errors import OperationNotImplementedError
from tule.services.apigatewayv2 import checks, limits, state, views
from tule.services.apigatewayv2.changes import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    change,
    deploy_automatically,
    new_id,
    page,
    part,
    read,
    refuse,
    snapshot,
)
from tule.services.apigatewayv2.models import Api, Deployment, Integration, Route, Stage
from tule.services.declaration import Context
from tule.store.transaction import Txn

Request = dict[str, Any]

ROUTE_REFUSED = {
    "AuthorizerId": "Authorizers are not implemented.",
    "AuthorizationScopes": "Authorizers are not implemented.",
    "ApiKeyRequired": "API keys belong to WebSocket APIs.",
    "ModelSelectionExpression": "Models belong to WebSocket APIs.",
    "RequestModels": "Models belong to WebSocket APIs.",
    "RequestParameters": "They belong to WebSocket APIs.",
    "RouteResponseSelectionExpression": "It belongs to WebSocket APIs.",
}
INTEGRATION_REFUSED = {
    "ConnectionId": "Tule has no VPC links.",
    "CredentialsArn": "Integrations are called without a role of their own.",
    "ContentHandlingStrategy": "It belongs to WebSocket APIs.",
    "RequestParameters": "Parameter mapping is not implemented.",
    "ResponseParameters": "Parameter mapping is not implemented.",
    "RequestTemplates": "Templates belong to WebSocket APIs.",
    "TlsConfig": "Tule has no VPC links.",
}
STAGE_REFUSED = {
    "AccessLogSettings": "Access logs are not implemented.",
    "ClientCertificateId": "Client certificates are not implemented.",
    "DefaultRouteSettings": "Throttling and metrics of routes are not implemented.",
    "RouteSettings": "Throttling and metrics of routes are not implemented.",
}


def _listed(items: list[Any], token: str | None) -> dict[str, Any]:
    return {"Items": items, "NextToken": token} if token else {"Items": items}


# ---- routes


def _check_authorization(operation: str, request: Request) -> None:
    refuse(operation, request, ROUTE_REFUSED)
    kind = request.get("AuthorizationType") or "NONE"
    if kind != "NONE":
        raise OperationNotImplementedError("apigatewayv2", operation, f"AuthorizationType {kind} was given.")


def _check_route(txn: Txn, route: Route) -> Route:
    for other in state.read_all(txn, Route):
        if other.key == route.key and other.id != route.id:
            raise ConflictError(f"Route with key {route.key} already exists for this API")
    if route.integration and state.read(txn, Integration, route.integration) is None:
        raise BadRequestError(f"Unable to find Integration with identifier {route.integration}")
    state.write(txn, route)
    return route


async def create_route(ctx: Context, request: Request) -> dict[str, Any]:
    _check_authorization("CreateRoute", request)
    route = Route(
        id=new_id(ctx.env.random, 7),
        key=checks.route_key(request["RouteKey"]),
        integration=checks.target(request.get("Target")),
        operation_name=request.get("OperationName") or "",
    )

    def create(txn: Txn, _api: Api) -> Route:
        if len(state.read_all(txn, Route)) >= limits.ROUTES_MAX:
            raise ConflictError(f"Maximum number of Routes for this API has been reached: {limits.ROUTES_MAX}")
        return _check_route(txn, route)

    return views.route_view(await change(ctx, request["ApiId"], create, deploys=True))


async def get_route(ctx: Context, request: Request) -> dict[str, Any]:
    return await read(ctx, request["ApiId"], lambda txn, _: views.route_view(part(txn, Route, request["RouteId"])))


async def get_routes(ctx: Context, request: Request) -> dict[str, Any]:
    routes = await read(ctx, request["ApiId"], lambda txn, _: state.read_all(txn, Route))
    items, token = page(routes, request, lambda route: route.id)
    return _listed([views.route_view(route) for route in items], token)


async def update_route(ctx: Context, request: Request) -> dict[str, Any]:
    _check_authorization("UpdateRoute", request)
    fields: dict[str, Any] = {}
    if request.get("RouteKey") is not None:
        fields["key"] = checks.route_key(request["RouteKey"])
    if request.get("Target") is not None:
        fields["integration"] = checks.target(request["Target"])
    if request.get("OperationName") is not None:
        fields["operation_name"] = request["OperationName"]

    def update(txn: Txn, _api: Api) -> Route:
        return _check_route(txn, replace(part(txn, Route, request["RouteId"]), **fields))

    return views.route_view(await change(ctx, request["ApiId"], update, deploys=True))


async def delete_route(ctx: Context, request: Request) -> dict[str, Any]:
    def delete(txn: Txn, _api: Api) -> None:
        state.erase(txn, part(txn, Route, request["RouteId"]))

    await change(ctx, request["ApiId"], delete, deploys=True)
    return {}


# ---- integrations


async def create_integration(ctx: Context, request: Request) -> dict[str, Any]:
    refuse("CreateIntegration", request, INTEGRATION_REFUSED)
    integration = checks.integration("CreateIntegration", request, None, new_id(ctx.env.random, 7))

    def create(txn: Txn, _api: Api) -> None:
        if len(state.read_all(txn, Integration)) >= limits.INTEGRATIONS_MAX:
            raise ConflictError(f"Maximum number of Integrations has been reached: {limits.INTEGRATIONS_MAX}")
        state.write(txn, integration)

    await change(ctx, request["ApiId"], create, deploys=True)
    return views.integration_view(integration)


async def get_integration(ctx: Context, request: Request) -> dict[str, Any]:
    name = request["IntegrationId"]
    return await read(ctx, request["ApiId"], lambda txn, _: views.integration_view(part(txn, Integration, name)))


async def get_integrations(ctx: Context, request: Request) -> dict[str, Any]:
    found = await read(ctx, request["ApiId"], lambda txn, _: state.read_all(txn, Integration))
    items, token = page(found, request, lambda integration: integration.id)
    return _listed([views.integration_view(integration) for integration in items], token)


async def update_integration(ctx: Context, request: Request) -> dict[str, Any]:
    refuse("UpdateIntegration", request, INTEGRATION_REFUSED)

    def update(txn: Txn, _api: Api) -> Integration:
        old = part(txn, Integration, request["IntegrationId"])
        changed = checks.integration("UpdateIntegration", request, old, old.id)
        state.write(txn, changed)
        return changed

    return views.integration_view(await change(ctx, request["ApiId"], update, deploys=True))


async def delete_integration(ctx: Context, request: Request) -> dict[str, Any]:
    def delete(txn: Txn, _api: Api) -> None:
        integration = part(txn, Integration, request["IntegrationId"])
        users = [route.id for route in state.read_all(txn, Route) if route.integration == integration.id]
        if users:
            raise ConflictError(
                f"Cannot delete Integration '{integration.id}'. "
                f"Integration is referenced by the following Routes: {', '.join(users)}"
            )
        state.erase(txn, integration)

    await change(ctx, request["ApiId"], delete, deploys=True)
    return {}


# ---- stages


def _deployment_for(txn: Txn, stage: Stage) -> None:
    if stage.deployment and not stage.auto_deploy and state.read(txn, Deployment, stage.deployment) is None:
        raise BadRequestError("Invalid Deployment identifier specified")


async def create_stage(ctx: Context, request: Request) -> dict[str, Any]:
    refuse("CreateStage", request, STAGE_REFUSED)
    name, auto = checks.stage_name(request["StageName"]), bool(request.get("AutoDeploy"))
    if auto and request.get("DeploymentId"):
        raise BadRequestError("Deployment ID cannot be set when AutoDeploy is enabled")
    deployment_id, now = new_id(ctx.env.random, 6), ctx.env.clock.now()
    stage = Stage(
        name=name,
        created_ms=now,
        updated_ms=now,
        deployment=request.get("DeploymentId") or "",
        auto_deploy=auto,
        description=request.get("Description") or "",
        variables=dict(request.get("StageVariables") or {}),
        tags=checks.tags(request.get("Tags") or {}),
    )

    def create(txn: Txn, _api: Api) -> Stage:
        stages = state.read_all(txn, Stage)
        if any(other.name == name for other in stages):
            raise ConflictError("Stage already exists")
        if len(stages) >= limits.STAGES_MAX:
            raise ConflictError(f"Maximum number of Stages for this API has been reached: {limits.STAGES_MAX}")
        _deployment_for(txn, stage)
        state.write(txn, stage)
        if auto:
            deploy_automatically(txn, deployment_id)
        return part(txn, Stage, name)

    return views.stage_view(await change(ctx, request["ApiId"], create))


async def get_stage(ctx: Context, request: Request) -> dict[str, Any]:
    return await read(ctx, request["ApiId"], lambda txn, _: views.stage_view(part(txn, Stage, request["StageName"])))


async def get_stages(ctx: Context, request: Request) -> dict[str, Any]:
    stages = await read(ctx, request["ApiId"], lambda txn, _: state.read_all(txn, Stage))
    items, token = page(stages, request, lambda stage: stage.name)
    return _listed([views.stage_view(stage) for stage in items], token)


async def update_stage(ctx: Context, request: Request) -> dict[str, Any]:
    refuse("UpdateStage", request, STAGE_REFUSED)
    deployment_id = new_id(ctx.env.random, 6)
    fields: dict[str, Any] = {}
    for member, field in (
        ("AutoDeploy", "auto_deploy"),
        ("DeploymentId", "deployment"),
        ("Description", "description"),
        ("StageVariables", "variables"),
    ):
        if request.get(member) is not None:
            fields[field] = request[member]

    def update(txn: Txn, _api: Api) -> Stage:
        old = part(txn, Stage, request["StageName"])
        changed = replace(old, updated_ms=txn.now, **fields)
        if changed.auto_deploy and request.get("DeploymentId"):
            raise BadRequestError("Deployment ID cannot be set when AutoDeploy is enabled")
        _deployment_for(txn, changed)
        state.write(txn, changed)
        if changed.auto_deploy and not old.auto_deploy:
            deploy_automatically(txn, deployment_id)
        return part(txn, Stage, changed.name)

    return views.stage_view(await change(ctx, request["ApiId"], update))


async def delete_stage(ctx: Context, request: Request) -> dict[str, Any]:
    def delete(txn: Txn, _api: Api) -> None:
        state.erase(txn, part(txn, Stage, request["StageName"]))

    await change(ctx, request["ApiId"], delete)
    return {}


# ---- deployments


async def create_deployment(ctx: Context, request: Request) -> dict[str, Any]:
    deployment_id, stage_name = new_id(ctx.env.random, 6), request.get("StageName")

    def create(txn: Txn, _api: Api) -> Deployment:
        if not state.read_all(txn, Route):
            raise BadRequestError("At least one route is required before deploying the Api.")
        deployment = snapshot(txn, deployment_id, description=request.get("Description") or "")
        if stage_name:
            stage = state.read(txn, Stage, stage_name)
            if stage is None:
                raise NotFoundError("Invalid stage identifier specified")
            if stage.auto_deploy:
                raise BadRequestError("Deployment cannot be created for a stage with AutoDeploy enabled")
            state.write(txn, replace(stage, deployment=deployment_id, updated_ms=txn.now))
        return deployment

    return views.deployment_view(await change(ctx, request["ApiId"], create))


async def get_deployment(ctx: Context, request: Request) -> dict[str, Any]:
    name = request["DeploymentId"]
    return await read(ctx, request["ApiId"], lambda txn, _: views.deployment_view(part(txn, Deployment, name)))


async def get_deployments(ctx: Context, request: Request) -> dict[str, Any]:
    found = await read(ctx, request["ApiId"], lambda txn, _: state.read_all(txn, Deployment))
    items, token = page(found, request, lambda deployment: deployment.id)
    return _listed([views.deployment_view(deployment) for deployment in items], token)


async def update_deployment(ctx: Context, request: Request) -> dict[str, Any]:
    def update(txn: Txn, _api: Api) -> Deployment:
        changed = part(txn, Deployment, request["DeploymentId"])
        if request.get("Description") is not None:
            changed = replace(changed, description=request["Description"])
            state.write(txn, changed)
        return changed

    return views.deployment_view(await change(ctx, request["ApiId"], update))


async def delete_deployment(ctx: Context, request: Request) -> dict[str, Any]:
    def delete(txn: Txn, _api: Api) -> None:
        deployment = part(txn, Deployment, request["DeploymentId"])
        if any(stage.deployment == deployment.id for stage in state.read_all(txn, Stage)):
            raise BadRequestError(
                f"Cannot delete Deployment '{deployment.id}': a stage points to it. Point the stage elsewhere first."
            )
        state.erase(txn, deployment)

    await change(ctx, request["ApiId"], delete)
    return {}
