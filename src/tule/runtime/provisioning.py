"""Provisioned concurrency: instances of a version that are initialised ahead of requests and replaced as they end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tule.kernel.clocks import Handle, MachineClock
from tule.runtime import outcomes, platform_events
from tule.runtime.contract import FunctionVersion, NoCapacityError, Provisioned, RuntimeUnavailableError
from tule.runtime.execution_environment import Instance
from tule.runtime.invocation import Invocation
from tule.runtime.pools import Pool, Pools, Start

INIT_LIMIT_S: Final = 130.0
"""AWS: the init phase of a provisioned instance, or the function's timeout if that is longer."""

INIT_FAILED: Final = "FUNCTION_ERROR_INIT_FAILURE"
"""AWS: StatusReason of a configuration whose function does not initialise."""

NO_ROOM: Final = "This machine has no room for more execution environments."

TRIES: Final = 3
"""Failures in a row until a configuration is called failed (ours). One instance goes on trying after that."""

TRY_AGAIN_S: Final = (0.0, 1.0, 5.0, 60.0)
"""Waits after failures (ours); the last one stays."""

RENEWED_BEFORE_S: Final = 900.0
"""How long before its credentials end an instance is replaced (ours): the longest timeout that a function may have."""

_log = structlog.get_logger("tule.runtime")


class InitAhead(Invocation):
    """The init phase of an instance that no request waits for."""

    initialization = "provisioned-concurrency"

    def _init_limit_s(self) -> float:
        return max(INIT_LIMIT_S, self._version.timeout_s)

    def _start_line(self) -> None:
        """There is no request that starts."""

    def _timed_out(self) -> None:
        self._status = "timeout"
        self._fail(outcomes.timed_out("", self._version.timeout_s))
        self._fate = platform_events.TIMEOUT

    async def _gone(self, instance: Instance) -> None:
        self._fail(outcomes.exit_error("", await instance.exit_status()))

    def _init_lines(self, duration_ms: float) -> None:
        super()._init_lines(duration_ms)
        if self._failed and self._events is None:
            status = self._status or f"error\tError Type: {outcomes.told_type(self._error_type)}"
            self.add([f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: init\tStatus: {status}"])

    def _end_lines(self) -> None:
        """Nothing is billed, and all has been said."""

    def close(self, instance: Instance | None) -> None:
        """What it prints from now on is the next request's."""
        if instance is not None:
            instance.listen(None)
        self._end()


class Keeper:
    """What is kept of one version."""

    def __init__(self, version: FunctionVersion) -> None:
        self.version = version
        self.beginning = 0
        self.failures = 0
        self.reason = ""
        self.again: Handle | None = None
        self.renewals: dict[Instance, Handle] = {}

    def close(self) -> None:
        for handle in (self.again, *self.renewals.values()):
            if handle is not None:
                handle.cancel()


class Provisioning:
    """Keeps what versions ask for. `begin` starts and initialises one; it gives the instance or why there is none."""

    def __init__(
        self,
        machine: MachineClock,
        pools: Pools,
        begin: Callable[[Start, FunctionVersion], Awaitable[Instance | str]],
        end: Callable[[Instance], None],
    ) -> None:
        self._machine = machine
        self._pools = pools
        self._begin = begin
        self._end = end
        self._keepers: dict[tuple[str, str], Keeper] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.listener: Callable[[str, str], None] = lambda *_: None

    # -- what is wanted

    def keep(self, version: FunctionVersion) -> None:
        """Keep `version.provisioned` instances from now on."""
        key = (version.arn, version.version)
        keeper = self._keepers.get(key)
        if keeper is None:
            if not version.provisioned:
                return
            keeper = self._keepers[key] = Keeper(version)
        keeper.version = version
        keeper.failures, keeper.reason = 0, ""
        if not version.provisioned:
            self._forget(key)
        self._shed(version)
        self._fill(key)
        self.listener(*key)

    def retire(self, arn: str, version: str | None, keep_revision: str) -> None:
        """Keep nothing more of what is named."""
        for key, keeper in list(self._keepers.items()):
            if key[0] == arn and version in (None, key[1]) and keeper.version.revision != keep_revision:
                self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        self._keepers.pop(key).close()

    def close(self) -> None:
        for key in list(self._keepers):
            self._forget(key)

    def status(self, arn: str, version: str) -> Provisioned:
        """How far it has come."""
        ready = len(self._members(arn, version))
        keeper = self._keepers.get((arn, version))
        if keeper is None:
            return Provisioned(ready, ready)
        return Provisioned(ready, ready + keeper.beginning, keeper.reason if ready < keeper.version.provisioned else "")

    def _members(self, arn: str, version: str) -> list[Instance]:
        pools = self._pools.find(arn, version)
        return [one for pool in pools for one in pool.members if one.provisioned and not one.retired]

    # -- having as many

    def _shed_strays(self, key: tuple[str, str]) -> None:
        """Nothing is kept of a version any more: what began before that goes, too."""
        if key not in self._keepers:
            for instance in self._members(*key):
                instance.retired = True
                if self._pools.is_idle(instance):
                    self._end(instance)

    def _shed(self, version: FunctionVersion) -> None:
        """Let those go that are too many: idle ones now, busy ones after their request."""
        members = self._members(version.arn, version.version)
        members.sort(key=lambda one: not self._pools.is_idle(one))
        for instance in members[: max(0, len(members) - version.provisioned)]:
            instance.retired = True
            if self._pools.is_idle(instance):
                self._end(instance)

    def _fill(self, key: tuple[str, str]) -> None:
        keeper = self._keepers.get(key)
        if keeper is None or keeper.again is not None:
            return
        missing = keeper.version.provisioned - len(self._members(*key)) - keeper.beginning
        if keeper.failures:
            missing = min(missing, 1 - keeper.beginning)  # one tries for all
        for _ in range(missing):
            keeper.beginning += 1
            task = asyncio.get_running_loop().create_task(self._one(key, keeper))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, key: tuple[str, str], keeper: Keeper) -> None:
        why = ""
        try:
            why = await self._start(keeper)
        except NoCapacityError:
            why = NO_ROOM
        except RuntimeUnavailableError as error:
            why = str(error)
        except Exception:  # noqa: BLE001 - whatever is wrong with us, the next attempt is to come
            why = INIT_FAILED
            _log.exception("a provisioned instance did not start", function=key[0], version=key[1])
        finally:
            keeper.beginning -= 1
        if self._keepers.get(key) is not keeper:
            self._shed_strays(key)
            return
        if why:
            self._failed(key, keeper, why)
        else:
            keeper.failures, keeper.reason = 0, ""
        self._fill(key)
        self.listener(*key)

    async def _start(self, keeper: Keeper) -> str:
        """One more, ready; why not, or ""."""
        version = keeper.version
        pool = self._pools.of(version)
        place = await self._pools.place(pool)
        while not isinstance(place, Start):
            pool.give_back(place)  # a request made it: it is for requests
            place = await self._pools.place(pool)
        begun = await self._begin(place, version)
        if isinstance(begun, str):
            return begun
        self._renew_in_time(begun, keeper)
        pool.give_back(begun)
        return ""

    def _failed(self, key: tuple[str, str], keeper: Keeper, why: str) -> None:
        wait_s = TRY_AGAIN_S[min(keeper.failures, len(TRY_AGAIN_S) - 1)]
        keeper.failures += 1
        if keeper.failures >= TRIES:
            keeper.reason = why

        def again() -> None:
            keeper.again = None
            self._fill(key)

        if keeper.again is None:
            keeper.again = self._machine.call_later(wait_s, again)

    def _renew_in_time(self, instance: Instance, keeper: Keeper) -> None:
        """Replace it before its credentials end."""
        left_s = (instance.expires_ms - self._machine.wall_ms()) / 1000 - RENEWED_BEFORE_S
        if left_s > 10 * 86_400:
            return

        def renew() -> None:
            keeper.renewals.pop(instance, None)
            instance.retired = True
            if self._pools.is_idle(instance):
                self._end(instance)

        keeper.renewals[instance] = self._machine.call_later(max(1.0, left_s), renew)

    def lost(self, pool: Pool, instance: Instance) -> None:
        """An instance has ended: if it was one of ours, there is to be another."""
        if not instance.provisioned:
            return
        key = (pool.version.arn, pool.version.version)
        keeper = self._keepers.get(key)
        if keeper is not None:
            handle = keeper.renewals.pop(instance, None)
            if handle is not None:
                handle.cancel()
            self._fill(key)
        self.listener(*key)
