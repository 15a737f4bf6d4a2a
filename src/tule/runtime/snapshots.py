"""SnapStart: initialised processes per version, of which further instances are forks.

A snapshot is an instance that has run its function's init and serves nobody: it forks on demand, and a few forks wait
parked. It lasts as long as somebody uses it; who comes later has it taken again, which costs one plain init.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from tule.kernel.clocks import Handle, MachineClock
from tule.runtime import outcomes
from tule.runtime.contract import (
    FunctionVersion,
    RestoreFailedError,
    RestoreTimeoutError,
    RuntimeUnavailableError,
    SnapshotOutcome,
)
from tule.runtime.environment import acts_at_start
from tule.runtime.execution_environment import CLAIM, Instance, InstanceGoneError
from tule.runtime.hosts import PYTHON
from tule.runtime.supply import REFILL_AFTER_S, Supply

INIT_LIMIT_S: Final = 130.0
"""AWS: the init phase of a version with SnapStart takes this long at most, or its timeout if that is longer."""

RESTORE_LIMIT_S: Final = 10.0
"""AWS: restoring, after-restore hooks included."""

PARKED: Final = 2
"""Forks that wait for each snapshot in use (ours)."""

PARKED_IDLE_S: Final = 600.0
"""How long they wait without any use of the snapshot (ours, as long as idle instances); the next start forks anew."""

IDLE_S: Final = 3600.0
"""How long a snapshot is kept that nobody uses (ours: AWS keeps it for 14 days, on disk; here it is a process)."""

RENEWED: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Variables that a restored instance gets anew; the others are as the snapshot has them."""

UNKNOWN_TO_SNAPSHOTS: Final = ("AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME")
"""AWS: not set where SnapStart is on, for several log streams come of one snapshot."""

INIT_ERROR, INIT_TIMEOUT = "FunctionError.RuntimeInitError", "FunctionError.InitTimeout"
AFTER_ERROR: Final = "Runtime.AfterRestoreError"
FAILED_INIT: Final = "An error occurred during function initialization."
TIMED_OUT_INIT: Final = "Function initialization timed out."

Claimed = Callable[[FunctionVersion, str], Awaitable[tuple[str, dict[str, Any], int]]]
"""(version, log stream) to (zygote, claim, when its credentials end)."""

_log = structlog.get_logger("tule.runtime")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What snapshots ask of the runtime around them."""

    supply: Callable[[], Supply]
    claimed: Claimed
    write: Callable[[FunctionVersion, str, list[str]], None]
    """Lines for a log stream of the function's."""
    new_stream: Callable[[FunctionVersion], str]
    code: Callable[[FunctionVersion], str]
    """The folder of its unpacked package."""
    imported: Callable[[FunctionVersion, list[str]], Awaitable[None]]
    """Takes what an instance imported of its package."""


@dataclass(eq=False)
class Snapshot:
    """One version, initialised."""

    version: FunctionVersion
    outcome: SnapshotOutcome
    origin: Instance | None = None
    """The process that forks; None if there can be none."""
    expires_ms: int = 0
    parked: deque[Instance] = field(default_factory=deque)
    forks: set[Instance] = field(default_factory=set)
    """All that live, the parked among them: they end with their origin."""
    filling: asyncio.Lock = field(default_factory=asyncio.Lock)
    used_s: float = 0.0
    retired: bool = False

    @property
    def usable(self) -> bool:
        return self.origin is None or self.origin.alive


class Snapshots:
    """All snapshots, by version."""

    def __init__(self, machine: MachineClock, surroundings: Surroundings, idle_s: float = IDLE_S) -> None:
        self._machine = machine
        self._supply = surroundings.supply
        self._claimed = surroundings.claimed
        self._write = surroundings.write
        self._new_stream = surroundings.new_stream
        self._code = surroundings.code
        self._imported = surroundings.imported
        self._idle_s = idle_s
        self._found: dict[tuple[str, str, str], Snapshot] = {}
        self._taking: dict[tuple[str, str, str], asyncio.Task[Snapshot]] = {}
        self._retired: list[Snapshot] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: Handle | None = None
        self._closed = False

    # -- taking

    async def take(self, version: FunctionVersion) -> SnapshotOutcome:
        """Have a snapshot of the version, unless there is one; whether it serves, and if not, why."""
        return (await self._of(version)).outcome

    async def _of(self, version: FunctionVersion, until_ms: int = 0) -> Snapshot:
        key = version.key
        found = self._found.get(key)
        if found is not None and found.usable and (found.origin is None or found.expires_ms > until_ms):
            return found
        task = self._taking.get(key)
        if task is None:
            if found is not None:
                self._let_go(found)
            task = self._taking[key] = asyncio.get_running_loop().create_task(self._take(version))
            task.add_done_callback(lambda _: self._taking.pop(key, None))
        return await asyncio.shield(task)

    async def _take(self, version: FunctionVersion) -> Snapshot:
        reason = unsuitable(version)
        snapshot = Snapshot(version, SnapshotOutcome(reason)) if reason else await self._init(version)
        if snapshot.outcome.reason:
            _log.info("no snapshot", function=version.arn, version=version.version, why=snapshot.outcome.reason)
        snapshot.used_s = self._machine.monotonic_s()
        self._found[version.key] = snapshot
        if snapshot.origin is not None:
            self._fill_soon(snapshot, 0)
            self._sweep_later()
        return snapshot

    async def _init(self, version: FunctionVersion) -> Snapshot:
        """Run the function's init in an instance that stays behind as the origin of others."""
        stream = self._new_stream(version)
        zygote, claim, expires_ms = await self._claimed(version, stream)
        if claim["own_process"]:
            return Snapshot(version, SnapshotOutcome("Its layers bring shared libraries: Python must start with them."))
        if claim["supervised"]:
            return Snapshot(version, SnapshotOutcome("Extensions run beside it, and no fork takes them along."))
        variables = {name: text for name, text in claim["environment"].items() if name not in UNKNOWN_TO_SNAPSHOTS}
        variables["AWS_LAMBDA_INITIALIZATION_TYPE"] = "snap-start"
        supply = self._supply()
        origin = await supply.start_snapshot(zygote)
        origin.version, origin.log_stream, origin.origin = version, stream, True
        supply.watch(origin, version.memory_mb)
        lines: list[str] = []
        origin.listen(lines.extend)
        started_s = self._machine.monotonic_s()
        told: dict[str, Any] = {}
        try:
            async with asyncio.timeout(max(INIT_LIMIT_S, version.timeout_s)):
                told, _ = await origin.ask(CLAIM, {**claim, "environment": variables})
            outcome = _judged(told)
        except TimeoutError:
            outcome = SnapshotOutcome(TIMED_OUT_INIT, INIT_TIMEOUT, TIMED_OUT_INIT)
        except InstanceGoneError:
            status = outcomes.exit_error("", await origin.exit_status())["errorMessage"].partition("Error: ")[2]
            outcome = SnapshotOutcome(status, INIT_ERROR, FAILED_INIT)
        took_ms = float(told.get("ms") or (self._machine.monotonic_s() - started_s) * 1000)
        self._report(version, stream, [*lines, *_init_report(took_ms, outcome, told)])
        if outcome.reason:
            supply.kill(origin)
            return Snapshot(version, outcome)
        origin.listen(None)
        await self._imported(version, told.get("sources") or [])
        outcome = SnapshotOutcome(init_ms=took_ms)
        return Snapshot(version, outcome, origin, expires_ms)

    def _report(self, version: FunctionVersion, stream: str, lines: list[str]) -> None:
        if version.log_format == "JSON":
            lines = [line for line in lines if line.startswith("{")]
        self._write(version, stream, lines)

    # -- restoring

    async def restored(
        self, version: FunctionVersion, claim: dict[str, Any], until_ms: int
    ) -> tuple[Instance | None, dict[str, Any], SnapshotOutcome]:
        """A fork that waits for a claim, the claim to give it, and what is known of the snapshot; no fork if instances
        of this version must run their own init."""
        snapshot = await self._of(version, until_ms)
        snapshot.used_s = self._machine.monotonic_s()
        if snapshot.origin is None:
            return None, claim, snapshot.outcome
        while snapshot.parked:
            instance = snapshot.parked.popleft()
            if instance.alive:
                break
        else:
            instance = await self._fork(snapshot, group=False)
        self._fill_soon(snapshot, REFILL_AFTER_S)
        instance.expires_ms = snapshot.expires_ms
        renewed = {name: claim["environment"][name] for name in RENEWED}
        return instance, {**claim, "environment": renewed, "log_group": None, "log_stream": None}, snapshot.outcome

    async def _fork(self, snapshot: Snapshot, *, group: bool) -> Instance:
        origin = snapshot.origin
        assert origin is not None
        version = snapshot.version
        particulars = {
            "snapshot": origin.name, "group": group, "memory_mb": version.memory_mb,
            "ephemeral_mb": version.ephemeral_mb, "code": self._code(version),
        }  # fmt: skip
        instance = await self._supply().start_restored(origin, particulars)
        snapshot.forks.add(instance)
        return instance

    def _fill_soon(self, snapshot: Snapshot, after_s: float) -> None:
        def fill() -> None:
            if not self._closed:
                task = asyncio.get_running_loop().create_task(self._fill(snapshot))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        self._machine.call_later(after_s, fill)

    async def _fill(self, snapshot: Snapshot) -> None:
        async with snapshot.filling:  # two at once would park too many
            with suppress(OSError, RuntimeUnavailableError):  # whoever needs an instance meets the same, and tells it
                while len(snapshot.parked) < PARKED and snapshot.usable and snapshot.origin and not snapshot.retired:
                    snapshot.parked.append(await self._fork(snapshot, group=True))

    def parked(self) -> set[str]:
        """Names of the forks that wait."""
        return {instance.name for snapshot in self._found.values() for instance in snapshot.parked}

    # -- the end of them

    def lost(self, instance: Instance) -> None:
        """An instance has ended; it may be one of ours."""
        for snapshot in [*self._found.values(), *self._retired]:
            if instance in snapshot.forks:
                snapshot.forks.discard(instance)
                if instance in snapshot.parked:
                    snapshot.parked.remove(instance)
                self._end_if_unused(snapshot)
                return

    def retire(self, arn: str, version: str | None, keep_revision: str) -> None:
        """Let go of the snapshots of what is named; the forks at work end first."""
        for key, snapshot in list(self._found.items()):
            if key[0] == arn and version in (None, key[1]) and key[2] != keep_revision:
                self._let_go(snapshot)

    def _let_go(self, snapshot: Snapshot) -> None:
        self._found.pop(snapshot.version.key, None)
        snapshot.retired = True
        if snapshot.origin is None:
            return
        self._retired.append(snapshot)
        self._close_parked(snapshot)
        self._end_if_unused(snapshot)

    def _end_if_unused(self, snapshot: Snapshot) -> None:
        if snapshot.retired and not snapshot.forks and snapshot in self._retired:
            self._retired.remove(snapshot)
            if snapshot.origin is not None:
                self._supply().kill(snapshot.origin)

    def _close_parked(self, snapshot: Snapshot) -> None:
        while snapshot.parked:
            instance = snapshot.parked.popleft()
            snapshot.forks.discard(instance)
            self._supply().kill(instance)

    def _sweep_later(self) -> None:
        if self._sweeper is None and not self._closed:
            self._sweeper = self._machine.call_later(min(self._idle_s, PARKED_IDLE_S) / 4, self._sweep)

    def _sweep(self) -> None:
        """Let go of what nobody has used for long."""
        self._sweeper = None
        now_s = self._machine.monotonic_s()
        for snapshot in list(self._found.values()):
            if snapshot.used_s <= now_s - PARKED_IDLE_S:
                self._close_parked(snapshot)
            if (
                snapshot.origin is not None
                and snapshot.used_s <= now_s - self._idle_s
                and len(snapshot.forks) == len(snapshot.parked)
            ):
                self._let_go(snapshot)
        if any(snapshot.origin is not None for snapshot in self._found.values()):
            self._sweep_later()

    def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()


def unsuitable(version: FunctionVersion) -> str:
    """Why a version can't be forked at all, or ""."""
    if not PYTHON.fullmatch(version.runtime):
        return f"SnapStart of {version.runtime} is not there yet: Tule takes snapshots of Python functions."
    if acts_at_start(version.environment):
        return "Variables of this function act when Python starts, so each instance is started by itself."
    return ""


def _judged(told: dict[str, Any]) -> SnapshotOutcome:
    """What an origin's report means."""
    if told.get("error"):
        failure = told["error"]
        kind = told.get("phase") or failure.get("errorType", "")
        return SnapshotOutcome(f"{kind}: {failure.get('errorMessage', '')}", INIT_ERROR, FAILED_INIT)
    return SnapshotOutcome(str(told.get("obstacle") or ""))


def _init_report(took_ms: float, outcome: SnapshotOutcome, told: dict[str, Any]) -> list[str]:
    """AWS's line on an init phase, and Tule's on what stands in a snapshot's way."""
    line = f"INIT_REPORT Init Duration: {took_ms:.2f} ms\tPhase: init"
    if outcome.error_type == INIT_TIMEOUT:
        return [f"{line}\tStatus: timeout"]
    if outcome.error_type:
        kind = told.get("phase") or outcomes.told_type(
            str((told.get("error") or {}).get("errorType", outcomes.EXIT_ERROR))
        )
        return [f"{line}\tStatus: error\tError Type: {kind}"]
    return [line, f"Tule: SnapStart is off: {outcome.reason}"] if outcome.reason else [line]


async def ask(instance: Instance, claim: dict[str, Any]) -> dict[str, Any]:
    """Have a fork become an instance. Raises `RestoreFailedError` and `RestoreTimeoutError`."""
    try:
        async with asyncio.timeout(RESTORE_LIMIT_S):
            told, _ = await instance.ask(CLAIM, claim)
    except TimeoutError:
        raise RestoreTimeoutError("Lambda couldn't restore the snapshot within the timeout limit.") from None
    except InstanceGoneError:
        raise RestoreFailedError("; ".join(instance.early[-3:]) or "The restored process ended at once.") from None
    if told.get("error"):
        failure = told["error"]
        raise RestoreFailedError(f"{failure.get('errorType', '')}: {failure.get('errorMessage', '')}")
    return told
