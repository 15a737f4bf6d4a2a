"""What runs functions: resolved functions in memory, invocations with their logs and spans, and what feeds them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from tule.kernel.context import RequestContext, TraceContext, trace_from_header
from tule.kernel.errors import AwsError
from tule.runtime.contract import ResponseSink
from tule.services.declaration import Environment
from tule.services.lambda_ import invoking_state, limits, state
from tule.services.lambda_.engine import Engine, Outcome, Prepared
from tule.services.lambda_.events import Events
from tule.services.lambda_.models import LATEST, Function, Status
from tule.services.lambda_.names import PENDING, FunctionName, ResourceConflictError
from tule.services.lambda_.pollers import Pollers
from tule.services.lambda_.qualifiers import versions_behind
from tule.services.lambda_.queued_event import Event
from tule.services.lambda_.recursion import RecursionGuard, RecursiveInvocationError
from tule.services.lambda_.resolution import Resolution, Resolved
from tule.services.lambda_.roles import RoleSessions
from tule.services.lambda_.usage import Usage
from tule.store.transaction import ReadTxn, Txn

_log = structlog.get_logger("tule.lambda")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One request to run a function."""

    payload: bytes
    request_id: str
    trace: TraceContext
    client_context: str = ""
    qualifier: str = ""
    """As the caller gave it, since the function sees the ARN by which it was called."""
    response: ResponseSink | None = None
    """Where a streamed response goes; None gathers it."""


class Execution:
    """The service's objects in memory."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.roles = RoleSessions(env)
        self.usage = Usage(env)
        self.engine = Engine(env, self.roles)
        self.events = Events(self)
        self.pollers = Pollers(self)
        self.resolution = Resolution(env, self.engine)
        self.guard = RecursionGuard()
        self._places: set[tuple[str, str]] = set()
        self._pending: dict[str, asyncio.Task[None]] = {}

    # -- finding

    async def resolve(self, context: RequestContext, name: FunctionName) -> Resolved:
        """The version that a caller named, or AWS's 404."""
        return await self.resolution.resolve(context, name)

    async def find(self, context: RequestContext, name: str, qualifier: str = "") -> Resolved:
        """The function of the context's account and region."""
        return await self.resolution.resolve(context, FunctionName(context.account, context.region, name, qualifier))

    # -- changes

    async def remember_place(self, account: str, region: str) -> None:
        """Before the first function or mapping of an account and region: so that a start finds them."""
        if (account, region) in self._places:
            return
        context = self.env.background(account, region)
        await self.env.store.transact(
            state.PLACES_SHARD, lambda txn: state.remember_place(txn, account, region), context
        )
        self._places.add((account, region))

    async def changed(self, function: Function) -> None:
        """A committed change of $LATEST, or a version that was published: the next invocation sees it, and instances
        of what was before run out."""
        key = (function.account, function.region, function.name)
        old = self.resolution.forget(key).get(function.version)
        resolved = await self.resolution.keep(function, 0, seen=self.resolution.changes(key))
        if old is not None and old.version.revision != resolved.version.revision:
            self.engine.retire(function.arn, function.version, resolved.version.revision)
        self._settle_soon(function)

    def provision(self, name: FunctionName, versions: Iterable[str], total: int) -> None:
        """An alias or a provisioned concurrency changed: keep as many instances of `versions` as are now wanted, and
        `total` of the whole function."""
        self.resolution.forget(name[:3])
        self.resolution.gate(name[:3]).provision(total)
        for version in versions:
            self.env.tasks.spawn(f"provision {name.name}:{version}", self._provision(name, version))

    async def _provision(self, name: FunctionName, version: str) -> None:
        try:
            resolved = await self.find(self.env.background(name.account, name.region), name.name, version)
            reason = (await self.engine.prepare(resolved.version)).reason
        except AwsError as error:  # deleted meanwhile, or there is no runtime
            reason = error.message
        if reason:
            _log.warning("version not provisioned", function=name.name, version=version, why=reason)

    def _settle_soon(self, function: Function) -> None:
        """See a change through that has not settled yet."""
        pending = function.status.state == "Pending"
        if not pending and function.status.update != "InProgress":
            return
        arn = function.version_arn
        task = self.env.tasks.spawn(f"settle {arn}", self._settle(function))
        if pending:
            self._pending[arn] = task
            task.add_done_callback(lambda _: self._pending.pop(arn, None))

    async def _active(self, function: Function) -> None:
        """Wait until a version that is being created is there, for a while; then AWS's 409."""
        task = self._pending.get(function.version_arn)
        if task is not None and not (await asyncio.wait({task}, timeout=limits.PENDING_WAIT_S))[0]:
            raise ResourceConflictError(PENDING)

    async def deleted(self, name: FunctionName, arn: str) -> None:
        """The function is gone with all its versions."""
        self.resolution.deleted(name[:3])
        self.guard.allow(name[:3], allowed=False)
        self.events.forget(*name[:3])
        self.engine.retire(arn)
        self.roles.forget(arn)

    async def retagged(self, function: Function, provisioned: Iterable[str], total: int) -> None:
        """A committed change of tags by which instances are made: they are made anew, also `provisioned` ones."""
        self.engine.retire(function.arn)
        await self.changed(function)
        self.provision(FunctionName(function.account, function.region, function.name, ""), provisioned, total)

    def version_deleted(self, name: FunctionName, arn: str) -> None:
        """A published version is gone."""
        self.resolution.forget(name[:3])
        self.engine.retire(arn, name.qualifier)

    async def _settle(self, function: Function) -> None:
        """Prepare a version's code, then say that it is active, or why it can't be."""
        context = self.env.background(function.account, function.region)
        try:
            resolved = await self.find(context, function.name, function.version)
            prepared = await self.engine.prepare(resolved.version)
        except AwsError as error:
            prepared = Prepared(error.message, "InternalError")
        except Exception:  # noqa: BLE001 - whatever is wrong with us, the function must not be Pending for ever
            _log.exception("function not prepared", function=function.version_arn)
            prepared = Prepared("The function could not be prepared. Tule's log says why.", "InternalError")
        reason, code = prepared.reason, prepared.reason_code
        status = (
            Status("Failed", reason, code, "Failed", reason, code)
            if reason
            else Status(optimized=prepared.optimized and function.version != LATEST)
        )
        revision = self.env.random.uuid()

        def settle(txn: Txn) -> None:
            current = state.read_version(txn, function.version)
            if current is not None and current.revision == function.revision:
                state.write_function(txn, replace(current, status=status, revision=revision))

        shard = state.function_shard(function.account, function.region, function.name)
        await self.env.store.transact(shard, settle, context)

    async def recover(self) -> None:
        """Go on with the events, mappings and transitions that an earlier process left."""
        for account, region in await state.places(self.env.store):
            self._places.add((account, region))
            context = self.env.background(account, region)
            for function in await state.list_functions(self.env.store, context):
                self.resolution.gate((account, region, function.name)).reserve(function.reserved_concurrency)
                self._settle_soon(function)
                await self._recover_guard(context, function)
                await self.events.recover(function)
            await self._recover_versions(context)
            shard = state.mappings_shard(account, region)
            for mapping in await self.env.store.read(shard, state.all_mappings, context):
                self.pollers.resume(mapping)

    async def _recover_guard(self, context: RequestContext, function: Function) -> None:
        shard = state.function_shard(function.account, function.region, function.name)
        allowed = await self.env.store.read(shard, invoking_state.loops_allowed, context)
        self.guard.allow((function.account, function.region, function.name), allowed=allowed)

    async def _recover_versions(self, context: RequestContext) -> None:
        """Versions that are being published, and those that keep instances or a snapshot ready."""
        for version in await state.list_versions(self.env.store, context):
            self._settle_soon(version)
            if version.snap_start:
                name = FunctionName(context.account, context.region, version.name, "")
                self.env.tasks.spawn(f"snapshot {version.version_arn}", self._provision(name, version.version))
        for function_name in {name for name, _ in await state.list_provisioned(self.env.store, context)}:

            def read(txn: ReadTxn) -> tuple[list[str], int]:
                wanted = state.all_provisioned(txn)
                return [one for name in wanted for one in versions_behind(txn, name)], state.total_provisioned(txn)

            shard = state.function_shard(context.account, context.region, function_name)
            versions, total = await self.env.store.read(shard, read, context)
            self.provision(FunctionName(context.account, context.region, function_name, ""), versions, total)

    # -- running

    async def run(self, resolved: Resolved, invocation: Invocation, *, paced: bool = True) -> Outcome:
        """Run a function once. Raises `TooManyRequestsError` where there is no capacity, `RecursiveInvocationError`
        in a loop; the function's own failures are outcomes."""
        if self._pending:
            await self._active(resolved.function)
        if invocation.trace.lineage and self.guard.stops(resolved.key, resolved.mark, invocation.trace.lineage):
            raise RecursiveInvocationError
        gate = resolved.gate
        gate.enter(paced=paced)
        try:
            outcome = await self.engine.invoke(resolved, invocation)
        finally:
            gate.leave()
        self.usage.add(resolved.function, outcome.billed_ms)
        return outcome

    async def run_payload(
        self, context: RequestContext, resolved: Resolved, payload: bytes, qualifier: str = ""
    ) -> Outcome:
        """Run a function for a poller, whose span the context's trace is, as if called by a qualifier."""
        invocation = Invocation(payload, self.env.random.uuid(), context.trace, qualifier=qualifier)
        return await self.run(resolved, invocation)

    async def run_event(self, resolved: Resolved, event: Event) -> Outcome:
        """Run a queued event in the trace it was accepted in."""
        env = self.env
        told = trace_from_header(event.trace, env.random, env.machine.wall_ms() // 1000)
        trace = TraceContext(told.root, told.parent, "", told.sampled, told.lineage)
        invocation = Invocation(event.payload, event.request_id, trace, event.client_context, event.qualifier)
        return await self.run(resolved, invocation, paced=False)


def execution(env: Environment) -> Execution:
    """The running service's objects."""
    found: Execution = env.state["execution"]
    return found


async def start(env: Environment) -> None:
    """Make the objects, and go on with what an earlier process left."""
    env.state["code_secret"] = env.random.token(32)
    env.state["execution"] = made = Execution(env)
    try:
        await made.recover()
    except AwsError:
        _log.exception("recovery failed")
        raise


async def stop(env: Environment) -> None:
    await execution(env).usage.flush()
