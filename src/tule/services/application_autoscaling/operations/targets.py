"""Scalable targets, what was done with them, and their tags."""

from typing import Any

from msgspec.structs import replace

from tule.kernel.errors import AwsError
from tule.services.application_autoscaling import state
from tule.services.application_autoscaling.errors import ObjectNotFoundError, ValidationError, check_target
from tule.services.application_autoscaling.models import DIMENSION, NAMESPACE, ScalableTarget, Suspended
from tule.services.application_autoscaling.paging import page
from tule.services.application_autoscaling.scaling import Place, scaling
from tule.services.declaration import Context
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

TAGS_MAX = 50


class TooManyTagsError(AwsError):
    code = "TooManyTagsException"


def place_of(ctx: Context) -> Place:
    return Place(ctx.request.account, ctx.request.region)


def arn_of(ctx: Context, target: ScalableTarget) -> str:
    return ctx.request.arn("application-autoscaling", f"scalable-target/{target.id}")


async def register_scalable_target(ctx: Context, request: Request) -> dict[str, Any]:
    """New, or changed in the members that are given. Capacity that is out of bounds is set right at once."""
    check_target("RegisterScalableTarget", request)
    resource = request["ResourceId"]
    await _check_function(ctx, resource)
    fresh_id = ctx.env.random.token_hex(16)

    def register(txn: Txn) -> ScalableTarget:
        old = state.read_target(txn, resource)
        target = _changed(ctx, old, request, fresh_id)
        state.write_target(txn, target)
        return target

    place = place_of(ctx)
    await scaling(ctx.env).remember_place(place)
    target = await ctx.store.transact(state.shard(*place), register, ctx.request)
    scaling(ctx.env).adjust_soon(place, resource, "scalable target registered")
    return {"ScalableTargetARN": arn_of(ctx, target)}


async def _check_function(ctx: Context, resource: str) -> None:
    _, name, qualifier = resource.split(":")
    try:
        await ctx.aws.lambda_.get_function_configuration(FunctionName=name, Qualifier=qualifier)
    except AwsError as error:
        raise ValidationError(error.message) from error


def _changed(ctx: Context, old: ScalableTarget | None, request: Request, fresh_id: str) -> ScalableTarget:
    minimum, maximum = request.get("MinCapacity"), request.get("MaxCapacity")
    if old is None and (minimum is None or maximum is None):
        raise ValidationError("MinCapacity and MaxCapacity must be specified when a scalable target is registered.")
    role = "aws-service-role/lambda.application-autoscaling.amazonaws.com"
    base = old or ScalableTarget(
        resource=request["ResourceId"],
        id=fresh_id,
        minimum=minimum or 0,
        maximum=maximum or 0,
        created_ms=ctx.env.clock.now(),
        role_arn=f"arn:{ctx.request.partition}:iam::{ctx.request.account}:role/{role}/"
        "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency",
        tags=dict(request.get("Tags") or {}),
    )
    suspended = request.get("SuspendedState") or {}
    changed = replace(
        base,
        minimum=base.minimum if minimum is None else minimum,
        maximum=base.maximum if maximum is None else maximum,
        suspended=Suspended(
            suspended.get("DynamicScalingInSuspended", base.suspended.scale_in),
            suspended.get("DynamicScalingOutSuspended", base.suspended.scale_out),
            suspended.get("ScheduledScalingSuspended", base.suspended.scheduled),
        ),
    )
    if changed.minimum < 0 or changed.maximum < 0:
        raise ValidationError("Capacity cannot be negative")
    if changed.maximum < changed.minimum:
        raise ValidationError("Maximum capacity cannot be less than minimum capacity")
    return changed


async def describe_scalable_targets(ctx: Context, request: Request) -> dict[str, Any]:
    check_target("DescribeScalableTargets", request)
    wanted = request.get("ResourceIds") or []
    targets = await ctx.store.read(state.shard(*place_of(ctx)), state.all_targets, ctx.request)
    found = [target for target in targets if not wanted or target.resource in wanted]
    return page("ScalableTargets", [_view(ctx, target) for target in found], request)


def _view(ctx: Context, target: ScalableTarget) -> dict[str, Any]:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": target.resource,
        "ScalableDimension": DIMENSION,
        "MinCapacity": target.minimum,
        "MaxCapacity": target.maximum,
        "RoleARN": target.role_arn,
        "CreationTime": target.created_ms / 1000,
        "SuspendedState": {
            "DynamicScalingInSuspended": target.suspended.scale_in,
            "DynamicScalingOutSuspended": target.suspended.scale_out,
            "ScheduledScalingSuspended": target.suspended.scheduled,
        },
        "ScalableTargetARN": arn_of(ctx, target),
    }


async def deregister_scalable_target(ctx: Context, request: Request) -> dict[str, Any]:
    """With its policies and actions. The capacity stays as it is, as on AWS."""
    check_target("DeregisterScalableTarget", request)
    resource = request["ResourceId"]

    def deregister(txn: Txn) -> None:
        if state.read_target(txn, resource) is None:
            raise ObjectNotFoundError("scalable target", resource)
        state.erase_target(txn, resource)

    place = place_of(ctx)
    await ctx.store.transact(state.shard(*place), deregister, ctx.request)
    scaling(ctx.env).unschedule(place, resource)
    scaling(ctx.env).trackers.forget(place, resource)
    return {}


async def describe_scaling_activities(ctx: Context, request: Request) -> dict[str, Any]:
    """The newest first."""
    check_target("DescribeScalingActivities", request)
    resource = request.get("ResourceId")
    found = await ctx.store.read(state.shard(*place_of(ctx)), state.newest_activities, ctx.request)
    views = [
        {
            "ActivityId": one.id,
            "ServiceNamespace": NAMESPACE,
            "ResourceId": one.resource,
            "ScalableDimension": DIMENSION,
            "Description": one.description,
            "Cause": one.cause,
            "StartTime": one.start_ms / 1000,
            "EndTime": one.end_ms / 1000,
            "StatusCode": one.status,
            "StatusMessage": one.message,
        }
        for one in found
        if resource in (None, one.resource)
    ]
    return page("ScalingActivities", views, request)


def _by_arn(txn: ReadTxn, arn: str) -> ScalableTarget:
    for target in state.all_targets(txn):
        if arn.endswith(f":scalable-target/{target.id}"):
            return target
    raise AwsError(
        f"The resource {arn} was not found.", code="ResourceNotFoundException", members={"ResourceName": arn}
    )


async def list_tags_for_resource(ctx: Context, request: Request) -> dict[str, Any]:
    shard = state.shard(*place_of(ctx))
    target = await ctx.store.read(shard, lambda txn: _by_arn(txn, request["ResourceARN"]), ctx.request)
    return {"Tags": target.tags}


async def tag_resource(ctx: Context, request: Request) -> dict[str, Any]:
    def tag(txn: Txn) -> None:
        target = _by_arn(txn, request["ResourceARN"])
        tags = {**target.tags, **request["Tags"]}
        if len(tags) > TAGS_MAX:
            raise TooManyTagsError("The request would exceed the limit of tags.")
        state.write_target(txn, replace(target, tags=tags))

    await ctx.store.transact(state.shard(*place_of(ctx)), tag, ctx.request)
    return {}


async def untag_resource(ctx: Context, request: Request) -> dict[str, Any]:
    def untag(txn: Txn) -> None:
        target = _by_arn(txn, request["ResourceARN"])
        kept = {key: value for key, value in target.tags.items() if key not in request["TagKeys"]}
        state.write_target(txn, replace(target, tags=kept))

    await ctx.store.transact(state.shard(*place_of(ctx)), untag, ctx.request)
    return {}
