"""AWS::Lambda::LayerVersion and AWS::Lambda::LayerVersionPermission."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import change_began_s, members, unless_gone
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_LAYER: Final = ("Content", "Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo")
_PERMISSION: Final = ("Action", "LayerVersionArn", "OrganizationId", "Principal")


async def _create_layer(ctx: Context, request: ResourceRequest) -> ResourceState:
    """A new version, or the one that an earlier attempt at this change published."""
    name = request.properties.get("LayerName") or request.physical_name(64)
    asked = members(request, _LAYER)
    before = (await ctx.aws.lambda_.list_layer_versions(LayerName=name, MaxItems=1))["LayerVersions"]
    made = await ctx.aws.lambda_.publish_layer_version(LayerName=name, **asked)
    if before and await _same(ctx, request, name, before[0], made):
        await _delete_layer(ctx, request, made["LayerVersionArn"])
        made = before[0]
    arn = made["LayerVersionArn"]
    return ResourceState(arn, {"LayerVersionArn": arn})


async def _same(
    ctx: Context, request: ResourceRequest, name: str, earlier: Mapping[str, Any], made: Mapping[str, Any]
) -> bool:
    """Whether a version is what an earlier attempt made: young, and the same in all its parts."""
    published_s = datetime.strptime(earlier["CreatedDate"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    if published_s < await change_began_s(ctx, request):
        return False
    found = await ctx.aws.lambda_.get_layer_version(LayerName=name, VersionNumber=earlier["Version"])
    told = ("Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo")
    return found["Content"]["CodeSha256"] == made["Content"]["CodeSha256"] and all(
        found.get(member) == made.get(member) for member in told
    )


def _named(arn: str) -> dict[str, Any]:
    layer, _, version = arn.rpartition(":")
    return {"LayerName": layer, "VersionNumber": int(version)}


async def _delete_layer(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    await unless_gone(ctx.aws.lambda_.delete_layer_version(**_named(physical_id)))


async def _create_permission(ctx: Context, request: ResourceRequest) -> ResourceState:
    """The statement id is the physical name, so a repeated attempt conflicts with its own first one, which is fine."""
    statement_id = request.physical_name(100)
    asked = members(request, _PERMISSION)
    named = _named(asked.pop("LayerVersionArn"))
    try:
        await ctx.aws.lambda_.add_layer_version_permission(**named, **asked, StatementId=statement_id)
    except AwsError as error:
        if error.error_code != "ResourceConflictException":
            raise
    return ResourceState(statement_id, {"Id": statement_id})


async def _delete_permission(ctx: Context, request: ResourceRequest, physical_id: str) -> None:
    named = _named(request.properties["LayerVersionArn"])
    await unless_gone(ctx.aws.lambda_.remove_layer_version_permission(**named, StatementId=physical_id))


LAYER_VERSION: Final = ResourceType(
    "AWS::Lambda::LayerVersion",
    frozenset({*_LAYER, "LayerName"}),
    _create_layer,
    _delete_layer,
    replace_on=frozenset({*_LAYER, "LayerName"}),
    required=frozenset({"Content"}),
)

LAYER_VERSION_PERMISSION: Final = ResourceType(
    "AWS::Lambda::LayerVersionPermission",
    frozenset(_PERMISSION),
    _create_permission,
    _delete_permission,
    replace_on=frozenset(_PERMISSION),
    required=frozenset({"Action", "LayerVersionArn", "Principal"}),
)
