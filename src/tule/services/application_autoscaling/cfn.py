"""AWS::ApplicationAutoScaling::ScalableTarget and AWS::ApplicationAutoScaling::ScalingPolicy."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.application_autoscaling.models import DIMENSION
from tule.services.declaration import Context
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_NAMED: Final = ("ServiceNamespace", "ResourceId", "ScalableDimension")
_INTEGERS: Final = frozenset({"MinCapacity", "MaxCapacity", "ScaleInCooldown", "ScaleOutCooldown"})
_FLAGS: Final = frozenset(
    {
        "DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended", "DisableScaleIn",
    }
)  # fmt: skip


def _typed(value: Any, name: str = "") -> Any:
    """A property with the type the API's member has: templates may write numbers and booleans as text."""
    if isinstance(value, Mapping):
        return {key: _typed(item, key) for key, item in value.items()}
    if name in _INTEGERS:
        return int(value)
    if name == "TargetValue":
        return float(value)
    if name in ("StartTime", "EndTime"):
        return datetime.fromisoformat(str(value)).timestamp()
    if name in _FLAGS:
        return value in (True, "true", "True")
    return value


def _members(properties: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _typed(properties[name], name) for name in names if properties.get(name) is not None}


def _target_id(properties: Mapping[str, Any]) -> str:
    """What Ref gives: the three parts that name a target."""
    return "|".join(str(properties[name]) for name in ("ResourceId", "ScalableDimension", "ServiceNamespace"))


def _named(target_id: str) -> dict[str, str]:
    resource, dimension, namespace = target_id.split("|")
    return {"ServiceNamespace": namespace, "ResourceId": resource, "ScalableDimension": dimension}


async def _put_target(ctx: Context, request: ResourceRequest, old: Mapping[str, Any] | None = None) -> ResourceState:
    new = request.properties
    client = ctx.aws.application_autoscaling
    asked = _members(new, (*_NAMED, "MinCapacity", "MaxCapacity", "SuspendedState"))
    if old is not None and "SuspendedState" in old and "SuspendedState" not in new:
        asked["SuspendedState"] = dict.fromkeys(_FLAGS - {"DisableScaleIn"}, False)
    await client.register_scalable_target(**asked)
    named = {name: new[name] for name in _NAMED}
    actions = {str(one["ScheduledActionName"]): one for one in new.get("ScheduledActions") or []}
    for one in (old or {}).get("ScheduledActions") or []:
        if one["ScheduledActionName"] not in actions:
            await _unless_gone(client.delete_scheduled_action(**named, ScheduledActionName=one["ScheduledActionName"]))
    for one in actions.values():
        await client.put_scheduled_action(**named, **_typed(one))
    target_id = _target_id(new)
    return ResourceState(target_id, {"Id": target_id})


async def _create_target(ctx: Context, request: ResourceRequest) -> ResourceState:
    return await _put_target(ctx, request)


async def _update_target(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], _physical_id: str
) -> ResourceState:
    return await _put_target(ctx, request, old)


async def _unless_gone(deletion: Any) -> None:
    try:
        await deletion
    except AwsError as error:
        if error.error_code != "ObjectNotFoundException":
            raise


async def _delete_target(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    await _unless_gone(ctx.aws.application_autoscaling.deregister_scalable_target(**_named(physical_id)))


def _policy_target(properties: Mapping[str, Any]) -> dict[str, str]:
    """Named by ScalingTargetId or by its three parts."""
    if properties.get("ScalingTargetId"):
        return _named(str(properties["ScalingTargetId"]))
    return {name: str(properties[name]) for name in _NAMED}


_POLICY: Final = ("PolicyType", "TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration")


async def _create_policy(ctx: Context, request: ResourceRequest) -> ResourceState:
    made = await ctx.aws.application_autoscaling.put_scaling_policy(
        PolicyName=request.properties["PolicyName"],
        **_policy_target(request.properties),
        **_members(request.properties, _POLICY),
    )
    return ResourceState(made["PolicyARN"], {"Arn": made["PolicyARN"]})


async def _update_policy(
    ctx: Context, request: ResourceRequest, _old: Mapping[str, Any], _physical_id: str
) -> ResourceState:
    return await _create_policy(ctx, request)


async def _delete_policy(ctx: Context, request: ResourceRequest, _physical_id: str) -> None:
    named = _policy_target(request.properties)
    await _unless_gone(
        ctx.aws.application_autoscaling.delete_scaling_policy(PolicyName=request.properties["PolicyName"], **named)
    )


def _check_dimension(properties: Mapping[str, Any]) -> list[str]:
    dimension = properties.get("ScalableDimension")
    if dimension in (None, DIMENSION) or "{{" in str(dimension):
        return []
    return [f"ScalableDimension is {dimension}: only {DIMENSION} is scaled."]


RESOURCES: Mapping[str, ResourceType] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": ResourceType(
        "AWS::ApplicationAutoScaling::ScalableTarget",
        frozenset({*_NAMED, "MinCapacity", "MaxCapacity", "SuspendedState", "ScheduledActions"}),
        _create_target,
        _delete_target,
        _update_target,
        replace_on=frozenset(_NAMED),
        required=frozenset({*_NAMED, "MinCapacity", "MaxCapacity"}),
        ignored=frozenset({"RoleARN"}),
        check=_check_dimension,
    ),
    "AWS::ApplicationAutoScaling::ScalingPolicy": ResourceType(
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        frozenset({*_NAMED, *_POLICY, "PolicyName", "ScalingTargetId"}),
        _create_policy,
        _delete_policy,
        _update_policy,
        replace_on=frozenset({*_NAMED, "PolicyName", "ScalingTargetId"}),
        required=frozenset({"PolicyName", "PolicyType"}),
        check=_check_dimension,
    ),
}
