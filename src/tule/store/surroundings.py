"""What an engine is given."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from tule.kernel.clocks import MachineClock, ServiceClock
from tule.kernel.context import RequestContext
from tule.kernel.faults import FaultPoints
from tule.kernel.randomness import RandomSource
from tule.kernel.tasks import Supervisor
from tule.store.transaction import ShardKey, Txn

_log = structlog.get_logger("tule.store")


class Handlers(Protocol):
    """What the store must know of a service: what runs on delivery and when something is due."""

    @property
    def receivers(self) -> Mapping[str, Callable[[Txn, bytes], None]]: ...

    @property
    def timers(self) -> Mapping[str, Callable[[Txn, bytes, bytes], None]]: ...


Work = Callable[[Any, Any], Any]
ServiceOf = Callable[[str], Handlers | None]
ContextFor = Callable[[ShardKey, str, str], RequestContext]
"""A context for work that no request causes: (shard, operation, trace header or "")."""


def end_process(error: BaseException) -> None:
    """What a store does when it can't know what the disk has kept: the next start will."""
    _log.critical("the store lost track of the disk; Tule ends", error=str(error))
    os._exit(70)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine needs beside its backend."""

    machine: MachineClock
    clock: ServiceClock
    random: RandomSource
    faults: FaultPoints
    tasks: Supervisor
    service_of: ServiceOf
    context_for: ContextFor
    on_lost: Callable[[BaseException], None]
    on_pressure: Callable[[bool], None]
    release: Callable[[], None] | None = None
    """Called when the store has been closed."""
