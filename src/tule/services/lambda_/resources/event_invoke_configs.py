"""AWS::Lambda::EventInvokeConfig."""

from collections.abc import Mapping
from typing import Any, Final

from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import members, unless_gone
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_MEMBERS: Final = (
    "FunctionName", "Qualifier", "MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig",
)  # fmt: skip


async def _put(ctx: Context, request: ResourceRequest) -> ResourceState:
    made = await ctx.aws.lambda_.put_function_event_invoke_config(**members(request, _MEMBERS))
    return ResourceState(f"EventInvokeConfig:{made['FunctionArn'].split(':', 6)[6]}")


async def _update(ctx: Context, request: ResourceRequest, _old: Mapping[str, Any], _physical_id: str) -> ResourceState:
    return await _put(ctx, request)


async def _delete(ctx: Context, request: ResourceRequest, _physical_id: str) -> None:
    named = members(request, ("FunctionName", "Qualifier"))
    await unless_gone(ctx.aws.lambda_.delete_function_event_invoke_config(**named))


EVENT_INVOKE_CONFIG: Final = ResourceType(
    "AWS::Lambda::EventInvokeConfig",
    frozenset(_MEMBERS),
    _put,
    _delete,
    _update,
    replace_on=frozenset({"FunctionName", "Qualifier"}),
    required=frozenset({"FunctionName", "Qualifier"}),
)
