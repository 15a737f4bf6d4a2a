"""Drives the operation of a stack to its end, from wherever it stands: the same code deploys and goes on after a crash.

Every step is written before it begins (what is to be done, under which token) and after it ended (what came of it), so
a repeated step finds what the first try made. One task drives a stack at a time; it ends when no operation is left.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar

import structlog

from tule.kernel.context import Principal, RequestContext, trace_from_header
from tule.kernel.errors import AwsError
from tule.services.cloudformation import state
from tule.services.cloudformation.models import Definition, Operation, Stack
from tule.services.cloudformation.submission import Compiled, compile_template, pseudo_parameters, read
from tule.services.declaration import Context, Environment
from tule.services.resources import ResourceRequest
from tule.store.transaction import ReadTxn, ShardKey, Txn

T = TypeVar("T")

TRIES = 5
"""Tries of a call that a service could not take just now (ours)."""

FIRST_WAIT_S = 0.1

_THROTTLED = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
_log = structlog.get_logger("tule.cloudformation")


class SupersededError(AwsError):
    """Another operation has taken the stack over."""

    code = "OperationInProgressException"


class StepError(Exception):
    """A step failed; the text is what the stack's events say."""


class Driver:
    """One stack being driven."""

    def __init__(self, env: Environment, shard: ShardKey, uuid: str) -> None:
        self.env = env
        self.shard = shard
        self.uuid = uuid
        self._background = env.background(shard.account, shard.region)

    async def run(self) -> None:
        """Go through the phases of the stack's operation until there is none left."""
        from tule.services.cloudformation.applying import apply
        from tule.services.cloudformation.undoing import clean_up, roll_back, tear_down

        phases: dict[str, Callable[[Driver, Stack, Operation], Awaitable[None]]] = {
            "apply": apply,
            "roll_back": roll_back,
            "clean_up": clean_up,
            "tear_down": tear_down,
        }
        while True:
            stack = await self.read(lambda txn: state.load_stack(txn, self.uuid))
            if stack is None or stack.operation is None:
                self.env.state["driving"].pop(self.uuid, None)  # here, so that none who starts an operation is missed
                return
            try:
                await phases[stack.operation.phase](self, stack, stack.operation)
            except SupersededError:
                continue

    async def read(self, work: Callable[[ReadTxn], T]) -> T:
        return await self.env.store.read(self.shard, work, self._background)

    async def transact(self, work: Callable[[Txn], T]) -> T:
        return await self.env.store.transact(self.shard, work, self._background)

    async def transact_as(self, operation: Operation, work: Callable[[Txn, Stack], T]) -> T:
        """A transaction that holds only while `operation`, in this phase, is the stack's own."""

        def guarded(txn: Txn) -> T:
            stack = state.load_stack(txn, self.uuid)
            now = stack.operation if stack else None
            if stack is None or now is None or now.id != operation.id or now.phase != operation.phase:
                raise SupersededError
            return work(txn, stack)

        return await self.transact(guarded)

    async def exports(self, work: Callable[[Txn], T]) -> T:
        """A transaction on the exports of this account and region."""
        shard = state.exports_shard(self.shard.account, self.shard.region)
        return await self.env.store.transact(shard, work, self._background)

    def context(self, operation: Operation, action: str) -> Context:
        """The context in which a resource's service is called."""
        caller = operation.caller
        trace = trace_from_header(caller.trace, self.env.random, self.env.clock.now() // 1000)
        principal = Principal(caller.kind, caller.arn, caller.user_id, caller.access_key_id)
        request: RequestContext = replace(
            self._background,
            service="cloudformation",
            operation=action,
            principal=principal,
            trace=trace,
            base_url=caller.base_url or self._background.base_url,
        )
        return Context(request, self.env)

    async def compiled(self, stack: Stack, definition: Definition) -> Compiled:
        """The template of a definition, its conditions settled."""
        text = await self.read(lambda txn: state.load_template(txn, self.uuid, definition.revision))
        assert text is not None, "a definition's template lies beside it"
        return await compile_definition(text.processed or text.original, definition, stack, self._background.partition)

    async def attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a resource's handler. What it can't do now is tried again; what it can't do at all is a `StepError`."""
        wait_s = FIRST_WAIT_S
        for left in range(TRIES - 1, -1, -1):
            try:
                return await work()
            except AwsError as error:
                passing = error.error_status >= 500 and error.error_status != 501
                if not left or not (passing or error.error_code in _THROTTLED):
                    raise StepError(handler_message(error)) from error
            except Exception as error:
                _log.exception("resource handler failed", shard=self.shard, stack=self.uuid)
                raise StepError(f"Internal failure of the resource's handler: {type(error).__name__}") from error
            await self.env.machine.sleep(wait_s)
            wait_s *= 2
        raise AssertionError("the last try returns or raises")


def handler_message(error: AwsError) -> str:
    """A service's refusal as CloudFormation tells it."""
    return f'Resource handler returned message: "{error.message}" (HandlerErrorCode: {error.error_code})'


async def compile_definition(text: str, definition: Definition, stack: Stack, partition: str) -> Compiled:
    """Read a stored template and settle its conditions."""
    from tule.languages.cloudformation.template import read_template

    _, _, _, region, account, _ = stack.arn.split(":", 5)
    pseudo = pseudo_parameters(account, region, partition, stack.name, stack.arn)
    pseudo["AWS::NotificationARNs"] = definition.notification_arns
    return compile_template(read_template(await read(text)), definition.parameters, pseudo)


def token_for(operation: Operation, logical_id: str) -> str:
    """The same for every try at one change of one resource."""
    return sha256(f"{operation.id}/{logical_id}".encode()).hexdigest()[:32]


def request_for(
    stack: Stack, definition: Definition, logical_id: str, properties: dict[str, Any], token: str
) -> ResourceRequest:
    """What a resource's handler is given."""
    tags = {
        **definition.tags,
        "aws:cloudformation:stack-name": stack.name,
        "aws:cloudformation:stack-id": stack.arn,
        "aws:cloudformation:logical-id": logical_id,
    }
    return ResourceRequest(stack.name, stack.arn, logical_id, properties, tags, token)


def drive(env: Environment, shard: ShardKey, uuid: str) -> None:
    """See to it that the stack's operation is being driven."""
    driving: dict[str, asyncio.Task[None]] = env.state.setdefault("driving", {})
    if uuid in driving:
        return
    driving[uuid] = env.tasks.keep(f"stack {shard.name}", Driver(env, shard, uuid).run)


async def resume(env: Environment) -> None:
    """Go on with every operation that was under way when Tule ended."""
    from tule.kernel.context import DEFAULT_ACCOUNT, DEFAULT_REGION

    context = env.background(DEFAULT_ACCOUNT, DEFAULT_REGION)
    for entry in await env.store.read(state.RUNNING, state.running, context):
        drive(env, state.stack_shard(entry.account, entry.region, entry.name), entry.uuid)
