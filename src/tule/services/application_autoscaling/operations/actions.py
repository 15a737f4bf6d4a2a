"""Scheduled actions."""

from typing import Any

from msgspec.structs import replace

from tule.languages.schedules import ScheduleError
from tule.services.application_autoscaling import state
from tule.services.application_autoscaling.errors import (
    ObjectNotFoundError,
    TargetNotFoundError,
    ValidationError,
    check_target,
)
from tule.services.application_autoscaling.models import DIMENSION, NAMESPACE, ScheduledAction
from tule.services.application_autoscaling.operations.targets import place_of
from tule.services.application_autoscaling.paging import page
from tule.services.application_autoscaling.scaling import next_run, scaling
from tule.services.declaration import Context
from tule.store.transaction import Txn

Request = dict[str, Any]


def _arn(ctx: Context, action: ScheduledAction) -> str:
    tail = f"resource/{NAMESPACE}/{action.resource}:scheduledActionName/{action.name}"
    return ctx.request.arn("autoscaling", f"scheduledAction:{action.id}:{tail}")


def _merged(old: ScheduledAction | None, request: Request, fresh_id: str, now: int) -> ScheduledAction:
    """New, or the old one with the members that are given."""
    if old is None and not request.get("Schedule"):
        raise ValidationError("Schedule must be specified for a new scheduled action.")
    base = old or ScheduledAction(
        name=request["ScheduledActionName"],
        resource=request["ResourceId"],
        id=fresh_id,
        created_ms=now,
        schedule=request["Schedule"],
    )
    capacity = request.get("ScalableTargetAction")
    if old is None and not capacity:
        raise ValidationError("ScalableTargetAction must be specified for a new scheduled action.")
    action = replace(
        base,
        schedule=request.get("Schedule") or base.schedule,
        timezone=request.get("Timezone") or base.timezone,
        start_ms=round(request["StartTime"] * 1000) if request.get("StartTime") else base.start_ms,
        end_ms=round(request["EndTime"] * 1000) if request.get("EndTime") else base.end_ms,
        minimum=capacity.get("MinCapacity") if capacity else base.minimum,
        maximum=capacity.get("MaxCapacity") if capacity else base.maximum,
    )
    if None not in (action.minimum, action.maximum) and (action.maximum or 0) < (action.minimum or 0):
        raise ValidationError("Maximum capacity cannot be less than minimum capacity")
    try:
        return replace(action, next_ms=next_run(action, now))
    except ScheduleError as error:
        raise ValidationError(str(error)) from error


async def put_scheduled_action(ctx: Context, request: Request) -> dict[str, Any]:
    check_target("PutScheduledAction", request)
    resource, fresh_id, now = request["ResourceId"], ctx.env.random.uuid(), ctx.env.clock.now()

    def put(txn: Txn) -> ScheduledAction:
        if state.read_target(txn, resource) is None:
            raise TargetNotFoundError(resource)
        action = _merged(state.read_action(txn, resource, request["ScheduledActionName"]), request, fresh_id, now)
        state.write_action(txn, action)
        return action

    place = place_of(ctx)
    action = await ctx.store.transact(state.shard(*place), put, ctx.request)
    scaling(ctx.env).schedule(place, action)
    return {}


async def describe_scheduled_actions(ctx: Context, request: Request) -> dict[str, Any]:
    check_target("DescribeScheduledActions", request)
    names, resource = request.get("ScheduledActionNames") or [], request.get("ResourceId")
    actions = await ctx.store.read(state.shard(*place_of(ctx)), state.all_actions, ctx.request)
    found = [one for one in actions if resource in (None, one.resource) and (not names or one.name in names)]
    return page("ScheduledActions", [_view(ctx, action) for action in found], request)


def _view(ctx: Context, action: ScheduledAction) -> dict[str, Any]:
    capacity = {"MinCapacity": action.minimum, "MaxCapacity": action.maximum}
    result: dict[str, Any] = {
        "ScheduledActionName": action.name,
        "ScheduledActionARN": _arn(ctx, action),
        "ServiceNamespace": NAMESPACE,
        "Schedule": action.schedule,
        "ResourceId": action.resource,
        "ScalableDimension": DIMENSION,
        "ScalableTargetAction": {member: value for member, value in capacity.items() if value is not None},
        "CreationTime": action.created_ms / 1000,
    }
    if action.timezone:
        result["Timezone"] = action.timezone
    if action.start_ms:
        result["StartTime"] = action.start_ms / 1000
    if action.end_ms:
        result["EndTime"] = action.end_ms / 1000
    return result


async def delete_scheduled_action(ctx: Context, request: Request) -> dict[str, Any]:
    check_target("DeleteScheduledAction", request)
    resource, name = request["ResourceId"], request["ScheduledActionName"]

    def delete(txn: Txn) -> None:
        if state.read_action(txn, resource, name) is None:
            raise ObjectNotFoundError("scheduled action", resource, name)
        state.erase_action(txn, resource, name)

    place = place_of(ctx)
    await ctx.store.transact(state.shard(*place), delete, ctx.request)
    scaling(ctx.env).unschedule(place, resource, name)
    return {}
