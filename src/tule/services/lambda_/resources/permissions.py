"""AWS::Lambda::Permission."""

from typing import Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import members, unless_gone
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_PERMISSION: Final = (
    "FunctionName", "Action", "Principal", "SourceArn", "SourceAccount", "EventSourceToken", "PrincipalOrgID",
    "FunctionUrlAuthType", "InvokedViaFunctionUrl",
)  # fmt: skip


async def _create_permission(ctx: Context, request: ResourceRequest) -> ResourceState:
    """The statement id is the physical name, so a repeated attempt conflicts with its own first one, which is fine."""
    statement_id = request.physical_name(100)
    try:
        await ctx.aws.lambda_.add_permission(StatementId=statement_id, **members(request, _PERMISSION))
    except AwsError as error:
        if error.error_code != "ResourceConflictException":
            raise
    return ResourceState(statement_id, {"Id": statement_id})


async def _delete_permission(ctx: Context, request: ResourceRequest, physical_id: str) -> None:
    name = request.properties["FunctionName"]
    await unless_gone(ctx.aws.lambda_.remove_permission(FunctionName=name, StatementId=physical_id))


PERMISSION: Final = ResourceType(
    "AWS::Lambda::Permission",
    frozenset(_PERMISSION),
    _create_permission,
    _delete_permission,
    replace_on=frozenset(_PERMISSION),
    required=frozenset({"FunctionName", "Action", "Principal"}),
)
