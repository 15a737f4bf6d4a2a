"""What brings capacity about: new bounds when a schedule says so, and within them what a policy finds right."""

from functools import partial
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError
from tule.languages import schedules
from tule.services.application_autoscaling import state
from tule.services.application_autoscaling.models import (
    Activity,
    ScalableTarget,
    ScalingPolicy,
    ScheduledAction,
)
from tule.services.application_autoscaling.tracking import Decision, Trackers
from tule.services.declaration import Environment
from tule.store.contract import Cancel
from tule.store.transaction import ReadTxn, Txn

_log = structlog.get_logger("tule.scaling")


class Place(NamedTuple):
    account: str
    region: str


def next_run(action: ScheduledAction, after_ms: int) -> int:
    """When an action is due next; 0 if never again. Raises `schedules.ScheduleError`."""
    zone = schedules.zone(action.timezone or "UTC")
    schedule = schedules.parse(action.schedule, anchor_ms=action.start_ms or action.created_ms)
    at_ms = schedule.next_after(max(after_ms, action.start_ms - 1), zone) or 0
    return 0 if action.end_ms and at_ms > action.end_ms else at_ms


class Scaling:
    """The service's objects in memory: alarms of scheduled actions, and what policies watch."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._alarms: dict[tuple[Place, str, str], Cancel] = {}
        self._places: set[Place] = set()
        self.trackers = Trackers(env, self._decided)

    def _context(self, place: Place) -> RequestContext:
        return self._env.background(place.account, place.region)

    async def recover(self) -> None:
        """Go on with what an earlier process left."""
        for account, region in await state.places(self._env.store):
            place = Place(account, region)
            self._places.add(place)

            def read(txn: ReadTxn) -> tuple[list[ScheduledAction], list[ScalingPolicy], list[ScalableTarget]]:
                return state.all_actions(txn), state.all_policies(txn), state.all_targets(txn)

            shard, context = state.shard(account, region), self._context(place)
            actions, policies, targets = await self._env.store.read(shard, read, context)
            for action in actions:
                self.schedule(place, action)
            for policy in policies:
                self.trackers.watch(place, policy)
            for target in targets:
                self.adjust_soon(place, target.resource, "Tule started")

    async def remember_place(self, place: Place) -> None:
        """Before the first target of an account and region, so that a start finds it."""
        if place not in self._places:
            await self._env.store.transact(
                state.PLACES_SHARD, lambda txn: state.remember_place(txn, *place), self._context(place)
            )
            self._places.add(place)

    # -- scheduled actions

    def schedule(self, place: Place, action: ScheduledAction) -> None:
        """Run a committed action when it is due."""
        self.unschedule(place, action.resource, action.name)
        if action.next_ms:
            key = (place, action.resource, action.name)
            self._alarms[key] = self._env.store.alarm(Instant(action.next_ms), partial(self._due, *key))

    def unschedule(self, place: Place, resource: str, name: str = "") -> None:
        """Forget an action, or all of a resource's."""
        for key in [one for one in self._alarms if one[:2] == (place, resource) and name in ("", one[2])]:
            self._alarms.pop(key).cancel()

    def _due(self, place: Place, resource: str, name: str) -> None:
        self._alarms.pop((place, resource, name), None)
        self._env.tasks.spawn(f"scheduled action {name}", self._run(place, resource, name))

    async def _run(self, place: Place, resource: str, name: str) -> None:
        def run(txn: Txn) -> tuple[ScheduledAction, bool] | None:
            action, target = state.read_action(txn, resource, name), state.read_target(txn, resource)
            if action is None or target is None or not action.next_ms:
                return None
            if action.next_ms > txn.now:
                return action, False
            done = replace(action, next_ms=next_run(action, txn.now))
            state.write_action(txn, done)
            if target.suspended.scheduled:
                return done, False
            minimum = target.minimum if action.minimum is None else action.minimum
            maximum = target.maximum if action.maximum is None else action.maximum
            if action.maximum is None:
                maximum = max(minimum, maximum)
            else:
                minimum = min(minimum, maximum)
            state.write_target(txn, replace(target, minimum=minimum, maximum=maximum))
            return done, True

        ran = await self._env.store.transact(state.shard(*place), run, self._context(place))
        if ran is not None:
            self.schedule(place, ran[0])
            if ran[1]:
                await self._adjust(place, resource, f"scheduled action name {name} was triggered")

    # -- capacity

    def adjust_soon(self, place: Place, resource: str, cause: str) -> None:
        """Bring the capacity between the target's bounds."""
        self._env.tasks.spawn(f"scale {resource}", self._bring_between(place, resource, cause))

    async def _bring_between(self, place: Place, resource: str, cause: str) -> None:
        await self._adjust(place, resource, cause)

    async def _decided(self, place: Place, policy: ScalingPolicy, decision: Decision) -> bool:
        """A policy found another capacity right; whether it was brought about."""
        cause = f"utilization {decision.utilization:.2f} triggered policy {policy.name}"
        return await self._adjust(place, policy.resource, cause, decision.capacity)

    async def _adjust(self, place: Place, resource: str, cause: str, wanted: int | None = None) -> bool:
        context, shard = self._context(place), state.shard(*place)
        target = await self._env.store.read(shard, lambda txn: state.read_target(txn, resource), context)
        if target is None:
            return False
        started_ms = self._env.clock.now()
        current = await capacity(self._env, context, resource)
        to = target.clamp(current if wanted is None else wanted)
        suspended = target.suspended
        if to == current or (wanted is not None and (suspended.scale_out if to > current else suspended.scale_in)):
            return False
        message = f"Successfully set desired concurrency to {to}."
        status = "Successful"
        try:
            await _set_capacity(self._env, context, resource, to)
        except AwsError as error:
            status, message = "Failed", f"Failed to set desired concurrency to {to}. Reason: {error.message}"
            _log.warning("not scaled", resource=resource, to=to, why=error.message)
        activity = Activity(
            id=self._env.random.uuid(),
            resource=resource,
            description=f"Setting desired concurrency to {to}.",
            cause=cause,
            start_ms=started_ms,
            end_ms=self._env.clock.now(),
            status=status,
            message=message,
        )
        await self._env.store.transact(shard, lambda txn: state.add_activity(txn, activity), context)
        return status == "Successful"


def _named(resource: str) -> dict[str, str]:
    _, name, qualifier = resource.split(":")
    return {"FunctionName": name, "Qualifier": qualifier}


async def capacity(env: Environment, context: RequestContext, resource: str) -> int:
    """The provisioned concurrency that is asked for now."""
    try:
        found = await env.aws_for(context).lambda_.get_provisioned_concurrency_config(**_named(resource))
    except AwsError:
        return 0
    return int(found["RequestedProvisionedConcurrentExecutions"])


async def _set_capacity(env: Environment, context: RequestContext, resource: str, n: int) -> None:
    client = env.aws_for(context).lambda_
    if n:
        await client.put_provisioned_concurrency_config(**_named(resource), ProvisionedConcurrentExecutions=n)
    else:
        await client.delete_provisioned_concurrency_config(**_named(resource))


def scaling(env: Environment) -> Scaling:
    """The running service's object."""
    found: Scaling = env.state["scaling"]
    return found


async def start(env: Environment) -> None:
    """Make it, and go on with what an earlier process left."""
    env.state["scaling"] = made = Scaling(env)
    await made.recover()
