"""What runs functions: resolved functions in memory, invocations with their logs and spans, and what feeds them."""

import asyncio
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from tule.kernel.context import RequestContext, TraceContext, trace_from_header
from tule.kernel.errors import AwsError
from tule.runtime.contract import FunctionVersion
from tule.services.declaration import Environment
from tule.services.lambda_ import limits, state
from tule.services.lambda_.engine import Engine, Outcome
from tule.services.lambda_.events import Events
from tule.services.lambda_.models import LATEST, Event, Function, Status
from tule.services.lambda_.names import PENDING, FunctionName, ResourceConflictError, function_not_found
from tule.services.lambda_.pollers import Pollers
from tule.services.lambda_.roles import RoleSessions
from tule.services.lambda_.throttling import AccountGate, FunctionGate
from tule.services.lambda_.usage import Usage
from tule.store.transaction import Txn

_log = structlog.get_logger("tule.lambda")

Key = tuple[str, str, str]
"""(account, region, function name)."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One request to run a function."""

    payload: bytes
    request_id: str
    trace: TraceContext
    client_context: str = ""
    qualifier: str = ""
    """As the caller gave it, since the function sees the ARN by which it was called."""


@dataclass(slots=True)
class Resolved:
    """A function that is ready to be invoked, until it changes."""

    function: Function
    version: FunctionVersion
    gate: FunctionGate
    span_name: str = field(init=False)

    def __post_init__(self) -> None:
        self.span_name = f"function {self.function.name}"

    @property
    def closed(self) -> bool:
        """Whether its reservation is zero, so that nothing will ever run."""
        return self.gate.reservation == 0


class Execution:
    """The service's objects in memory."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.roles = RoleSessions(env)
        self.usage = Usage(env)
        self.engine = Engine(env, self.roles)
        self.events = Events(self)
        self.pollers = Pollers(self)
        self._resolved: dict[Key, Resolved] = {}
        self._changes: dict[Key, int] = {}
        self._gates: dict[Key, FunctionGate] = {}
        self._accounts: dict[tuple[str, str], AccountGate] = {}
        self._places: set[tuple[str, str]] = set()
        self._pending: dict[str, asyncio.Task[None]] = {}

    # -- finding

    async def resolve(self, context: RequestContext, name: FunctionName) -> Resolved:
        """The function that a caller named, or AWS's 404."""
        if not name.qualifier or name.qualifier == LATEST:
            found = self._resolved.get(name[:3])
            if found is not None:
                return found
        shard = state.function_shard(*name[:3])
        function = await self.env.store.read(shard, state.read_function, context)
        if function is None or name.qualifier not in ("", LATEST):
            raise function_not_found(context, name)
        return await self._keep(function)

    async def find(self, context: RequestContext, name: str) -> Resolved:
        """The function of the context's account and region."""
        return await self.resolve(context, FunctionName(context.account, context.region, name, ""))

    async def _keep(self, function: Function) -> Resolved:
        """Remember a function that was just read or written, unless a later change overtakes this one."""
        key = (function.account, function.region, function.name)
        change = self._changes.get(key)
        resolved = Resolved(function, await self.engine.version(function), self._gate(key))
        if self._changes.get(key) == change:
            resolved.gate.reserve(function.reserved_concurrency)
            self._resolved[key] = resolved
        return resolved

    def _gate(self, key: Key) -> FunctionGate:
        gate = self._gates.get(key)
        if gate is None:
            account = self._accounts.setdefault(key[:2], AccountGate())
            gate = self._gates[key] = FunctionGate(account)
        return gate

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
        """A committed change: the next invocation sees it, and instances of what was before run out."""
        old = self._forget((function.account, function.region, function.name))
        resolved = await self._keep(function)
        if old is not None and old.version.revision != resolved.version.revision:
            self.engine.retire(function.arn, resolved.version.revision)
        self._settle_soon(function)

    def _settle_soon(self, function: Function) -> None:
        """See a change through that has not settled yet."""
        pending = function.status.state == "Pending"
        if not pending and function.status.update != "InProgress":
            return
        task = self.env.tasks.spawn(f"settle {function.name}", self._settle(function))
        if pending:
            self._pending[function.arn] = task
            task.add_done_callback(lambda _: self._pending.pop(function.arn, None))

    async def _active(self, function: Function) -> None:
        """Wait until a function that is being created is there, for a while; then AWS's 409."""
        task = self._pending.get(function.arn)
        if task is not None and not (await asyncio.wait({task}, timeout=limits.PENDING_WAIT_S))[0]:
            raise ResourceConflictError(PENDING)

    def _forget(self, key: Key) -> Resolved | None:
        self._changes[key] = self._changes.get(key, 0) + 1
        return self._resolved.pop(key, None)

    async def deleted(self, name: FunctionName) -> None:
        key = name[:3]
        old = self._forget(key)
        self.events.forget(*key)
        gate = self._gates.pop(key, None)
        if gate is not None:
            gate.reserve(None)
        if old is not None:
            self.engine.retire(old.function.arn)
            self.roles.forget(old.function.arn)

    async def _settle(self, function: Function) -> None:
        """Prepare the function's code, then say that it is active, or why it can't be."""
        try:
            reason = await self.engine.prepare((await self._keep(function)).version)
        except AwsError as error:
            reason = error.message
        except Exception:  # noqa: BLE001 - whatever is wrong with us, the function must not be Pending for ever
            _log.exception("function not prepared", function=function.arn)
            reason = "The function could not be prepared. Tule's log says why."
        status = (
            Status() if not reason else Status("Failed", reason, "InternalError", "Failed", reason, "InternalError")
        )

        def settle(txn: Txn) -> None:
            current = state.read_function(txn)
            if current is not None and current.revision == function.revision:
                state.write_function(txn, replace(current, status=status))

        shard = state.function_shard(function.account, function.region, function.name)
        await self.env.store.transact(shard, settle, self.env.background(function.account, function.region))

    async def recover(self) -> None:
        """Go on with the events, mappings and transitions that an earlier process left."""
        for account, region in await state.places(self.env.store):
            self._places.add((account, region))
            context = self.env.background(account, region)
            for function in await state.list_functions(self.env.store, context):
                self._gate((account, region, function.name)).reserve(function.reserved_concurrency)
                self._settle_soon(function)
                await self.events.recover(function)
            shard = state.mappings_shard(account, region)
            for mapping in await self.env.store.read(shard, state.all_mappings, context):
                self.pollers.resume(mapping)

    # -- running

    async def run(self, resolved: Resolved, invocation: Invocation) -> Outcome:
        """Run a function once. Raises `TooManyRequestsError` where there is no capacity; the function's own failures
        are outcomes."""
        if self._pending:
            await self._active(resolved.function)
        gate = resolved.gate
        gate.enter()
        try:
            outcome = await self.engine.invoke(resolved, invocation)
        finally:
            gate.leave()
        self.usage.add(resolved.function, outcome.billed_ms)
        return outcome

    async def run_payload(self, context: RequestContext, resolved: Resolved, payload: bytes) -> Outcome:
        """Run a function for a poller, whose span the context's trace is."""
        return await self.run(resolved, Invocation(payload, self.env.random.uuid(), context.trace))

    async def run_event(self, resolved: Resolved, event: Event) -> str | None:
        """Run a queued event; None if it went well, else what the function said."""
        env = self.env
        told = trace_from_header(event.trace, env.random, env.machine.wall_ms() // 1000)
        trace = TraceContext(told.root, told.parent, "", told.sampled, told.lineage)
        invocation = Invocation(event.payload, event.request_id, trace, event.client_context)
        outcome = await self.run(resolved, invocation)
        if not outcome.error:
            return None
        return outcome.payload.decode("utf-8", "replace")


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
