"""A cloud of one service, without HTTP: what the tests of SQS's semantics talk to."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from tule.kernel.clocks import Instant, ServiceClock, SystemClock
from tule.kernel.context import RequestContext, new_trace, root_principal
from tule.kernel.faults import FaultPoints
from tule.kernel.ports import Ports, Span
from tule.kernel.randomness import SystemRandom
from tule.kernel.tasks import Supervisor
from tule.services.declaration import Context, Coordinate, Environment, Read, Service, Transact
from tule.services.sqs.names import shard_of_queue
from tule.services.sqs.queue import OwnedQueue
from tule.services.sqs.service import SERVICE
from tule.store import Engine, MemoryBackend, open_store
from tule.store.backend import EmbeddedBackend, RemoteBackend
from tule.store.memory import ForcedMissBackend
from tule.store.transaction import ReadTxn, ShardKey, Txn

ACCOUNT, REGION = "000000000000", "us-east-1"


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds."""
    while not condition():  # noqa: ASYNC110 - there is no event: the condition is what a user sees
        await asyncio.sleep(0)


class Spans:
    """Keeps what was recorded."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def record(self, span: Span) -> None:
        self.spans.append(span)


class Cloud:
    """Calls operations as the gateway would, one loop, paused time."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.kind = kind
        self.machine = SystemClock()
        self.random = SystemRandom()
        self.faults = FaultPoints()
        self.spans = Spans()
        self._location = str(directory / "store") if kind == "sqlite" else ":memory:"
        self._rows = MemoryBackend()
        self.run(self._open())

    async def _open(self) -> None:
        backend: EmbeddedBackend | RemoteBackend | None = None
        if self.kind == "memory":
            backend = self._rows
        elif self.kind == "misses":
            backend = ForcedMissBackend(self._rows)
        self.clock = ServiceClock(self.machine)
        self.tasks = Supervisor(self.machine)
        services: dict[str, Service] = {"sqs": SERVICE}
        self.store: Engine = open_store(
            self._location,
            machine=self.machine,
            clock=self.clock,
            random=self.random,
            faults=self.faults,
            tasks=self.tasks,
            service_of=services.get,
            backend=backend,
        )
        await self.store.start()
        self.clock.pause()
        ports = Ports(cast("Any", None), self.spans, cast("Any", None), cast("Any", None), self.faults)
        self.environment = Environment(
            self.store,
            self.clock,
            self.machine,
            self.random,
            self.tasks,
            ports,
            cast("Any", None),
            lambda _account, _region: self.context("Background"),
        )

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    def context(self, operation: str) -> RequestContext:
        return RequestContext(
            self.random.uuid(),
            "sqs",
            operation,
            ACCOUNT,
            REGION,
            root_principal(ACCOUNT),
            new_trace(self.random, 0),
            "http://localhost:4566",
        )

    async def start(self, operation: str, **request: Any) -> Any:
        context = self.context(operation)
        declared = SERVICE.operations[operation]
        if isinstance(declared, Coordinate):
            return await declared.handler(Context(context, self.environment), request)
        shard = declared.shard(context, request)
        handler = declared.handler
        if isinstance(declared, Transact):
            return await self.store.transact(shard, lambda txn: handler(cast("Txn", txn), request), context)
        assert isinstance(declared, Read)
        return await self.store.read(shard, lambda txn: handler(cast("Txn", txn), request), context)

    def call(self, operation: str, **request: Any) -> Any:
        return self.run(self.start(operation, **request))

    def advance(self, seconds: float) -> None:
        self.run(self.store.advance(Instant(self.clock.now() + round(seconds * 1000))))

    def quiet(self) -> None:
        self.run(self.store.quiet(10))

    def restart(self) -> None:
        """End and start again on the same rows; service time stands where it stood."""
        stood = self.clock.now()
        self.run(self._close())
        self.run(self._open())
        self.clock.step_to(stood)

    def forget(self, name: str) -> None:
        """Have the owner lose its memory of a queue, as after a failed commit or a hand-over."""
        self.quiet()
        self.store._shards[self.shard(name)].forget_memory()

    def shard(self, name: str) -> ShardKey:
        return shard_of_queue(ACCOUNT, REGION, name)

    async def _close(self) -> None:
        await self.store.close()
        await self.tasks.close()

    def close(self) -> None:
        self.run(self._close())
        self.loop.close()

    # What the tests say often.

    def queue(self, name: str = "orders", **attributes: str) -> str:
        url: str = self.call("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def send(self, url: str, body: str = "hello", **more: Any) -> str:
        number: str = self.call("SendMessage", QueueUrl=url, MessageBody=body, **more)["MessageId"]
        return number

    def receive(self, url: str, n: int = 10, wait: int = 0, **more: Any) -> list[dict[str, Any]]:
        answer = self.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=n, WaitTimeSeconds=wait, **more)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def bodies(self, url: str, n: int = 10, **more: Any) -> list[str]:
        return [message["Body"] for message in self.receive(url, n, **more)]

    def delete(self, url: str, message: dict[str, Any]) -> None:
        self.call("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def counts(self, url: str) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        shown = self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=names)["Attributes"]
        visible, in_flight, delayed = (int(shown[name]) for name in names)
        return visible, in_flight, delayed

    def ledger(self, name: str = "orders") -> dict[str, int]:
        """Fates of a queue's messages, pending ones included; those that are 0 are left out."""
        from tule.observe.ledger import ACCEPTED, FATES, counter_name

        self.quiet()

        def read(txn: ReadTxn) -> dict[str, int]:
            return {fate: txn.counter(counter_name(f"sqs:{name}", fate)) for fate in (ACCEPTED, *FATES)}

        values = self.run(self.store.read(self.shard(name), read, self.context("Ledger")))
        values["pending"] = values[ACCEPTED] - sum(values[fate] for fate in FATES)
        return {fate: value for fate, value in values.items() if value}

    def rows(self, name: str = "orders") -> list[bytes]:
        """Keys of a queue's messages in the store."""
        from tule.store.keys import pack, prefix_end
        from tule.store.layers.queues_rows import MESSAGES

        self.quiet()
        prefix = pack(MESSAGES)

        def read(txn: ReadTxn) -> list[bytes]:
            found = [key for key, _ in txn.scan(prefix, prefix_end(prefix), 1_000_000)]
            marks = (pack("c"), pack("d"))  # how far the queue was received and counted: one row each
            return [key for key in found if not key.endswith(marks)]

        found: list[bytes] = self.run(self.store.read(self.shard(name), read, self.context("Rows")))
        return found

    def owned(self, name: str = "orders") -> OwnedQueue:
        """What the owner remembers of a queue."""
        self.quiet()
        kept: OwnedQueue = self.store._shards[self.shard(name)].memory["queue"]
        return kept

    def owned_now(self, name: str) -> dict[Any, None]:
        """Who waits for a message at this moment."""
        kept: OwnedQueue | None = self.store._shards[self.shard(name)].memory.get("queue")
        return {} if kept is None else kept.waiting
