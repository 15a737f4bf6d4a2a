"""An operation ready to be called: everything about it that does not change from request to request."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from tule.gateway.ongoing import Ongoing
from tule.kernel.context import RequestContext
from tule.kernel.errors import ServiceUnavailableError
from tule.services.declaration import Context, Coordinate, Environment, Operation, Read, Transact
from tule.store.contract import Done
from tule.wire import CompiledOperation, compiled

Run = Callable[[RequestContext, Any, Done], "Cancellation | None"]
"""Start the work on parsed parameters; `done` is told on the loop when it may be answered."""

Cancellation = Callable[[], object]
"""Ends work that is still waiting, for a caller who has left."""


SUBJECTS: Final = (
    "QueueUrl", "QueueName", "TableName", "FunctionName", "ApiId", "Bucket", "logGroupName", "StackName", "RoleName",
    "UserName", "TopicArn", "ChangeSetName", "UUID", "Name",
)  # fmt: skip
"""Members that name what a call is about, the most telling first: what its span is labelled with."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One operation of one service that runs."""

    service: str
    name: str
    label: str
    """ "sqs:SendMessage": the name of its spans, and of the fault point in front of it."""
    codec: CompiledOperation
    run: Run
    reads: bool
    """Some of its usage may have no batch to be counted in."""
    subject: str = ""
    """The parameter that names what the call is about."""


def bind(
    service: str, name: str, operation: Operation, codec: CompiledOperation, env: Environment, ongoing: Ongoing
) -> Bound:
    """`operation` with its environment, as the chain calls it."""
    label = f"{service}:{name}"
    members = codec.model.input.members if codec.model.input is not None else {}
    subject = next((member for member in SUBJECTS if member in members), "")
    if isinstance(operation, Transact):
        return Bound(service, name, label, codec, _transact(operation, env), reads=False, subject=subject)
    if isinstance(operation, Read):
        return Bound(service, name, label, codec, _read(operation, env), reads=True, subject=subject)
    return Bound(service, name, label, codec, _coordinate(label, operation, env, ongoing), reads=True, subject=subject)


def _transact(operation: Transact, env: Environment) -> Run:
    submit, shard_of, handler = env.store.submit, operation.shard, operation.handler

    def attempt(txn: Any, request: Any) -> Any:
        txn.context.usage.clear()  # an earlier attempt at the same call may have counted
        return handler(txn, request)

    def run(context: RequestContext, request: Any, done: Done) -> None:
        submit(shard_of(context, request), attempt, request, context, done)

    return run


def _read(operation: Read, env: Environment) -> Run:
    submit, shard_of, handler = env.store.submit_read, operation.shard, operation.handler

    def attempt(txn: Any, request: Any) -> Any:
        txn.context.usage.clear()
        return handler(txn, request)

    def run(context: RequestContext, request: Any, done: Done) -> None:
        submit(shard_of(context, request), attempt, request, context, done)

    return run


def _coordinate(label: str, operation: Coordinate, env: Environment, ongoing: Ongoing) -> Run:
    tasks, handler, abandonable = env.tasks, operation.handler, operation.abandonable

    def run(context: RequestContext, request: Any, done: Done) -> Cancellation | None:
        work = handler(Context(context, env), request)
        task = tasks.spawn(label, _tell(work, done))
        return ongoing.waits(task).cancel if abandonable else None

    return run


async def _tell(work: Awaitable[Any], done: Done) -> None:
    try:
        result = await work
    except asyncio.CancelledError:
        done(None, ServiceUnavailableError("The wait was broken off: the caller left, or Tule is stopping."))
        raise
    except Exception as error:  # noqa: BLE001 - `done` tells every failure to the caller
        done(None, error)
    else:
        done(result, None)


def unbound(service: str, name: str) -> Bound:
    """An operation that can't be run, to refuse its calls in its own protocol."""
    return Bound(service, name, f"{service}:{name}", compiled(service, name), _never, reads=False)


def _never(*_: Any) -> None:
    raise AssertionError("an operation that is not bound was run")
