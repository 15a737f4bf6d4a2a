"""Instances by function version: who is idle, who may be started, who has waited too long."""

from collections.abc import Callable

from tule.kernel.clocks import Handle, MachineClock
from tule.runtime.contract import FunctionVersion
from tule.runtime.execution_environment import Instance

SWEEP_MAX_S = 10.0
"""How long an instance may be idle beyond its time at most (ours): one timer serves all pools."""


class Pool:
    """The instances of one revision of one version."""

    def __init__(self, pools: "Pools", version: FunctionVersion) -> None:
        self._pools = pools
        self.version = version
        self.idle: list[Instance] = []
        self.members: set[Instance] = set()
        self.starting = 0
        self.retired = False

    @property
    def size(self) -> int:
        return len(self.members) + self.starting

    def take(self, until_ms: int) -> Instance | None:
        """The instance that was used last, so that the others grow old; one whose credentials end sooner is ended."""
        while self.idle:
            instance = self.idle.pop()
            if instance.alive and instance.expires_ms > until_ms:
                return instance
            self._pools.end(instance)
        return None

    def may_grow(self) -> bool:
        limit = self.version.concurrency
        return (limit is None or self.size < limit) and self._pools.size < self._pools.instances_max

    def adopt(self, instance: Instance) -> None:
        self.members.add(instance)

    def give_back(self, instance: Instance) -> None:
        """After a request: idle again, unless it ended, or its version did."""
        if instance not in self.members or not instance.alive:
            self.members.discard(instance)
        elif self.retired:
            self._pools.end(instance)
        else:
            instance.idle_since_s = self._pools.machine.monotonic_s()
            self.idle.append(instance)
            self._pools.sweep_later()


class Pools:
    """All pools."""

    def __init__(
        self, machine: MachineClock, instances_max: int, idle_s: float, end: Callable[[Instance], None]
    ) -> None:
        self.machine = machine
        self.instances_max = instances_max
        self._idle_s = idle_s
        self._end = end
        self._pools: dict[tuple[str, str, str], Pool] = {}
        self._sweeper: Handle | None = None

    @property
    def size(self) -> int:
        """Instances that have a function, those that are starting too."""
        return sum(pool.size for pool in self._pools.values())

    def of(self, version: FunctionVersion) -> Pool:
        pool = self._pools.get(version.key)
        if pool is None:
            pool = self._pools[version.key] = Pool(self, version)
        return pool

    def make_room(self, wanting: Pool) -> bool:
        """End what has been idle longest in other pools, if the cap on all instances is what stands in the way."""
        limit = wanting.version.concurrency
        if limit is not None and wanting.size >= limit:
            return False
        oldest = min(
            (pool.idle[0] for pool in self._pools.values() if pool.idle), key=lambda one: one.idle_since_s, default=None
        )
        if oldest is None:
            return False
        self.end(oldest)
        return True

    def end(self, instance: Instance) -> None:
        """End an instance that serves nobody."""
        self.lost(instance)
        self._end(instance)

    def lost(self, instance: Instance) -> None:
        """It has ended, or is about to."""
        if instance.version is None:
            return
        pool = self._pools.get(instance.version.key)
        if pool is None:
            return
        pool.members.discard(instance)
        if instance in pool.idle:
            pool.idle.remove(instance)
        self._drop_if_empty(pool)

    def _drop_if_empty(self, pool: Pool) -> None:
        if not pool.size and self._pools.get(pool.version.key) is pool:
            del self._pools[pool.version.key]

    def retire(self, arn: str, version: str | None, keep_revision: str) -> None:
        """End idle instances of what is named now, busy ones after their request."""
        for key, pool in list(self._pools.items()):
            if key[0] == arn and version in (None, key[1]) and key[2] != keep_revision:
                pool.retired = True
                for instance in list(pool.idle):
                    self.end(instance)

    def is_idle(self, instance: Instance) -> bool:
        pool = self._pools.get(instance.version.key) if instance.version else None
        return pool is not None and instance in pool.idle

    # -- idleness

    def sweep_later(self) -> None:
        """See to idle instances in due time."""
        if self._sweeper is None:
            self._sweeper = self.machine.call_later(min(self._idle_s, SWEEP_MAX_S), self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        before_s = self.machine.monotonic_s() - self._idle_s
        for pool in list(self._pools.values()):
            while pool.idle and pool.idle[0].idle_since_s <= before_s + 0.001:
                self.end(pool.idle[0])
        if any(pool.idle for pool in self._pools.values()):
            self.sweep_later()

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
