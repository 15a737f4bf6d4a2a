"""Properties of templates as members of the API, and how a repeated attempt finds what the first one did."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.resources import ResourceRequest

_INTEGERS: Final = frozenset(
    {
        "Timeout", "MemorySize", "Size", "BatchSize", "MaximumBatchingWindowInSeconds", "MaximumConcurrency",
        "ProvisionedConcurrentExecutions", "MaximumRetryAttempts", "MaximumEventAgeInSeconds", "MaxAge",
    }
)  # fmt: skip
_FLAGS: Final = frozenset({"Enabled", "InvokedViaFunctionUrl", "AllowCredentials"})


def typed(value: Any, name: str = "") -> Any:
    """A property with the type the API's member has: templates may write numbers and booleans as text."""
    if isinstance(value, Mapping):
        if name == "Variables":
            return {key: as_text(item) for key, item in value.items()}
        return {key: typed(item, key) for key, item in value.items()}
    if name in _INTEGERS:
        return int(value)
    if name in _FLAGS:
        return value in (True, "true", "True")
    return value


def as_text(value: Any) -> str:
    """A scalar as CloudFormation writes it into a string."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def members(request: ResourceRequest, names: Sequence[str]) -> dict[str, Any]:
    """The properties among `names` that the template has, as the API wants them."""
    given = request.properties
    return {name: typed(given[name], name) for name in names if given.get(name) is not None}


def tags(request: ResourceRequest) -> dict[str, str]:
    """The stack's and the resource's own."""
    own = {str(tag["Key"]): str(tag.get("Value", "")) for tag in request.properties.get("Tags") or []}
    return {**request.tags, **own}


async def retag(ctx: Context, arn: str, tags: dict[str, str]) -> None:
    present = (await ctx.aws.lambda_.list_tags(Resource=arn)).get("Tags") or {}
    gone = [key for key in present if key not in tags]
    if gone:
        await ctx.aws.lambda_.untag_resource(Resource=arn, TagKeys=gone)
    if tags and tags != present:
        await ctx.aws.lambda_.tag_resource(Resource=arn, Tags=tags)


async def unless_gone(deletion: Any) -> None:
    try:
        await deletion
    except AwsError as error:
        if error.error_code != "ResourceNotFoundException":
            raise


async def settled(ctx: Context, name: str, qualifier: str = "") -> dict[str, Any]:
    """Wait until the last change of a function or version is done; a failed one raises with its reason."""
    while True:
        named = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
        found = await ctx.aws.lambda_.get_function_configuration(**named)
        if found["State"] == "Failed":
            raise AwsError(found.get("StateReason") or "The function could not be prepared.", code="ResourceNotStable")
        if found["State"] == "Active" and found.get("LastUpdateStatus") != "InProgress":
            return found
        await ctx.env.machine.sleep(0.01)


async def change_began_s(ctx: Context, request: ResourceRequest) -> float:
    """When the stack's present change began, in seconds of service time: younger things may be an earlier attempt's."""
    (stack,) = (await ctx.aws.cloudformation.describe_stacks(StackName=request.stack_id))["Stacks"]
    return float(stack.get("LastUpdatedTime") or stack["CreationTime"])
