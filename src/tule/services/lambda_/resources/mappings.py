"""AWS::Lambda::EventSourceMapping."""

from collections.abc import Mapping
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import members, retag, tags, unless_gone
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_MAPPING: Final = (
    "BatchSize", "MaximumBatchingWindowInSeconds", "Enabled", "FunctionName", "FunctionResponseTypes", "ScalingConfig",
    "FilterCriteria",
)  # fmt: skip


def _mapping_state(mapping: Mapping[str, Any]) -> ResourceState:
    attributes = {"Id": mapping["UUID"], "EventSourceMappingArn": mapping["EventSourceMappingArn"]}
    return ResourceState(mapping["UUID"], attributes)


async def _create_mapping(ctx: Context, request: ResourceRequest) -> ResourceState:
    asked = members(request, (*_MAPPING, "EventSourceArn"))
    try:
        made: Mapping[str, Any] = await ctx.aws.lambda_.create_event_source_mapping(**asked, Tags=tags(request))
    except AwsError as error:
        if error.error_code != "ResourceConflictException":
            raise
        made = await _own_mapping(ctx, request, asked, error)
    return _mapping_state(made)


async def _own_mapping(
    ctx: Context, request: ResourceRequest, asked: Mapping[str, Any], error: AwsError
) -> Mapping[str, Any]:
    """The mapping that an earlier attempt at this change made; another's is a conflict."""
    name, source = asked["FunctionName"], asked["EventSourceArn"]
    found = await ctx.aws.lambda_.list_event_source_mappings(FunctionName=name, EventSourceArn=source)
    for mapping in found["EventSourceMappings"]:
        tags = (await ctx.aws.lambda_.listtags(Resource=mapping["EventSourceMappingArn"])).get("Tags") or {}
        if tags.get("aws:cloudformation:stack-id") == request.stack_id:
            own: Mapping[str, Any] = mapping
            return own
    raise error


async def _update_mapping(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    defaults = {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "Enabled": True, "FunctionResponseTypes": [],
                "ScalingConfig": {}}  # fmt: skip
    gone = {name: value for name, value in defaults.items() if name in old and name not in request.properties}
    asked = {**gone, **members(request, _MAPPING)}
    made = await ctx.aws.lambda_.update_event_source_mapping(UUID=physical_id, **asked)
    await retag(ctx, made["EventSourceMappingArn"], tags(request))
    return _mapping_state(made)


async def _delete_mapping(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    """Deleted when its running batches are: a queue or function that goes next must not be in use."""
    await unless_gone(ctx.aws.lambda_.delete_event_source_mapping(UUID=physical_id))
    while True:
        try:
            await ctx.aws.lambda_.get_event_source_mapping(UUID=physical_id)
        except AwsError as error:
            if error.error_code == "ResourceNotFoundException":
                return
            raise
        await ctx.env.machine.sleep(0.02)


EVENT_SOURCE_MAPPING: Final = ResourceType(
    "AWS::Lambda::EventSourceMapping",
    frozenset({*_MAPPING, "EventSourceArn", "Tags"}),
    _create_mapping,
    _delete_mapping,
    _update_mapping,
    replace_on=frozenset({"EventSourceArn"}),
    required=frozenset({"FunctionName"}),
)
