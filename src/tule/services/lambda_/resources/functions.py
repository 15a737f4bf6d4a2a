"""AWS::Lambda::Function."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import members, retag, settled, tags, unless_gone
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_CONFIGURATION: Final = (
    "Role", "Handler", "Runtime", "Description", "Timeout", "MemorySize", "Environment", "TracingConfig",
    "EphemeralStorage", "LoggingConfig", "DeadLetterConfig", "VpcConfig", "Layers", "SnapStart",
)  # fmt: skip
_FUNCTION_ONLY: Final = (
    "Architectures", "Code", "CodeSigningConfigArn", "FunctionName", "PackageType", "RecursiveLoop",
    "ReservedConcurrentExecutions", "Tags",
)  # fmt: skip

_INLINE_DATE: Final = (1980, 1, 1, 0, 0, 0)


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
    snap_start = configuration["SnapStart"]
    attributes = {
        "Arn": configuration["FunctionArn"],
        "SnapStartResponse": snap_start,
        "SnapStartResponse.ApplyOn": snap_start["ApplyOn"],
        "SnapStartResponse.OptimizationStatus": snap_start["OptimizationStatus"],
    }
    return ResourceState(configuration["FunctionName"], attributes)


async def _create_function(ctx: Context, request: ResourceRequest) -> ResourceState:
    name = request.properties.get("FunctionName") or request.physical_name(64)
    asked = {
        **members(request, (*_CONFIGURATION, "Architectures", "PackageType", "CodeSigningConfigArn")),
        "Tags": tags(request),
    }
    try:
        await ctx.aws.lambda_.create_function(FunctionName=name, Code=_code(request), **asked)
    except AwsError as error:
        if error.error_code != "ResourceConflictException" or not await _own(ctx, request, name):
            raise
    await _reserve(ctx, request, name)
    if request.properties.get("RecursiveLoop"):
        await _allow_loops(ctx, request, name)
    return _state(await settled(ctx, name))


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


async def _allow_loops(ctx: Context, request: ResourceRequest, name: str) -> None:
    setting = request.properties.get("RecursiveLoop") or "Terminate"
    await ctx.aws.lambda_.put_function_recursion_config(FunctionName=name, RecursiveLoop=setting)


_DEFAULTS: Final[Mapping[str, Any]] = {
    "Description": "",
    "Timeout": 3,
    "MemorySize": 128,
    "Environment": {"Variables": {}},
    "TracingConfig": {"Mode": "PassThrough"},
    "EphemeralStorage": {"Size": 512},
    "DeadLetterConfig": {"TargetArn": ""},
    "LoggingConfig": {"LogFormat": "Text"},
    "Layers": [],
    "SnapStart": {"ApplyOn": "None"},
}
"""What a property that a new template leaves out goes back to."""


async def _update_function(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    new = request.properties
    await settled(ctx, physical_id)
    if any(new.get(name) != old.get(name) for name in _CONFIGURATION):
        gone = {name: value for name, value in _DEFAULTS.items() if old.get(name) is not None and name not in new}
        asked = {**gone, **members(request, _CONFIGURATION)}
        await ctx.aws.lambda_.update_function_configuration(FunctionName=physical_id, **asked)
        await settled(ctx, physical_id)
    if new.get("CodeSigningConfigArn") != old.get("CodeSigningConfigArn"):
        await _sign(ctx, physical_id, new.get("CodeSigningConfigArn"))
    if new.get("Code") != old.get("Code") or new.get("Architectures") != old.get("Architectures"):
        asked = {**_code(request), **members(request, ("Architectures",))}
        await ctx.aws.lambda_.update_function_code(FunctionName=physical_id, **asked)
    if new.get("ReservedConcurrentExecutions") != old.get("ReservedConcurrentExecutions"):
        await _reserve(ctx, request, physical_id)
    if new.get("RecursiveLoop") != old.get("RecursiveLoop"):
        await _allow_loops(ctx, request, physical_id)
    found = await settled(ctx, physical_id)
    await retag(ctx, found["FunctionArn"], tags(request))
    return _state(found)


async def _sign(ctx: Context, name: str, config_arn: str | None) -> None:
    if config_arn:
        await ctx.aws.lambda_.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=config_arn)
    else:
        await ctx.aws.lambda_.delete_function_code_signing_config(FunctionName=name)


async def _delete_function(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    await unless_gone(ctx.aws.lambda_.delete_function(FunctionName=physical_id))


FUNCTION: Final = ResourceType(
    "AWS::Lambda::Function",
    frozenset({*_CONFIGURATION, *_FUNCTION_ONLY}),
    _create_function,
    _delete_function,
    _update_function,
    replace_on=frozenset({"FunctionName", "PackageType"}),
    required=frozenset({"Code", "Role"}),
    ignored=frozenset({"RuntimeManagementConfig"}),
)
