"""AWS::Lambda::Version."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import change_began_s, members, settled, unless_gone
from tule.services.lambda_.resources.provisioning import provision, wanted
from tule.services.resources import ResourceRequest, ResourceState, ResourceType


def _split(arn: str) -> tuple[str, str]:
    """The unqualified ARN and the version."""
    function, _, version = arn.rpartition(":")
    return function, version


def _state(arn: str) -> ResourceState:
    return ResourceState(arn, {"FunctionArn": arn, "Version": _split(arn)[1]})


async def _create(ctx: Context, request: ResourceRequest) -> ResourceState:
    """A new version. One that was there before the change belongs to somebody else, and AWS refuses to share it."""
    name = request.properties["FunctionName"]
    latest = await settled(ctx, name)
    asked = members(request, ("CodeSha256", "Description"))
    made = await ctx.aws.lambda_.publish_version(FunctionName=latest["FunctionName"], **asked)
    published_s = datetime.strptime(made["LastModified"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    if published_s < await change_began_s(ctx, request):
        raise AwsError(
            f"A version for this Lambda function exists ( {made['Version']} ). Modify the function to create a new "
            "version.",
            code="AlreadyExists",
        )
    await settled(ctx, latest["FunctionName"], made["Version"])
    await provision(ctx, request, latest["FunctionName"], made["Version"])
    return _state(made["FunctionArn"])


async def _update(ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str) -> ResourceState:
    await provision(ctx, request, *_split(physical_id), had=wanted(old))
    return _state(physical_id)


async def _delete(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    await unless_gone(ctx.aws.lambda_.delete_function(FunctionName=physical_id))


VERSION: Final = ResourceType(
    "AWS::Lambda::Version",
    frozenset({"FunctionName", "CodeSha256", "Description", "ProvisionedConcurrencyConfig"}),
    _create,
    _delete,
    _update,
    replace_on=frozenset({"FunctionName", "CodeSha256", "Description"}),
    required=frozenset({"FunctionName"}),
    ignored=frozenset({"RuntimePolicy"}),
)
