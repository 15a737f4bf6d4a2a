"""How far provisioned instances have come, for a version or for the two that an alias leads to."""

from collections.abc import Mapping
from typing import NamedTuple

from tule.services.declaration import Environment
from tule.services.lambda_.execution import execution


class Readiness(NamedTuple):
    available: int
    allocated: int
    """With those that are still being initialised."""
    reason: str
    """Why no more are about to come, or ""."""


def readiness(env: Environment, function_arn: str, shares: Mapping[str, int]) -> Readiness:
    """What the function runtime says of the versions among which the instances are shared."""
    engine = execution(env).engine
    told = {version: engine.provisioned(function_arn, version) for version in shares}
    return Readiness(
        sum(min(share, told[version].ready) for version, share in shares.items()),
        sum(min(share, told[version].allocated) for version, share in shares.items()),
        next((one.reason for one in told.values() if one.reason), ""),
    )
