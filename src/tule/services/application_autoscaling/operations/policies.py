"""Target tracking policies."""

from typing import Any

from tule.kernel.errors import OperationNotImplementedError
from tule.services.application_autoscaling import state
from tule.services.application_autoscaling.errors import (
    ObjectNotFoundError,
    TargetNotFoundError,
    ValidationError,
    check_target,
)
from tule.services.application_autoscaling.models import DIMENSION, METRIC, NAMESPACE, ScalingPolicy
from tule.services.application_autoscaling.operations.targets import place_of
from tule.services.application_autoscaling.paging import page
from tule.services.application_autoscaling.scaling import scaling
from tule.services.declaration import Context
from tule.store.transaction import Txn

Request = dict[str, Any]


def _arn(ctx: Context, policy: ScalingPolicy) -> str:
    tail = f"resource/{NAMESPACE}/{policy.resource}:policyName/{policy.name}"
    return ctx.request.arn("autoscaling", f"scalingPolicy:{policy.id}:{tail}")


def _tracking(request: Request) -> dict[str, Any]:
    """The configuration of target tracking, of which Tule honours the one metric that it has."""
    kind = request.get("PolicyType")
    if kind == "PredictiveScaling":
        raise OperationNotImplementedError("application-autoscaling", "PutScalingPolicy", "PolicyType is predictive.")
    if kind == "StepScaling" or request.get("StepScalingPolicyConfiguration"):
        raise ValidationError(f"Step scaling policies are not supported for the service namespace {NAMESPACE}")
    config = request.get("TargetTrackingScalingPolicyConfiguration")
    if not config:
        raise ValidationError("TargetTrackingScalingPolicyConfiguration must be specified for TargetTrackingScaling.")
    if config.get("CustomizedMetricSpecification"):
        raise OperationNotImplementedError(
            "application-autoscaling", "PutScalingPolicy", f"Only the predefined metric {METRIC} is tracked."
        )
    metric = (config.get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType")
    if metric != METRIC:
        raise ValidationError(f"Unsupported metric type {metric} for the service namespace {NAMESPACE}")
    if config["TargetValue"] <= 0:
        raise ValidationError("TargetValue must be greater than 0.")
    found: dict[str, Any] = config
    return found


async def put_scaling_policy(ctx: Context, request: Request) -> dict[str, Any]:
    check_target("PutScalingPolicy", request)
    config = _tracking(request)
    resource, fresh_id, now = request["ResourceId"], ctx.env.random.uuid(), ctx.env.clock.now()

    def put(txn: Txn) -> ScalingPolicy:
        if state.read_target(txn, resource) is None:
            raise TargetNotFoundError(resource)
        old = state.read_policy(txn, resource, request["PolicyName"])
        policy = ScalingPolicy(
            name=request["PolicyName"],
            resource=resource,
            id=old.id if old else fresh_id,
            created_ms=old.created_ms if old else now,
            target_value=float(config["TargetValue"]),
            out_cooldown_s=config.get("ScaleOutCooldown"),
            in_cooldown_s=config.get("ScaleInCooldown"),
            disable_scale_in=bool(config.get("DisableScaleIn")),
        )
        state.write_policy(txn, policy)
        return policy

    place = place_of(ctx)
    policy = await ctx.store.transact(state.shard(*place), put, ctx.request)
    scaling(ctx.env).trackers.watch(place, policy)
    return {"PolicyARN": _arn(ctx, policy), "Alarms": []}


async def describe_scaling_policies(ctx: Context, request: Request) -> dict[str, Any]:
    check_target("DescribeScalingPolicies", request)
    names, resource = request.get("PolicyNames") or [], request.get("ResourceId")
    policies = await ctx.store.read(state.shard(*place_of(ctx)), state.all_policies, ctx.request)
    found = [one for one in policies if resource in (None, one.resource) and (not names or one.name in names)]
    return page("ScalingPolicies", [_view(ctx, policy) for policy in found], request)


def _view(ctx: Context, policy: ScalingPolicy) -> dict[str, Any]:
    told = {"ScaleOutCooldown": policy.out_cooldown_s, "ScaleInCooldown": policy.in_cooldown_s}
    return {
        "PolicyARN": _arn(ctx, policy),
        "PolicyName": policy.name,
        "ServiceNamespace": NAMESPACE,
        "ResourceId": policy.resource,
        "ScalableDimension": DIMENSION,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": policy.target_value,
            "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
            **{member: value for member, value in told.items() if value is not None},
            "DisableScaleIn": policy.disable_scale_in,
        },
        "Alarms": [],
        "CreationTime": policy.created_ms / 1000,
    }


async def delete_scaling_policy(ctx: Context, request: Request) -> dict[str, Any]:
    check_target("DeleteScalingPolicy", request)
    resource, name = request["ResourceId"], request["PolicyName"]

    def delete(txn: Txn) -> None:
        if state.read_policy(txn, resource, name) is None:
            raise ObjectNotFoundError("scaling policy", resource, name)
        state.erase_policy(txn, resource, name)

    place = place_of(ctx)
    await ctx.store.transact(state.shard(*place), delete, ctx.request)
    scaling(ctx.env).trackers.forget(place, resource, name)
    return {}
