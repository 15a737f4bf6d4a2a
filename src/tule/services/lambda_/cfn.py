"""AWS::Lambda::Function, AWS::Lambda::Permission and AWS::Lambda::EventSourceMapping."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_INTEGERS: Final = frozenset(
    {"Timeout", "MemorySize", "Size", "BatchSize", "MaximumBatchingWindowInSeconds", "MaximumConcurrency"}
)
_FLAGS: Final = frozenset({"Enabled", "InvokedViaFunctionUrl"})

_CONFIGURATION: Final = (
    "Role", "Handler", "Runtime", "Description", "Timeout", "MemorySize", "Environment", "TracingConfig",
    "EphemeralStorage", "LoggingConfig", "DeadLetterConfig", "VpcConfig",
)  # fmt: skip
_FUNCTION_ONLY: Final = ("Architectures", "Code", "FunctionName", "PackageType", "ReservedConcurrentExecutions", "Tags")
_PERMISSION: Final = (
    "FunctionName", "Action", "Principal", "SourceArn", "SourceAccount", "EventSourceToken", "PrincipalOrgID",
    "FunctionUrlAuthType", "InvokedViaFunctionUrl",
)  # fmt: skip
_MAPPING: Final = (
    "BatchSize", "MaximumBatchingWindowInSeconds", "Enabled", "FunctionName", "FunctionResponseTypes", "ScalingConfig",
    "FilterCriteria",
)  # fmt: skip

_INLINE_DATE: Final = (1980, 1, 1, 0, 0, 0)


def _typed(value: Any, name: str = "") -> Any:
    """A property with the type the API's member has: templates may write numbers and booleans as text."""
    if isinstance(value, Mapping):
        if name == "Variables":
            return {key: _text(item) for key, item in value.items()}
        return {key: _typed(item, key) for key, item in value.items()}
    if name in _INTEGERS:
        return int(value)
    if name in _FLAGS:
        return value in (True, "true", "True")
    return value


def _text(value: Any) -> str:
    """A scalar as CloudFormation writes it into a string."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _members(request: ResourceRequest, names: tuple[str, ...]) -> dict[str, Any]:
    given = request.properties
    return {name: _typed(given[name], name) for name in names if given.get(name) is not None}


def _tags(request: ResourceRequest) -> dict[str, str]:
    own = {str(tag["Key"]): str(tag.get("Value", "")) for tag in request.properties.get("Tags") or []}
    return {**request.tags, **own}


def _code(request: ResourceRequest) -> dict[str, Any]:
    """Code for the API; inline source becomes a package with the one file that AWS makes of it."""
    code = dict(request.properties["Code"])
    source = code.pop("ZipFile", None)
    if source is None:
        return code
    suffix = "js" if str(request.properties.get("Runtime", "")).startswith("nodejs") else "py"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        entry = zipfile.ZipInfo(f"index.{suffix}", _INLINE_DATE)
        entry.external_attr = 0o644 << 16
        package.writestr(entry, str(source))
    return {"ZipFile": buffer.getvalue()}


def _state(configuration: Mapping[str, Any]) -> ResourceState:
    return ResourceState(configuration["FunctionName"], {"Arn": configuration["FunctionArn"]})


async def _settled(ctx: Context, name: str) -> dict[str, Any]:
    """Wait until the function's last change is done; a failed one raises with its reason."""
    while True:
        found = await ctx.aws.lambda_.get_function_configuration(FunctionName=name)
        if found["State"] == "Failed":
            raise AwsError(found.get("StateReason") or "The function could not be prepared.", code="ResourceNotStable")
        if found["State"] == "Active" and found.get("LastUpdateStatus") != "InProgress":
            return found
        await ctx.env.machine.sleep(0.01)


async def _create_function(ctx: Context, request: ResourceRequest) -> ResourceState:
    name = request.properties.get("FunctionName") or request.physical_name(64)
    members = {**_members(request, (*_CONFIGURATION, "Architectures", "PackageType")), "Tags": _tags(request)}
    try:
        await ctx.aws.lambda_.create_function(FunctionName=name, Code=_code(request), **members)
    except AwsError as error:
        if error.error_code != "ResourceConflictException" or not await _own(ctx, request, name):
            raise
    await _reserve(ctx, request, name)
    return _state(await _settled(ctx, name))


async def _own(ctx: Context, request: ResourceRequest, name: str) -> bool:
    """Whether an earlier attempt at this change made the function that is in the way."""
    tags = (await ctx.aws.lambda_.get_function(FunctionName=name)).get("Tags") or {}
    mark = (tags.get("aws:cloudformation:stack-id"), tags.get("aws:cloudformation:logical-id"))
    return mark == (request.stack_id, request.logical_id)


async def _reserve(ctx: Context, request: ResourceRequest, name: str) -> None:
    reserved = request.properties.get("ReservedConcurrentExecutions")
    if reserved is None:
        await ctx.aws.lambda_.delete_function_concurrency(FunctionName=name)
    else:
        await ctx.aws.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=int(reserved))


_DEFAULTS: Final[Mapping[str, Any]] = {
    "Description": "",
    "Timeout": 3,
    "MemorySize": 128,
    "Environment": {"Variables": {}},
    "TracingConfig": {"Mode": "PassThrough"},
    "EphemeralStorage": {"Size": 512},
    "DeadLetterConfig": {"TargetArn": ""},
    "LoggingConfig": {"LogFormat": "Text"},
}
"""What a property that a new template leaves out goes back to."""


async def _update_function(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    new = request.properties
    await _settled(ctx, physical_id)
    if any(new.get(name) != old.get(name) for name in _CONFIGURATION):
        gone = {name: value for name, value in _DEFAULTS.items() if old.get(name) is not None and name not in new}
        members = {**gone, **_members(request, _CONFIGURATION)}
        await ctx.aws.lambda_.update_function_configuration(FunctionName=physical_id, **members)
        await _settled(ctx, physical_id)
    if new.get("Code") != old.get("Code") or new.get("Architectures") != old.get("Architectures"):
        members = {**_code(request), **_members(request, ("Architectures",))}
        await ctx.aws.lambda_.update_function_code(FunctionName=physical_id, **members)
    if new.get("ReservedConcurrentExecutions") != old.get("ReservedConcurrentExecutions"):
        await _reserve(ctx, request, physical_id)
    found = await _settled(ctx, physical_id)
    await _retag(ctx, found["FunctionArn"], _tags(request))
    return _state(found)


async def _retag(ctx: Context, arn: str, tags: dict[str, str]) -> None:
    present = (await ctx.aws.lambda_.list_tags(Resource=arn)).get("Tags") or {}
    gone = [key for key in present if key not in tags]
    if gone:
        await ctx.aws.lambda_.untag_resource(Resource=arn, TagKeys=gone)
    if tags and tags != present:
        await ctx.aws.lambda_.tag_resource(Resource=arn, Tags=tags)


async def _delete_function(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    await _unless_gone(ctx.aws.lambda_.delete_function(FunctionName=physical_id))


async def _unless_gone(deletion: Any) -> None:
    try:
        await deletion
    except AwsError as error:
        if error.error_code != "ResourceNotFoundException":
            raise


async def _create_permission(ctx: Context, request: ResourceRequest) -> ResourceState:
    """The statement id is the physical name, so a repeated attempt conflicts with its own first one, which is fine."""
    statement_id = request.physical_name(100)
    try:
        await ctx.aws.lambda_.add_permission(StatementId=statement_id, **_members(request, _PERMISSION))
    except AwsError as error:
        if error.error_code != "ResourceConflictException":
            raise
    return ResourceState(statement_id, {"Id": statement_id})


async def _delete_permission(ctx: Context, request: ResourceRequest, physical_id: str) -> None:
    name = request.properties["FunctionName"]
    await _unless_gone(ctx.aws.lambda_.remove_permission(FunctionName=name, StatementId=physical_id))


def _mapping_state(mapping: Mapping[str, Any]) -> ResourceState:
    attributes = {"Id": mapping["UUID"], "EventSourceMappingArn": mapping["EventSourceMappingArn"]}
    return ResourceState(mapping["UUID"], attributes)


async def _create_mapping(ctx: Context, request: ResourceRequest) -> ResourceState:
    members = _members(request, (*_MAPPING, "EventSourceArn"))
    try:
        made: Mapping[str, Any] = await ctx.aws.lambda_.create_event_source_mapping(**members, Tags=_tags(request))
    except AwsError as error:
        if error.error_code != "ResourceConflictException":
            raise
        made = await _own_mapping(ctx, request, members, error)
    return _mapping_state(made)


async def _own_mapping(
    ctx: Context, request: ResourceRequest, members: Mapping[str, Any], error: AwsError
) -> Mapping[str, Any]:
    """The mapping that an earlier attempt at this change made; another's is a conflict."""
    name, source = members["FunctionName"], members["EventSourceArn"]
    found = await ctx.aws.lambda_.list_event_source_mappings(FunctionName=name, EventSourceArn=source)
    for mapping in found["EventSourceMappings"]:
        tags = (await ctx.aws.lambda_.list_tags(Resource=mapping["EventSourceMappingArn"])).get("Tags") or {}
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
    members = {**gone, **_members(request, _MAPPING)}
    made = await ctx.aws.lambda_.update_event_source_mapping(UUID=physical_id, **members)
    await _retag(ctx, made["EventSourceMappingArn"], _tags(request))
    return _mapping_state(made)


async def _delete_mapping(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    """Deleted when its running batches are: a queue or function that goes next must not be in use."""
    await _unless_gone(ctx.aws.lambda_.delete_event_source_mapping(UUID=physical_id))
    while True:
        try:
            await ctx.aws.lambda_.get_event_source_mapping(UUID=physical_id)
        except AwsError as error:
            if error.error_code == "ResourceNotFoundException":
                return
            raise
        await ctx.env.machine.sleep(0.02)


RESOURCES: Mapping[str, ResourceType] = {
    "AWS::Lambda::Function": ResourceType(
        "AWS::Lambda::Function",
        frozenset({*_CONFIGURATION, *_FUNCTION_ONLY}),
        _create_function,
        _delete_function,
        _update_function,
        replace_on=frozenset({"FunctionName", "PackageType"}),
        required=frozenset({"Code", "Role"}),
        ignored=frozenset({"RuntimeManagementConfig", "RecursiveLoop"}),
    ),
    "AWS::Lambda::Permission": ResourceType(
        "AWS::Lambda::Permission",
        frozenset(_PERMISSION),
        _create_permission,
        _delete_permission,
        replace_on=frozenset(_PERMISSION),
        required=frozenset({"FunctionName", "Action", "Principal"}),
    ),
    "AWS::Lambda::EventSourceMapping": ResourceType(
        "AWS::Lambda::EventSourceMapping",
        frozenset({*_MAPPING, "EventSourceArn", "Tags"}),
        _create_mapping,
        _delete_mapping,
        _update_mapping,
        replace_on=frozenset({"EventSourceArn"}),
        required=frozenset({"FunctionName"}),
    ),
}
