"""Runs functions: the implementation of `tule.runtime.contract.FunctionRuntime`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from tule.kernel.clocks import MachineClock
from tule.kernel.ports import BlobRef, LogSink
from tule.kernel.processes import open_many_files
from tule.kernel.randomness import RandomSource
from tule.runtime import debugger_packages, environment, programs, rungs, snapshots
from tule.runtime.bytecode import Bytecode
from tule.runtime.cloud_names import CloudNames
from tule.runtime.cold_starts import ColdStarts, VersionStarts
from tule.runtime.compiled import CompiledCode
from tule.runtime.contract import (
    DebugInfo,
    FunctionVersion,
    InstanceInfo,
    InvokeOutcome,
    Provisioned,
    ResponseSink,
    RuntimeUnavailableError,
    SnapshotOutcome,
)
from tule.runtime.debugging import Debugging, Session
from tule.runtime.execution_environment import Instance, OrphanedError
from tule.runtime.hosts import Interpreter, Interpreters
from tule.runtime.invocation import Invocation, new_stream
from tule.runtime.packages import Packages
from tule.runtime.pools import Caps, Pools, Start
from tule.runtime.provisioning import INIT_FAILED, InitAhead, Provisioning
from tule.runtime.reach import Sandbox
from tule.runtime.scratch import scratch_folder
from tule.runtime.snapshots import Snapshots, Surroundings
from tule.runtime.supply import Settings, Supply
from tule.runtime.worker import Worker

STARTS_MAX: Final = 3
"""How many instances are tried for one request whose zygote is killed before they are ready (ours)."""

_log = structlog.get_logger("tule.runtime")


class Functions:
    """Everything that runs functions, behind one object."""

    def __init__(  # noqa: PLR0913 - the options are for tests and settings, by name
        self,
        home: Path,
        machine: MachineClock,
        random: RandomSource,
        logs: LogSink,
        endpoint_url: str,
        *,
        cache: Path | None = None,
        parked: int = 2,
        caps: Caps | None = None,
        bare: bool = False,
        snapshot_idle_s: float = snapshots.IDLE_S,
        names: CloudNames | None = None,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._home = home
        self._machine = machine
        self._random = random
        self._logs = logs
        self._endpoint_url = endpoint_url
        self._bare = bare
        self._names = names
        self._sandbox = sandbox or Sandbox()
        self._parked_count = parked
        self._cache = cache or home / "cache"
        self.worker = Worker(machine)
        self.packages = Packages(home / "packages", self.worker)
        self.interpreters = Interpreters()
        self._warnings: dict[str, str] = {}
        self._supply: Supply | None = None
        self._looked: rungs.Rung | None = None
        self._caps = caps or Caps()
        self._pools = Pools(machine, self._end, self._caps)
        self._provisioning = Provisioning(machine, self._pools, self._begin_ahead, self._pools.end)
        self._pools.on_lost = self._provisioning.lost
        self._compiled = CompiledCode(self.packages.folder)
        self._bytecode = Bytecode(self.packages.folder, self.worker, environment.TASK)
        self.debugging = Debugging(machine, self._debugged)
        self._cold_starts = ColdStarts(machine, home / "cold-starts.json")
        around = Surroundings(
            lambda: self.supply,
            self._claim,
            self._write_log,
            lambda version: new_stream(version, machine, random),
            lambda version: self.packages.path(version.code),
            self._imported,
        )
        self.snapshots = Snapshots(machine, around, snapshot_idle_s)

    # -- life

    async def start(self) -> None:
        """Ready at once: runner and zygotes come with the first function."""
        open_many_files()
        self.packages.open()
        self._cold_starts.open()

    async def stop(self) -> None:
        """End every instance and the runner."""
        self.debugging.close()
        self._provisioning.close()
        self._pools.close()
        self.snapshots.close()
        await self._cold_starts.close()
        await self._compiled.close()
        await self._bytecode.close()
        if self._supply is not None:
            await self._supply.stop()
        if self._names is not None:
            self._names.close()

    @property
    def supply(self) -> Supply:
        """Where instances come from, made at first need."""
        if self._supply is None:
            settings = Settings(
                self.packages.folder,
                scratch_folder(self._home / "scratch"),
                self._cache,
                self._parked_count,
                self._bare,
                self._caps.rest_after_s,
                self._endpoint_url,
                self._sandbox,
            )
            self._supply = Supply(settings, self._machine, self._random, self.interpreters.own, self._names)
            self._supply.on_lost = self._lost
            self._supply.write_log = self._write_log
        return self._supply

    # -- what the contract says

    async def unpack(self, package: BlobRef, path: str) -> str:
        """See the contract."""
        return await self.packages.unpack(package, path)

    def unpacked_bytes(self, code: str) -> int:
        """See the contract."""
        return self.packages.bytes_of(code)

    async def prepare(self, version: FunctionVersion) -> None:
        """See the contract."""
        interpreter = await self._interpreter(version.runtime)
        if interpreter.kind == "node":
            from tule.runtime import node_sdk

            await node_sdk.install(self._cache, interpreter)
        await self.packages.merged(version.layers)
        supply = self.supply
        zygote = supply.zygote_for(interpreter, self.packages.sdk(version.code, version.layers))
        await supply.fill(zygote)
        if version.snap_start:
            await self.snapshots.take(version)
        self._provisioning.keep(version)

    def provisioned(self, arn: str, version: str) -> Provisioned:
        """See the contract."""
        return self._provisioning.status(arn, version)

    def watch_provisioned(self, listener: Callable[[str, str], None]) -> None:
        """See the contract."""
        self._provisioning.listener = listener

    async def snapshot(self, version: FunctionVersion) -> SnapshotOutcome:
        """See the contract."""
        return await self.snapshots.take(version)

    async def invoke(  # noqa: PLR0913 - the options are the contract's, by name
        self,
        version: FunctionVersion,
        payload: bytes,
        *,
        request_id: str,
        trace_header: str,
        client_context: str | None = None,
        invoked_arn: str = "",
        response: ResponseSink | None = None,
    ) -> InvokeOutcome:
        """See the contract."""
        version = self.debugging.version(version)
        pool = self._pools.of(version)
        invocation = Invocation(self._machine, self._logs, version, request_id, trace_header)
        got = await self._pools.enter(pool, self._usable_until_ms(version))
        cold = isinstance(got, Start)
        head = {
            "request_id": request_id,
            "trace": trace_header,
            "arn": invoked_arn or version.arn,
            "client_context": _client_context(client_context),
        }
        instance = await self._begin(got, version, invocation) if isinstance(got, Start) else got
        if instance is None:
            return invocation.outcome(cold=cold)
        try:
            await invocation.run(instance, head, payload, self.supply.kill, response)
        except BaseException:
            # Nobody waits for what it does any more, and it must not meet the next request.
            self._pools.end(instance)
            raise
        pool.give_back(instance)
        return invocation.outcome(cold=cold)

    async def _begin(self, start: Start, version: FunctionVersion, invocation: Invocation) -> Instance | None:
        """A cold start, or None when the init phase failed, which `invocation` then knows."""
        instance: Instance | None = None
        ready = False
        try:
            invocation.admitted()
            for attempt in range(STARTS_MAX):
                instance, claim = await self._claimed(version, invocation)
                invocation.begin(instance)
                try:
                    ready = await (
                        invocation.restore(instance, claim)
                        if instance.restored
                        else invocation.init(instance, claim, self.supply.kill)
                    )
                    break
                except OrphanedError:
                    if attempt + 1 == STARTS_MAX:
                        raise RuntimeUnavailableError(
                            "The process that starts functions is killed again and again."
                        ) from None
            if invocation.cold_start is not None:
                self._cold_starts.add(version.arn, version.version, invocation.cold_start)
            await self._imported(version, invocation.sources)
            if instance is not None and ready:
                self.supply.limit(instance, version.memory_mb)
            return instance if ready else None
        finally:
            if instance is not None and not ready:
                self.supply.kill(instance)
            start.end(instance if ready else None)

    async def _imported(self, version: FunctionVersion, sources: list[str]) -> None:
        if sources:
            self._bytecode.make_soon(version.code, await self._interpreter(version.runtime), sources)

    async def _begin_ahead(self, start: Start, version: FunctionVersion) -> Instance | str:
        """An instance that is initialised before there is a request; or why there is none."""
        init = InitAhead(self._machine, self._logs, version, "", "")
        instance: Instance | None = None
        ready = False
        try:
            instance, claim = await self._claimed(version, init)
            init.begin(instance)
            ready = await init.init(instance, claim, self.supply.kill)
            instance.provisioned = ready
            await self._imported(version, init.sources)
            return instance if ready else INIT_FAILED
        except OrphanedError:
            return INIT_FAILED
        finally:
            init.close(instance)
            if instance is not None and not ready:
                self.supply.kill(instance)
            start.end(instance if ready else None)

    async def _claimed(self, version: FunctionVersion, invocation: Invocation) -> tuple[Instance, dict[str, Any]]:
        stream = new_stream(version, self._machine, self._random)
        invocation.timeline.unpacked_ms = self.packages.unpacked_ms(version.code)
        zygote, claim, expires_ms = await self._claim(version, stream)
        claim["environment"]["AWS_LAMBDA_INITIALIZATION_TYPE"] = invocation.initialization
        supply = self.supply
        instance: Instance | None = None
        if version.snap_start:
            until_ms = self._usable_until_ms(version)
            instance, claim, snapshot = await self.snapshots.restored(version, claim, until_ms)
            invocation.timeline.note = snapshot.reason
            if instance is None:
                invocation.notice(f"Tule: SnapStart is off: {snapshot.reason}")
        if instance is None:
            instance = await supply.take(version, zygote, claim)
            instance.expires_ms = expires_ms
        else:
            instance.restored = True
        instance.version, instance.log_stream = version, stream
        if fill := claim.get("fill"):
            instance.on_compiled = lambda head, body: self._compiled.keep(fill, head, body)
        if session := self.debugging.of(version.arn):
            session.instance = instance
        supply.watch(instance, version.memory_mb)
        if warning := self._warnings.get(version.runtime):
            invocation.notice(f"Tule: {warning}")
        return instance, claim

    async def _claim(self, version: FunctionVersion, stream: str) -> tuple[str, dict[str, Any], int]:
        """(zygote, what to tell an instance, when its credentials end)."""
        interpreter = await self._interpreter(version.runtime)
        supply = self.supply
        await supply.runner()
        session = version.credentials()
        tree = supply.tree
        code = self.packages.path(version.code)
        layers = await self.packages.merged(version.layers)
        opt = environment.OPT if tree or not layers else layers
        variables = environment.variables(
            version,
            interpreter,
            session,
            endpoint_url=self._endpoint_url,
            log_stream=stream,
            task_root=environment.TASK if tree else code,
            runtime_dir=environment.RUNTIME if tree else code,
            opt=opt,
            trust=supply.trust,
        )
        claim = {
            "name": version.name, "version": version.version, "handler": version.handler, "code": code,
            "memory_mb": version.memory_mb, "ephemeral_mb": version.ephemeral_mb, "log_group": version.log_group,
            "log_stream": stream, "environment": variables, "sdk": supply.sdk_folder, "egress": self._egress(version),
            "opt": layers, "modules": environment.layer_modules(version.runtime, opt) if layers else [],
            "own_process": self.packages.brings_libraries(layers),
            "supervised": programs.has_extensions(layers) or "AWS_LAMBDA_EXEC_WRAPPER" in version.environment,
        }  # fmt: skip
        if tree:
            claim |= self._compiled.claim(version, interpreter, layers)
            claim |= self._bytecode.claim(version.code, interpreter)
        debugged = self.debugging.of(version.arn) if version.debug_port else None
        debugger = debugged.folder if debugged else ""
        if debugged:
            claim["debug"] = {"port": debugged.inner, "folder": debugger_packages.IN_TREE if tree else debugger}
        zygote = supply.zygote_for(interpreter, self.packages.sdk(version.code, version.layers), debugger)
        return zygote, claim, session.expires_ms

    def _egress(self, version: FunctionVersion) -> str:
        egress = version.egress or self._sandbox.egress
        if egress != "all" and not self.supply.hello.get("network"):
            raise RuntimeUnavailableError(
                f"The function may only connect to {'Tule' if egress == 'tule-only' else 'nothing'} (egress {egress}), "
                "and this machine offers functions no networks of their own to keep that: see `tule doctor`."
            )
        return egress

    async def retire(self, function_arn: str, version: str | None = None, *, keep_revision: str = "") -> None:
        """See the contract."""
        self._provisioning.retire(function_arn, version, keep_revision)
        self._pools.retire(function_arn, version, keep_revision)
        self.snapshots.retire(function_arn, version, keep_revision)
        if version is None and not keep_revision:
            self._cold_starts.forget(function_arn)

    async def debug(self, function_arn: str, runtime: str, port: int, held_s: float) -> DebugInfo:
        """See the contract."""
        interpreter = await self._interpreter(runtime)
        python = interpreter.kind == "python"
        folder = str(await debugger_packages.install(self._cache, interpreter.number)) if python else ""
        supply = self.supply
        await supply.runner()
        self.debugging.own_networks = supply.tree
        self.debugging.runner_pid = 0 if supply.hello.get("root") else supply.runner_pid
        session = await self.debugging.begin(function_arn, port, folder, held_s)
        return DebugInfo(session.port, "debugpy" if python else "inspector", environment.TASK if supply.tree else "")

    async def stop_debugging(self, function_arn: str) -> None:
        """See the contract."""
        self.debugging.end(function_arn)

    def _debugged(self, session: Session) -> None:
        """End what was made to be debugged: who is busy may finish, within the function's own time."""
        for instance in list(self.supply.instances.values()):
            version = instance.version
            if version is None or version.arn != session.arn or not version.debug_port:
                continue
            instance.retired = True
            if self._pools.is_idle(instance) or not instance.invocations:
                self._pools.end(instance)  # those that still wait for their debugger, too
            else:
                self._machine.call_later(version.timeout_s, partial(self.supply.kill, instance))

    def instances(self) -> list[InstanceInfo]:
        """Everything that runs, with the memory figures of the moment before; asking renews them."""
        supply = self._supply
        if supply is None:
            return []
        supply.ask_memory()
        parked = supply.parked() | self.snapshots.parked()
        return [_info(instance, parked, self._pools, supply.memory_kb) for instance in supply.instances.values()]

    def cold_starts(self, function: str, version: str = "") -> list[VersionStarts]:
        """See the contract."""
        return self._cold_starts.of(function, version)

    def rung(self) -> str:
        """See the contract."""
        if self._supply and self._supply.hello:
            return rungs.rung_of(self._supply.hello).text
        if self._looked is None:
            self._looked = rungs.look(bare=self._bare)
        return self._looked.text

    def nearest(self, runtime: str) -> str:
        """See the contract. Known once the runtime was prepared or used."""
        return self._warnings.get(runtime, "")

    # -- within

    async def _interpreter(self, runtime: str) -> Interpreter:
        found = await self.interpreters.serving(runtime)
        if found is None:
            need = self.interpreters.missing(runtime)
            raise RuntimeUnavailableError(f"{runtime} can't run here: this machine lacks {need}.")
        await programs.prepare(found, self._cache)
        if runtime not in self._warnings:
            self._warnings[runtime] = self.interpreters.warning(runtime, found)
            if self._warnings[runtime]:
                _log.warning("nearest runtime", runtime=runtime, serving=found.name)
        return found

    def _usable_until_ms(self, version: FunctionVersion) -> int:
        """Credentials of an instance must outlive the request."""
        return self._machine.wall_ms() + (version.timeout_s + 60) * 1000

    def _end(self, instance: Instance) -> None:
        self.supply.kill(instance)

    def _lost(self, instance: Instance) -> None:
        self._pools.lost(instance)
        self.snapshots.lost(instance)

    def _write_log(self, version: FunctionVersion, stream: str, lines: list[str]) -> None:
        now_ms = self._machine.wall_ms()
        events = [(now_ms, line) for line in lines]
        self._logs.write(version.account, version.region, version.log_group, stream, events)


def _client_context(text: str | None) -> Any:
    """The caller's client context as a value; what is none was refused before."""
    if not text:
        return None
    from base64 import b64decode

    return msgspec.json.decode(b64decode(text))


def _info(instance: Instance, parked: set[str], pools: Pools, memory_kb: dict[str, int]) -> InstanceInfo:
    version = instance.version
    if instance.origin:
        state: Any = "snapshot"
    elif instance.name in parked:
        state = "parked"
    elif not instance.pid or version is None:
        state = "starting"
    else:
        state = "idle" if pools.is_idle(instance) else "busy"
    return InstanceInfo(
        id=instance.name,
        function_arn=version.arn if version else "",
        version=version.version if version else "",
        runtime=version.runtime if version else instance.home,
        state=state,
        pid=instance.pid,
        invocations=instance.invocations,
        pss_kb=memory_kb.get(instance.name, 0),
        started_ms=instance.started_ms,
    )


def open_functions(
    home: str, machine: MachineClock, random: RandomSource, logs: LogSink, endpoint_url: str, **options: Any
) -> Functions:
    """The function runtime of a Tule whose directory is `home`."""
    return Functions(Path(home), machine, random, logs, endpoint_url, **options)
