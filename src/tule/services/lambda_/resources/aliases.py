"""AWS::Lambda::Alias."""

from collections.abc import Mapping
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import unless_gone
from tule.services.lambda_.resources.provisioning import provision, wanted
from tule.services.resources import ResourceRequest, ResourceState, ResourceType


def _asked(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What Create- and UpdateAlias take: templates list the weights, the API maps them."""
    listed = (properties.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or []
    weights = {str(one["FunctionVersion"]): float(one["FunctionWeight"]) for one in listed}
    return {
        "FunctionName": properties["FunctionName"],
        "Name": properties["Name"],
        "FunctionVersion": str(properties["FunctionVersion"]),
        "Description": properties.get("Description") or "",
        "RoutingConfig": {"AdditionalVersionWeights": weights},
    }


def _state(alias: Mapping[str, Any]) -> ResourceState:
    return ResourceState(alias["AliasArn"], {"AliasArn": alias["AliasArn"]})


async def _create(ctx: Context, request: ResourceRequest) -> ResourceState:
    asked = _asked(request.properties)
    try:
        alias: Mapping[str, Any] = await ctx.aws.lambda_.create_alias(**asked)
    except AwsError as error:
        if error.error_code != "ResourceConflictException":
            raise
        alias = await ctx.aws.lambda_.get_alias(FunctionName=asked["FunctionName"], Name=asked["Name"])
        if not _is(alias, asked):
            raise  # not what an earlier attempt at this change left
    await provision(ctx, request, asked["FunctionName"], asked["Name"])
    return _state(alias)


def _is(alias: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return (alias["FunctionVersion"], alias["Description"], weights) == (
        asked["FunctionVersion"],
        asked["Description"],
        asked["RoutingConfig"]["AdditionalVersionWeights"],
    )


async def _update(ctx: Context, request: ResourceRequest, old: Mapping[str, Any], _physical_id: str) -> ResourceState:
    asked = _asked(request.properties)
    alias = await ctx.aws.lambda_.update_alias(**asked)
    await provision(ctx, request, asked["FunctionName"], asked["Name"], had=wanted(old))
    return _state(alias)


async def _delete(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    function, _, name = physical_id.rpartition(":")
    await unless_gone(ctx.aws.lambda_.delete_alias(FunctionName=function, Name=name))


ALIAS: Final = ResourceType(
    "AWS::Lambda::Alias",
    frozenset(
        {"FunctionName", "FunctionVersion", "Name", "Description", "RoutingConfig", "ProvisionedConcurrencyConfig"}
    ),
    _create,
    _delete,
    _update,
    replace_on=frozenset({"FunctionName", "Name"}),
    required=frozenset({"FunctionName", "FunctionVersion", "Name"}),
)
