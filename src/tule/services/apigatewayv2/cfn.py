"""AWS::ApiGatewayV2::Api, Stage, Route, Integration and Deployment."""

import json
from collections.abc import Mapping
from typing import Any

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_TRUE = frozenset({"true", "True", True})
_FLAGS = frozenset({"AutoDeploy", "DisableExecuteApiEndpoint", "FailOnWarnings", "ApiKeyRequired", "AllowCredentials"})
_NUMBERS = frozenset({"TimeoutInMillis", "MaxAge"})

_API_MEMBERS = (
    "Name", "ProtocolType", "Description", "Version", "CorsConfiguration", "DisableExecuteApiEndpoint", "RouteKey",
    "Target",
)  # fmt: skip
_ROUTE_MEMBERS = ("ApiId", "RouteKey", "Target", "AuthorizationType", "OperationName")
_INTEGRATION_MEMBERS = (
    "ApiId", "IntegrationType", "IntegrationUri", "IntegrationMethod", "PayloadFormatVersion", "TimeoutInMillis",
    "Description", "ConnectionType",
)  # fmt: skip
_STAGE_MEMBERS = ("ApiId", "StageName", "AutoDeploy", "DeploymentId", "Description", "StageVariables")


def _typed(value: Any, name: str = "") -> Any:
    """A property with the type the API's member has: templates may write numbers and booleans as text."""
    if isinstance(value, Mapping):
        return {key: _typed(item, key) for key, item in value.items()}
    if name in _FLAGS:
        return value in _TRUE
    if name in _NUMBERS:
        return int(value)
    return value


def _members(request: ResourceRequest, names: tuple[str, ...]) -> dict[str, Any]:
    given = request.properties
    return {name: _typed(given[name], name) for name in names if given.get(name) is not None}


def _tags(request: ResourceRequest) -> dict[str, str]:
    own = {str(key): str(value) for key, value in (request.properties.get("Tags") or {}).items()}
    return {**request.tags, **own}


async def _gone(error: AwsError) -> None:
    """Deleting what is gone is done."""
    if error.error_code != "NotFoundException":
        raise error


async def _found_api(ctx: Context, request: ResourceRequest) -> str:
    """The API that an earlier attempt at this change made, or ""."""
    mark = ("aws:cloudformation:stack-id", "aws:cloudformation:logical-id")
    wanted = (request.stack_id, request.logical_id)
    for api in (await ctx.aws.apigatewayv2.get_apis(MaxResults="10000"))["Items"]:
        tags = api.get("Tags") or {}
        if tuple(tags.get(name) for name in mark) == wanted:
            return str(api["ApiId"])
    return ""


def _body(request: ResourceRequest) -> str:
    body = request.properties.get("Body")
    return body if isinstance(body, str) else json.dumps(body)


def _api_state(api: Mapping[str, Any]) -> ResourceState:
    return ResourceState(api["ApiId"], {"ApiId": api["ApiId"], "ApiEndpoint": api["ApiEndpoint"]})


async def _create_api(ctx: Context, request: ResourceRequest) -> ResourceState:
    known = await _found_api(ctx, request)
    if known:
        return await _update_api(ctx, request, {}, known)
    if not request.properties.get("Body"):
        members = {"ProtocolType": "HTTP", **_members(request, _API_MEMBERS), "Tags": _tags(request)}
        return _api_state(await ctx.aws.apigatewayv2.create_api(**members))
    api = await ctx.aws.apigatewayv2.import_api(
        Body=_body(request), FailOnWarnings=_typed(request.properties.get("FailOnWarnings"), "FailOnWarnings")
    )
    return await _dress(ctx, request, api)


async def _dress(ctx: Context, request: ResourceRequest, api: Mapping[str, Any]) -> ResourceState:
    """Lay the properties that stand beside Body, and the tags, over what the body said."""
    beside = ("Name", "Description", "Version", "CorsConfiguration", "DisableExecuteApiEndpoint")
    members = _members(request, beside)
    if members:
        api = await ctx.aws.apigatewayv2.update_api(ApiId=api["ApiId"], **members)
    tags = _tags(request)
    if tags:
        arn = f"arn:{ctx.request.partition}:apigateway:{ctx.request.region}::/apis/{api['ApiId']}"
        await ctx.aws.apigatewayv2.tag_resource(ResourceArn=arn, Tags=tags)
    return _api_state(api)


async def _update_api(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    if old.get("CorsConfiguration") and not request.properties.get("CorsConfiguration"):
        await ctx.aws.apigatewayv2.delete_cors_configuration(ApiId=physical_id)
    if request.properties.get("Body"):
        api = await ctx.aws.apigatewayv2.reimport_api(ApiId=physical_id, Body=_body(request))
    else:
        api = await ctx.aws.apigatewayv2.get_api(ApiId=physical_id)
    return await _dress(ctx, request, api)


async def _delete_api(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.apigatewayv2.delete_api(ApiId=physical_id)
    except AwsError as error:
        await _gone(error)


async def _create_route(ctx: Context, request: ResourceRequest) -> ResourceState:
    members = _members(request, _ROUTE_MEMBERS)
    try:
        route: Mapping[str, Any] = await ctx.aws.apigatewayv2.create_route(**members)
    except AwsError as error:
        if error.error_code != "ConflictException":
            raise
        route = await _own_route(ctx, members, error)
    return ResourceState(route["RouteId"], {"RouteId": route["RouteId"]})


async def _own_route(ctx: Context, members: Mapping[str, Any], error: AwsError) -> Mapping[str, Any]:
    """The route an earlier attempt made: the same key to the same target. Anything else is a conflict."""
    for route in (await ctx.aws.apigatewayv2.get_routes(ApiId=members["ApiId"], MaxResults="1000"))["Items"]:
        if (route["RouteKey"], route.get("Target")) == (members["RouteKey"], members.get("Target")):
            found: Mapping[str, Any] = route
            return found
    raise error


async def _update_route(
    ctx: Context, request: ResourceRequest, _old: Mapping[str, Any], route_id: str
) -> ResourceState:
    await ctx.aws.apigatewayv2.update_route(RouteId=route_id, **_members(request, _ROUTE_MEMBERS))
    return ResourceState(route_id, {"RouteId": route_id})


async def _delete_route(ctx: Context, request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.apigatewayv2.delete_route(ApiId=request.properties["ApiId"], RouteId=physical_id)
    except AwsError as error:
        await _gone(error)


async def _create_integration(ctx: Context, request: ResourceRequest) -> ResourceState:
    made = await ctx.aws.apigatewayv2.create_integration(**_members(request, _INTEGRATION_MEMBERS))
    return ResourceState(made["IntegrationId"], {"IntegrationId": made["IntegrationId"]})


async def _update_integration(
    ctx: Context, request: ResourceRequest, _old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    members = _members(request, _INTEGRATION_MEMBERS)
    await ctx.aws.apigatewayv2.update_integration(IntegrationId=physical_id, **members)
    return ResourceState(physical_id, {"IntegrationId": physical_id})


async def _delete_integration(ctx: Context, request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.apigatewayv2.delete_integration(ApiId=request.properties["ApiId"], IntegrationId=physical_id)
    except AwsError as error:
        await _gone(error)


async def _create_stage(ctx: Context, request: ResourceRequest) -> ResourceState:
    members = _members(request, _STAGE_MEMBERS)
    try:
        await ctx.aws.apigatewayv2.create_stage(**members, Tags=_tags(request))
    except AwsError as error:
        if error.error_code != "ConflictException" or not await _own_stage(ctx, request):
            raise
        await ctx.aws.apigatewayv2.update_stage(**members)
    return ResourceState(members["StageName"])


async def _own_stage(ctx: Context, request: ResourceRequest) -> bool:
    """Whether the stage that is in the way was made by an earlier attempt at this change."""
    name, api_id = request.properties["StageName"], request.properties["ApiId"]
    stage = await ctx.aws.apigatewayv2.get_stage(ApiId=api_id, StageName=name)
    tags = stage.get("Tags") or {}
    return bool(tags.get("aws:cloudformation:stack-id") == request.stack_id)


async def _update_stage(ctx: Context, request: ResourceRequest, _old: Mapping[str, Any], name: str) -> ResourceState:
    await ctx.aws.apigatewayv2.update_stage(**_members(request, _STAGE_MEMBERS))
    return ResourceState(name)


async def _delete_stage(ctx: Context, request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.apigatewayv2.delete_stage(ApiId=request.properties["ApiId"], StageName=physical_id)
    except AwsError as error:
        await _gone(error)


async def _create_deployment(ctx: Context, request: ResourceRequest) -> ResourceState:
    made = await ctx.aws.apigatewayv2.create_deployment(**_members(request, ("ApiId", "Description", "StageName")))
    return ResourceState(made["DeploymentId"], {"DeploymentId": made["DeploymentId"]})


async def _delete_deployment(ctx: Context, request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.apigatewayv2.delete_deployment(ApiId=request.properties["ApiId"], DeploymentId=physical_id)
    except AwsError as error:
        await _gone(error)


RESOURCES: Mapping[str, ResourceType] = {
    "AWS::ApiGatewayV2::Api": ResourceType(
        "AWS::ApiGatewayV2::Api",
        frozenset({*_API_MEMBERS, "Body", "FailOnWarnings", "Tags"}),
        _create_api,
        _delete_api,
        _update_api,
        replace_on=frozenset({"ProtocolType"}),
    ),
    "AWS::ApiGatewayV2::Route": ResourceType(
        "AWS::ApiGatewayV2::Route",
        frozenset(_ROUTE_MEMBERS),
        _create_route,
        _delete_route,
        _update_route,
        replace_on=frozenset({"ApiId"}),
        required=frozenset({"ApiId", "RouteKey"}),
    ),
    "AWS::ApiGatewayV2::Integration": ResourceType(
        "AWS::ApiGatewayV2::Integration",
        frozenset(_INTEGRATION_MEMBERS),
        _create_integration,
        _delete_integration,
        _update_integration,
        replace_on=frozenset({"ApiId"}),
        required=frozenset({"ApiId", "IntegrationType"}),
    ),
    "AWS::ApiGatewayV2::Stage": ResourceType(
        "AWS::ApiGatewayV2::Stage",
        frozenset({*_STAGE_MEMBERS, "Tags"}),
        _create_stage,
        _delete_stage,
        _update_stage,
        replace_on=frozenset({"ApiId", "StageName"}),
        required=frozenset({"ApiId", "StageName"}),
    ),
    "AWS::ApiGatewayV2::Deployment": ResourceType(
        "AWS::ApiGatewayV2::Deployment",
        frozenset({"ApiId", "Description", "StageName"}),
        _create_deployment,
        _delete_deployment,
        replace_on=frozenset({"ApiId", "StageName"}),
        required=frozenset({"ApiId"}),
    ),
}
