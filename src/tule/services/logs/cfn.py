"""AWS::Logs::LogGroup."""

from collections.abc import Mapping
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.resources import ResourceRequest, ResourceState, ResourceType


def _name(request: ResourceRequest) -> str:
    return str(request.properties.get("LogGroupName") or request.physical_name(512))


def _tags(request: ResourceRequest) -> dict[str, str]:
    own = {tag["Key"]: str(tag["Value"]) for tag in request.properties.get("Tags") or ()}
    return {**request.tags, **own}


async def _create(ctx: Context, request: ResourceRequest) -> ResourceState:
    name = _name(request)
    try:
        await ctx.aws.logs.create_log_group(logGroupName=name, tags=_tags(request))
    except AwsError as error:
        if error.error_code != "ResourceAlreadyExistsException" or "LogGroupName" in request.properties:
            raise
    return await _retain(ctx, request, name)


async def _retain(ctx: Context, request: ResourceRequest, name: str) -> ResourceState:
    days = request.properties.get("RetentionInDays")
    if days is None:
        await ctx.aws.logs.delete_retention_policy(logGroupName=name)
    else:
        await ctx.aws.logs.put_retention_policy(logGroupName=name, retentionInDays=int(days))
    arn = ctx.request.arn("logs", f"log-group:{name}:*")
    return ResourceState(name, {"Arn": arn})


async def _update(ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str) -> ResourceState:
    arn = ctx.request.arn("logs", f"log-group:{physical_id}")
    tags = _tags(request)
    gone = [tag["Key"] for tag in old.get("Tags") or () if tag["Key"] not in tags]
    if gone:
        await ctx.aws.logs.untag_resource(resourceArn=arn, tagKeys=gone)
    await ctx.aws.logs.tag_resource(resourceArn=arn, tags=tags)
    return await _retain(ctx, request, physical_id)


async def _delete(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.logs.delete_log_group(logGroupName=physical_id)
    except AwsError as error:
        if error.error_code != "ResourceNotFoundException":
            raise


RESOURCES: Final[Mapping[str, ResourceType]] = {
    "AWS::Logs::LogGroup": ResourceType(
        name="AWS::Logs::LogGroup",
        properties=frozenset({"LogGroupName", "RetentionInDays", "Tags"}),
        replace_on=frozenset({"LogGroupName"}),
        create=_create,
        update=_update,
        delete=_delete,
    ),
}
