"""How a service describes itself to the rest of Tule.

A service is a folder `tule/services/<botocore name>/` whose `service.py` has one name, `SERVICE`. Folders are found by
iterating the package; a service is imported at its first call (or at start when the store holds work for it).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tule.kernel.clocks import MachineClock, ServiceClock
from tule.kernel.context import RequestContext
from tule.kernel.ports import Ports
from tule.kernel.randomness import RandomSource
from tule.kernel.tasks import Supervisor
from tule.net.messages import HttpRequest, HttpResponse
from tule.store.contract import Store
from tule.store.transaction import Handler, ReadHandler, ShardKey, Txn

ShardOf = Callable[[RequestContext, Any], ShardKey]
"""The shard an operation runs on, from its context and parsed request. May refuse with an `AwsError`."""


class ServiceClient(Protocol):
    """Another service's operations as coroutines: `await ctx.aws.sqs.send_message(QueueUrl=..., MessageBody=...)`.

    The call passes the same chain as one from outside. Arguments and results are those of boto3; failures are
    `AwsError` with `error_code`.
    """

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[dict[str, Any]]]: ...


class Aws(Protocol):
    """All services, by botocore's name (`ctx.aws.sqs`, `ctx.aws.lambda_`)."""

    def __getattr__(self, service: str) -> ServiceClient: ...


@dataclass(frozen=True, slots=True)
class Environment:
    """What a service is given at its start, and every coroutine of it sees."""

    store: Store
    clock: ServiceClock
    machine: MachineClock
    random: RandomSource
    tasks: Supervisor
    ports: Ports
    aws_for: Callable[[RequestContext], Aws]
    """Other services, called in the name of the given context."""
    background: Callable[[str, str], RequestContext]
    """A context for work that no request causes, in an account and region."""
    state: dict[str, Any] = field(default_factory=dict)
    """The service's own objects in memory, made by its `start`: pollers, pools, windows."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a coordinate handler gets: the call and the environment."""

    request: RequestContext
    env: Environment

    @property
    def store(self) -> Store:
        return self.env.store

    @property
    def aws(self) -> Aws:
        """Other services, called in the name of this call."""
        return self.env.aws_for(self.request)


Coroutine = Callable[[Context, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Transact:
    """An operation that is one transaction on one shard: `def send_message(txn: Txn, request) -> result`."""

    handler: Handler
    shard: ShardOf


@dataclass(frozen=True, slots=True)
class Read:
    """An operation that only reads, answered at once from committed state: `def get_item(txn: ReadTxn, request)`."""

    handler: ReadHandler
    shard: ShardOf


@dataclass(frozen=True, slots=True)
class Coordinate:
    """An operation that waits or spans shards: `async def receive_message(ctx: Context, request) -> result`."""

    handler: Coroutine
    abandonable: bool = False
    """Whether the work ends when the caller hangs up: right for a wait that would take something for nobody."""


Operation = Transact | Read | Coordinate


@dataclass(frozen=True, slots=True)
class Edge:
    """An application endpoint that speaks plain HTTP instead of an AWS protocol (an HTTP API, a function URL).

    `hosts` are host patterns in which "{id}" is one label, e.g. "{id}.execute-api.localhost"; `paths` are prefixes,
    e.g. "/_aws/execute-api/". The handler gets the request as it came.
    """

    name: str
    hosts: Sequence[str]
    paths: Sequence[str]
    handler: Callable[[Context, HttpRequest], Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class Service:
    """The declaration."""

    name: str
    """botocore's name."""
    operations: Mapping[str, Operation]
    """By the model's operation name. What is missing answers 501 by name."""
    receivers: Mapping[str, Callable[[Txn, bytes], None]] = field(default_factory=dict)
    """What `txn.send` may deliver to a shard of this service. May be run again; refuses with `AwsError` for a
    message that can never be taken (its fate is then recorded as dropped, with the reason)."""
    timers: Mapping[str, Callable[[Txn, bytes, bytes], None]] = field(default_factory=dict)
    """What `txn.due` runs: (txn, key, payload), in the batch that removes the entry."""
    edges: Sequence[Edge] = ()
    start: Callable[[Environment], Awaitable[None]] | None = None
    """Run once before the first call: recover pollers and other background work from the store."""
    stop: Callable[[Environment], Awaitable[None]] | None = None
    resources: str = ""
    """Module with `RESOURCES: Mapping[str, ResourceType]`, its CloudFormation types; loaded when used."""
    coverage: Mapping[str, str] = field(default_factory=dict)
    """Known differences by operation, for the generated reference."""
