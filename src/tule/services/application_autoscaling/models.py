"""What the service keeps: scalable targets, scaling policies, scheduled actions and what was done."""

from typing import Final

import msgspec

NAMESPACE: Final = "lambda"
DIMENSION: Final = "lambda:function:ProvisionedConcurrency"
METRIC: Final = "LambdaProvisionedConcurrencyUtilization"


class Suspended(msgspec.Struct, frozen=True):
    """What a target does not do at present."""

    scale_in: bool = False
    scale_out: bool = False
    scheduled: bool = False


class ScalableTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A version or alias whose provisioned concurrency is scaled between two bounds."""

    resource: str
    """function:NAME:QUALIFIER"""
    id: str
    minimum: int
    maximum: int
    created_ms: int
    role_arn: str
    suspended: Suspended = Suspended()
    tags: dict[str, str] = msgspec.field(default_factory=dict)

    def clamp(self, capacity: int) -> int:
        return max(self.minimum, min(self.maximum, capacity))


class ScalingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Target tracking of one scalable target."""

    name: str
    resource: str
    id: str
    created_ms: int
    target_value: float
    """The part of the provisioned instances that is to be at work."""
    out_cooldown_s: int | None = None
    in_cooldown_s: int | None = None
    """None: as the caller left it, which is 0."""
    disable_scale_in: bool = False


class ScheduledAction(msgspec.Struct, frozen=True, kw_only=True):
    """New bounds at times of its schedule."""

    name: str
    resource: str
    id: str
    created_ms: int
    schedule: str
    timezone: str = ""
    start_ms: int = 0
    end_ms: int = 0
    """0 where there is none."""
    minimum: int | None = None
    maximum: int | None = None
    next_ms: int = 0
    """Service time of the next run; 0 after the last."""


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """One change of capacity, tried or done."""

    id: str
    resource: str
    description: str
    cause: str
    start_ms: int
    end_ms: int
    status: str
    message: str
