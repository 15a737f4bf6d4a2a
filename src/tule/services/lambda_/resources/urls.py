"""AWS::Lambda::Url."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import change_began_s, members, unless_gone
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_SETTINGS: Final = ("AuthType", "Cors", "InvokeMode")
_MEMBERS: Final = ("TargetFunctionArn", "Qualifier", *_SETTINGS)
_DEFAULTS: Final[Mapping[str, Any]] = {"Cors": {}, "InvokeMode": "BUFFERED"}
"""What a property that a new template leaves out goes back to."""


def _named(request: ResourceRequest) -> dict[str, Any]:
    return {"FunctionName": request.properties["TargetFunctionArn"], **members(request, ("Qualifier",))}


def _state(url: Mapping[str, Any]) -> ResourceState:
    arn = url["FunctionArn"]
    return ResourceState(arn, {"FunctionArn": arn, "FunctionUrl": url["FunctionUrl"]})


async def _create(ctx: Context, request: ResourceRequest) -> ResourceState:
    try:
        made: Mapping[str, Any] = await ctx.aws.lambda_.create_function_url_config(
            **_named(request), **members(request, _SETTINGS)
        )
    except AwsError as error:
        if error.error_code != "ResourceConflictException":
            raise
        made = await _own(ctx, request, error)
    return _state(made)


async def _own(ctx: Context, request: ResourceRequest, error: AwsError) -> Mapping[str, Any]:
    """The URL that an earlier attempt at this change made: a function or alias has one, so only a younger one is."""
    found: Mapping[str, Any] = await ctx.aws.lambda_.get_function_url_config(**_named(request))
    created = datetime.fromisoformat(found["CreationTime"])
    if created.timestamp() < await change_began_s(ctx, request):
        raise error
    return found


async def _update(ctx: Context, request: ResourceRequest, old: Mapping[str, Any], _physical_id: str) -> ResourceState:
    gone = {name: value for name, value in _DEFAULTS.items() if name in old and name not in request.properties}
    settings = {**gone, **members(request, _SETTINGS)}
    return _state(await ctx.aws.lambda_.update_function_url_config(**_named(request), **settings))


async def _delete(ctx: Context, request: ResourceRequest, _physical_id: str) -> None:
    await unless_gone(ctx.aws.lambda_.delete_function_url_config(**_named(request)))


URL: Final = ResourceType(
    "AWS::Lambda::Url",
    frozenset(_MEMBERS),
    _create,
    _delete,
    _update,
    replace_on=frozenset({"TargetFunctionArn", "Qualifier"}),
    required=frozenset({"TargetFunctionArn", "AuthType"}),
)
