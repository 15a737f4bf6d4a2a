"""Instances by function version: who is idle, who may start, who waits, who has been idle too long.

A request takes an idle instance of its version, else it starts one. Where this machine can't have one more, or where
many start at once, it waits in its version's line, and what becomes free goes to the version that has least.
"""

import asyncio
import math
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tule.kernel.clocks import Handle, MachineClock
from tule.kernel.pacing import Bucket
from tule.runtime.contract import FunctionVersion, NoCapacityError
from tule.runtime.execution_environment import Instance
from tule.runtime.memory_pressure import MEMINFO, MemoryPressure
from tule.runtime.resting import REST_AFTER_S

INSTANCES_MOST: Final = 1000
INSTANCES_LEAST: Final = 32
MEMORY_EACH_MB: Final = 16
"""Execution environments of all functions together, at most and at least, and the machine's memory that each is counted
with (ours: they are processes of one machine)."""

START_COUNTS_S: Final = 0.5
"""A start that takes longer no longer holds up others (ours): it waits for something itself."""

EARLY_S: Final = 0.001
"""How much earlier than asked a timer may fire."""

RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"


@dataclass(frozen=True, slots=True)
class Caps:
    """How far and how fast functions scale, and when what is idle goes."""

    instances: int = 0
    """Execution environments of all functions; 0 for what this machine's memory allows."""
    starts_at_once: int = 16
    """Instances of all functions that begin at once (ours): more would only wait for a core, and the next function's
    single start behind all of theirs."""
    burst: int = 1000
    burst_per_s: float = 100.0
    """AWS: a function may add 1,000 execution environments every 10 seconds, refilled continuously."""
    wait_max_s: float = 10.0
    """How long a request waits for a place on this machine before it is throttled (ours)."""
    freeze_after_s: float = 1.0
    """How long an instance may go on by itself after its request (ours: AWS freezes at once)."""
    idle_s: float = 600.0
    """How long an instance waits for its next request before it ends (ours; AWS says "some minutes")."""
    rest_after_s: float = REST_AFTER_S
    meminfo: str = MEMINFO
    """Where the kernel says how much memory is available."""


def instances_of_machine() -> int:
    """How many instances this machine is trusted with."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return max(INSTANCES_LEAST, min(INSTANCES_MOST, memory_mb // MEMORY_EACH_MB))


class Start:
    """Leave to start one instance: a place on the machine, taken until `end`."""

    __slots__ = ("_counts", "_handle", "_pools", "pool")

    def __init__(self, pools: "Pools", pool: "Pool") -> None:
        self._pools = pools
        self.pool = pool
        pool.starting += 1
        pools.size += 1
        pools.beginning += 1
        self._counts = True
        self._handle = pools.machine.call_later(START_COUNTS_S, self._long)

    def _long(self) -> None:
        if self._counts:
            self._counts = False
            self._pools.beginning -= 1
            self._pools.serve()

    def end(self, instance: Instance | None) -> None:
        """The instance is ready, or there is none."""
        self._handle.cancel()
        pools, pool = self._pools, self.pool
        pool.starting -= 1
        pools.size -= 1
        if self._counts:
            self._counts = False
            pools.beginning -= 1
        if instance is not None:
            pool.members.add(instance)
            pools.size += 1
        else:
            pools.drop_if_empty(pool)
        pools.serve()


class Pool:
    """The instances of one revision of one version."""

    def __init__(self, pools: "Pools", version: FunctionVersion) -> None:
        self._pools = pools
        self.version = version
        self.idle: list[Instance] = []
        """On demand, the one that has been idle longest first."""
        self.ready: list[Instance] = []
        """Provisioned ones that are idle."""
        self.members: set[Instance] = set()
        self.starting = 0
        self.waiting: deque[asyncio.Future[Instance | Start]] = deque()
        self.retired = False

    @property
    def size(self) -> int:
        return len(self.members) + self.starting

    def take(self, until_ms: int) -> Instance | None:
        """A provisioned instance, else the one that was used last, so that the others grow old. One whose credentials
        end sooner is ended."""
        for idle in (self.ready, self.idle):
            while idle:
                instance = idle.pop()
                if instance.alive and instance.expires_ms > until_ms:
                    instance.thaw()
                    return instance
                self._pools.end(instance)
        return None

    def give_back(self, instance: Instance) -> None:
        """After a request: the next one's, or idle again, unless it ended, or its version did."""
        pools = self._pools
        if instance.rest is not None and not instance.rest.done():
            instance.rest.add_done_callback(lambda _: self.give_back(instance))
        elif instance not in self.members or not instance.alive:
            pools.lost(instance)
        elif self.retired or instance.retired:
            pools.end(instance)
        elif not pools.hungry or not pools.hand_over(self, instance):
            self.rest(instance)

    def rest(self, instance: Instance) -> None:
        """It waits for the next request."""
        pools = self._pools
        instance.idle_since_s = now_s = pools.machine.monotonic_s()
        (self.ready if instance.provisioned else self.idle).append(instance)
        pools.tend_by(now_s + pools.freeze_after_s)


class Pools:
    """All pools."""

    def __init__(self, machine: MachineClock, end: Callable[[Instance], None], caps: Caps) -> None:
        self.machine = machine
        self.caps = caps
        self.instances_max = caps.instances or instances_of_machine()
        self.freeze_after_s = min(caps.freeze_after_s, caps.idle_s)
        self.size = 0
        """Instances that have a function, those that are starting too."""
        self.beginning = 0
        self.hungry: dict[Pool, None] = {}
        """Pools in which requests wait."""
        self.on_lost: Callable[[Pool, Instance], None] = lambda *_: None
        self._pressure = MemoryPressure(machine, self._idle, self.reclaim, caps.meminfo)
        self._end = end
        self._pools: dict[tuple[str, str, str], Pool] = {}
        self._scaling: dict[str, Bucket] = {}
        self._serving = False
        self._due_s = math.inf
        self._timer: Handle | None = None

    def of(self, version: FunctionVersion) -> Pool:
        pool = self._pools.get(version.key)
        if pool is None:
            pool = self._pools[version.key] = Pool(self, version)
        elif pool.version is not version:
            pool.version = version
        return pool

    def find(self, arn: str, version: str) -> list[Pool]:
        """The pools of a version, of all its revisions."""
        return [pool for key, pool in self._pools.items() if key[0] == arn and key[1] == version]

    # -- getting an instance, or leave to start one

    async def enter(self, pool: Pool, until_ms: int) -> Instance | Start:
        """An instance that is free, or leave to start one, as soon as there is. Raises `NoCapacityError`."""
        instance = pool.take(until_ms)
        if instance is not None:
            return instance
        limit = pool.version.concurrency
        if limit is not None and pool.size >= limit:
            raise NoCapacityError(RESERVED)
        now_s = self.machine.monotonic_s()
        scaling = self._scaling.get(pool.version.arn)
        if scaling is None:
            scaling = self._scaling[pool.version.arn] = Bucket(self.caps.burst, self.caps.burst_per_s, now_s)
        if not scaling.take(now_s):
            raise NoCapacityError
        return await self.place(pool)

    async def place(self, pool: Pool) -> Instance | Start:
        """The same without the limits of the function's own, and without a look at what is idle."""
        self._pools.setdefault(pool.version.key, pool)  # it may have been forgotten with its last instance
        if not self.hungry and self._may_start():
            return Start(self, pool)
        future: asyncio.Future[Instance | Start] = asyncio.get_running_loop().create_future()
        pool.waiting.append(future)
        self.hungry[pool] = None
        handle = self.machine.call_later(self.caps.wait_max_s, lambda: self._refuse(future))
        self.serve()
        try:
            return await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._unused(pool, future.result())
            raise
        finally:
            handle.cancel()
            if future in pool.waiting:
                pool.waiting.remove(future)
            self._fed(pool)

    def _refuse(self, waiting: "asyncio.Future[Instance | Start]") -> None:
        if not waiting.done():
            waiting.set_exception(NoCapacityError())

    def _unused(self, pool: Pool, got: Instance | Start) -> None:
        """Who waited for it has gone in the same moment."""
        if isinstance(got, Start):
            got.end(None)
        else:
            pool.give_back(got)

    def _fed(self, pool: Pool) -> None:
        if not pool.waiting:
            self.hungry.pop(pool, None)
            self.drop_if_empty(pool)

    def _may_start(self) -> bool:
        if self.beginning >= self.caps.starts_at_once:
            return False
        if self.size < self.instances_max or self._make_room():
            self._pressure.look()
            return True
        return False

    def _make_room(self) -> bool:
        """End what has been idle longest."""
        return self.reclaim(1) == 1

    def reclaim(self, count: int) -> int:
        """End so many instances that nobody uses, those that have been idle longest; how many that were."""
        idle = sorted((one for pool in self._pools.values() for one in pool.idle), key=lambda one: one.idle_since_s)
        for instance in idle[:count]:
            self.end(instance)
        return len(idle[:count])

    def _idle(self) -> int:
        return sum(len(pool.idle) for pool in self._pools.values())

    def serve(self) -> None:
        """Let those begin for whom there is a place now, first those of whom fewest are running."""
        if self._serving:
            return  # what is ended for one of them makes room: the loop below goes on with it
        self._serving = True
        try:
            while self.hungry and self._may_start():
                pool = self._neediest()
                self._answer(pool, Start(self, pool))
        finally:
            self._serving = False

    def _neediest(self) -> Pool:
        return min(self.hungry, key=lambda pool: (pool.starting, pool.size))

    def _answer(self, pool: Pool, what: Instance | Start) -> None:
        while pool.waiting:
            waiting = pool.waiting.popleft()
            if not waiting.done():
                waiting.set_result(what)
                break
        else:
            self._unused(pool, what)
        if not pool.waiting:
            self.hungry.pop(pool, None)

    def hand_over(self, pool: Pool, instance: Instance) -> bool:
        """Give an instance that has become free to who waits for it, or its place to a function that has fewer."""
        if self.size >= self.instances_max and not instance.provisioned:
            other = self._neediest()
            if other is not pool and (not pool.waiting or other.size + 1 < pool.size):
                self.end(instance)
                return True
        if not pool.waiting:
            return False
        self._answer(pool, instance)
        return True

    # -- ends

    def end(self, instance: Instance) -> None:
        """End an instance that serves nobody."""
        self._end(instance)
        self.lost(instance)

    def lost(self, instance: Instance) -> None:
        """It has ended, or is about to."""
        if instance.version is None:
            return
        pool = self._pools.get(instance.version.key)
        if pool is None or instance not in pool.members:
            return
        pool.members.discard(instance)
        self.size -= 1
        for idle in (pool.idle, pool.ready):
            with suppress(ValueError):
                idle.remove(instance)
        self.on_lost(pool, instance)
        self.drop_if_empty(pool)
        self.serve()

    def drop_if_empty(self, pool: Pool) -> None:
        """Forget a pool that has nothing."""
        if pool.size or pool.waiting or self._pools.get(pool.version.key) is not pool:
            return
        del self._pools[pool.version.key]
        scaling = self._scaling.get(pool.version.arn)
        if scaling is not None and scaling.full(self.machine.monotonic_s()):
            del self._scaling[pool.version.arn]

    def retire(self, arn: str, version: str | None, keep_revision: str) -> None:
        """End idle instances of what is named now, busy ones after their request."""
        for key, pool in list(self._pools.items()):
            if key[0] == arn and version in (None, key[1]) and key[2] != keep_revision:
                pool.retired = True
                for instance in [*pool.idle, *pool.ready]:
                    self.end(instance)

    def is_idle(self, instance: Instance) -> bool:
        pool = self._pools.get(instance.version.key) if instance.version else None
        return pool is not None and (instance in pool.idle or instance in pool.ready)

    # -- idleness

    def tend_by(self, due_s: float) -> None:
        """See to idle instances at that time: one timer serves all of them."""
        if due_s >= self._due_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_s = due_s
        self._timer = self.machine.call_later(max(0.0, due_s - self.machine.monotonic_s()), self._tend)

    def _tend(self) -> None:
        """Freeze what has been idle for a moment, end what has been for long."""
        self._timer, self._due_s = None, math.inf
        now_s = self.machine.monotonic_s() + EARLY_S
        next_s = math.inf
        for pool in list(self._pools.values()):
            while pool.idle and pool.idle[0].idle_since_s <= now_s - self.caps.idle_s:
                self.end(pool.idle[0])
            if pool.idle:
                next_s = min(next_s, pool.idle[0].idle_since_s + self.caps.idle_s)
            for instance in (*pool.idle, *pool.ready):
                if not instance.frozen:
                    due_s = instance.idle_since_s + self.freeze_after_s
                    if due_s <= now_s:
                        instance.freeze()
                    else:
                        next_s = min(next_s, due_s)
        if next_s < math.inf:
            self.tend_by(next_s)

    def close(self) -> None:
        self._pressure.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
