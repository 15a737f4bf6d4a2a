"""Target tracking: how much of the provisioned instances is at work, minute by minute, and what follows from it.

AWS's alarms look at minutes: three above the target scale out, fifteen below nine tenths of it scale in. Capacity then
becomes what would have met the target. Without metrics of its own, Tule looks at the instances.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from tule.kernel.clocks import Instant
from tule.kernel.errors import AwsError
from tule.services.application_autoscaling.models import ScalingPolicy
from tule.services.declaration import Environment
from tule.store.contract import Cancel

MINUTE_MS: Final = 60_000
OUT_MINUTES: Final = 3
IN_MINUTES: Final = 15
IN_PART: Final = 0.9
"""Of the target: below it there is too much (AWS's documentation of target tracking)."""

LOOK_EVERY_S: Final = 1.0
"""How often instances are counted while there are policies (ours): a minute's figure is the largest count in it."""


class Decision(NamedTuple):
    """The capacity that a policy finds right, and the utilization that says so."""

    capacity: int
    utilization: float


class Series:
    """Utilization of one target by minutes, and when it was scaled."""

    def __init__(self) -> None:
        self.peak = 0.0
        self.minutes: deque[float] = deque(maxlen=IN_MINUTES)
        self.scaled_out_ms = self.scaled_in_ms = -math.inf

    def look(self, utilization: float) -> None:
        self.peak = max(self.peak, utilization)

    def close(self, minutes: int, utilization: float) -> None:
        """So many minutes are over; in the next one it begins with `utilization`."""
        self.minutes.extend([self.peak] * min(minutes, IN_MINUTES))
        self.peak = utilization

    def decide(self, policy: ScalingPolicy, capacity: int, now_ms: int) -> Decision | None:
        """What the minutes say; None: leave it."""
        recent = list(self.minutes)[-OUT_MINUTES:]
        if len(recent) == OUT_MINUTES and min(recent) > policy.target_value:
            if now_ms - self.scaled_out_ms < (policy.out_cooldown_s or 0) * 1000:
                return None
            return Decision(_meeting(capacity, recent[-1], policy), recent[-1])
        if policy.disable_scale_in or len(self.minutes) < IN_MINUTES:
            return None
        most = max(self.minutes)
        if most >= policy.target_value * IN_PART or now_ms - self.scaled_in_ms < (policy.in_cooldown_s or 0) * 1000:
            return None
        return Decision(_meeting(capacity, most, policy), most)

    def scaled(self, *, out: bool, now_ms: int) -> None:
        """The minutes before say nothing about the new capacity."""
        self.minutes.clear()
        if out:
            self.scaled_out_ms = now_ms
        else:
            self.scaled_in_ms = now_ms


def _meeting(capacity: int, utilization: float, policy: ScalingPolicy) -> int:
    """The smallest capacity at which the same work would not be above the target."""
    return math.ceil(round(capacity * utilization / policy.target_value, 6))


class _Tracker:
    """One policy, with what its function looked like at the last minute."""

    def __init__(self, place: tuple[str, str], policy: ScalingPolicy, now_ms: int) -> None:
        self.place, self.policy = place, policy
        self.series = Series()
        self.closed_ms = now_ms
        self.versions: list[str] = []
        self.ready = 0
        self.alarm: Cancel | None = None

    def utilization(self, busy: dict[tuple[str, str, str, str], int]) -> float:
        """From 0 to 1: what more than the provisioned instances do is spill-over."""
        name = self.policy.resource.split(":")[1]
        at_work = sum(busy.get((*self.place, name, version), 0) for version in self.versions)
        return min(1.0, at_work / self.ready) if self.ready else 0.0


class Trackers:
    """All policies that are watched."""

    def __init__(self, env: Environment, decided: Callable[[Any, ScalingPolicy, Decision], Awaitable[bool]]) -> None:
        self._env = env
        self._decided = decided
        self._trackers: dict[tuple[tuple[str, str], str, str], _Tracker] = {}
        self._looking = False

    def watch(self, place: tuple[str, str], policy: ScalingPolicy) -> None:
        """Track a committed policy from now on."""
        self.forget(place, policy.resource, policy.name)
        key = (place, policy.resource, policy.name)
        tracker = self._trackers[key] = _Tracker(place, policy, self._env.clock.now())
        self._env.tasks.spawn(f"track {policy.name}", self._begin(tracker))
        if not self._looking:
            self._looking = True
            self._env.machine.call_later(LOOK_EVERY_S, self._look)

    def forget(self, place: tuple[str, str], resource: str, name: str = "") -> None:
        """A policy is gone, or all of a resource's."""
        for key in [one for one in self._trackers if one[:2] == (place, resource) and name in ("", one[2])]:
            alarm = self._trackers.pop(key).alarm
            if alarm is not None:
                alarm.cancel()

    def _here(self, tracker: _Tracker) -> bool:
        key = (tracker.place, tracker.policy.resource, tracker.policy.name)
        return self._trackers.get(key) is tracker

    async def _begin(self, tracker: _Tracker) -> None:
        await self._refresh(tracker)
        if self._here(tracker):
            self._wait(tracker)

    def _wait(self, tracker: _Tracker) -> None:
        at = Instant(tracker.closed_ms + MINUTE_MS)
        tracker.alarm = self._env.store.alarm(at, lambda: self._minute(tracker))

    def _minute(self, tracker: _Tracker) -> None:
        self._env.tasks.spawn(f"track {tracker.policy.name}", self._close(tracker))

    async def _close(self, tracker: _Tracker) -> None:
        """A minute is over, or several where time was moved forward."""
        await self._refresh(tracker)
        if not self._here(tracker):
            return
        now_ms = self._env.clock.now()
        minutes = max(1, (now_ms - tracker.closed_ms) // MINUTE_MS)
        utilization = tracker.utilization(self._busy())
        tracker.series.look(utilization)
        tracker.series.close(minutes, utilization)
        tracker.closed_ms += minutes * MINUTE_MS
        decision = tracker.series.decide(tracker.policy, tracker.ready, now_ms) if tracker.ready else None
        if decision is not None and await self._decided(tracker.place, tracker.policy, decision):
            tracker.series.scaled(out=decision.capacity > tracker.ready, now_ms=now_ms)
        if self._here(tracker):
            self._wait(tracker)

    async def _refresh(self, tracker: _Tracker) -> None:
        """Which versions the target means, and how many instances are ready for them."""
        client = self._env.aws_for(self._env.background(*tracker.place)).lambda_
        _, name, qualifier = tracker.policy.resource.split(":")
        try:
            found = await client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
            tracker.ready = int(found["AvailableProvisionedConcurrentExecutions"])
            tracker.versions = [qualifier]
            if not qualifier.isdigit():
                alias = await client.get_alias(FunctionName=name, Name=qualifier)
                weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
                tracker.versions = [alias["FunctionVersion"], *weights]
        except AwsError:
            tracker.ready = 0  # there is none, or the function is gone

    def _look(self) -> None:
        if not self._trackers:
            self._looking = False
            return
        busy = self._busy()
        for tracker in self._trackers.values():
            tracker.series.look(tracker.utilization(busy))
        self._env.machine.call_later(LOOK_EVERY_S, self._look)

    def _busy(self) -> dict[tuple[str, str, str, str], int]:
        """Instances at work by (account, region, function name, version)."""
        found: dict[tuple[str, str, str, str], int] = {}
        functions = self._env.ports.functions
        for one in functions.instances() if functions is not None else ():
            if one.state == "busy":
                parts = one.function_arn.split(":")
                key = (parts[4], parts[3], parts[6], one.version)
                found[key] = found.get(key, 0) + 1
        return found
