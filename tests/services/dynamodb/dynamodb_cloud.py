"""A cloud of DynamoDB alone, without HTTP: what the tests of its semantics talk to."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import msgspec

from tule.kernel.clocks import Instant, ServiceClock, SystemClock
from tule.kernel.context import RequestContext, new_trace, root_principal
from tule.kernel.errors import AwsError
from tule.kernel.faults import FaultPoints
from tule.kernel.randomness import SeededRandom
from tule.kernel.tasks import Supervisor
from tule.services.declaration import Transact
from tule.services.dynamodb.service import SERVICE
from tule.store import open_store
from tule.store.memory import ForcedMissBackend, MemoryBackend
from tule.wire import RawJson

_accounts = itertools.count(100_000_000_000)


class Cloud:
    """Runs operations as the gateway would; every cloud of a kind shares one engine and has its own account."""

    def __init__(self, engine: "Engines", account: str) -> None:
        self._engine = engine
        self.account = account

    def __call__(self, operation: str, **request: Any) -> Any:
        return self._engine.call(self.account, operation, request)

    def refused(self, operation: str, **request: Any) -> str:
        """The message of the error that the operation answers."""
        return self.refusal(operation, **request).message

    def refusal(self, operation: str, **request: Any) -> AwsError:
        try:
            answer = self(operation, **request)
        except AwsError as error:
            return error
        raise AssertionError(f"{operation} was answered with {answer}")

    def table(self, name: str = "things", *, sort: str = "", **more: Any) -> str:
        """A table with the string key `pk`, and a sort key "name:type" if asked for."""
        keys = [("pk", "S", "HASH")]
        if sort:
            sort_name, _, tag = sort.partition(":")
            keys.append((sort_name, tag or "S", "RANGE"))
        definitions = [{"AttributeName": key, "AttributeType": tag} for key, tag, _ in keys]
        self(
            "CreateTable",
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, _, kind in keys],
            AttributeDefinitions=[*definitions, *more.pop("definitions", [])],
            BillingMode="PAY_PER_REQUEST",
            **more,
        )
        return name

    def put(self, table: str, **item: Any) -> None:
        self("PutItem", TableName=table, Item=item)

    def advance(self, milliseconds: int) -> None:
        self._engine.advance(milliseconds)


class Engines:
    """One engine on a loop of its own."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.machine = SystemClock()
        self.clock = ServiceClock(self.machine)
        self.random = SeededRandom(11)
        self.tasks = Supervisor(self.machine)
        backend = {"memory": MemoryBackend, "misses": ForcedMissBackend}.get(kind)
        self.engine = open_store(
            ":memory:" if backend else str(directory),
            machine=self.machine,
            clock=self.clock,
            random=self.random,
            faults=FaultPoints(),
            tasks=self.tasks,
            service_of={"dynamodb": SERVICE}.get,
            backend=backend() if backend else None,
        )
        self.loop.run_until_complete(self.engine.start())

    def cloud(self) -> Cloud:
        return Cloud(self, f"{next(_accounts):012d}")

    def call(self, account: str, operation: str, request: dict[str, Any]) -> Any:
        declared = SERVICE.operations[operation]
        context = RequestContext(
            self.random.uuid(),
            "dynamodb",
            operation,
            account,
            "eu-west-1",
            root_principal(account),
            new_trace(self.random, 0),
            "http://localhost:4566",
        )
        # Handlers may change what they are given, as they own what the wire has parsed.
        given = msgspec.json.decode(msgspec.json.encode(request))
        run = self.engine.transact if isinstance(declared, Transact) else self.engine.read
        work = run(declared.shard(context, given), lambda txn: declared.handler(txn, given), context)
        return opened(self.loop.run_until_complete(asyncio.wait_for(work, 60)))

    def advance(self, milliseconds: int) -> None:
        at = Instant(self.clock.now() + milliseconds)
        self.loop.run_until_complete(asyncio.wait_for(self.engine.advance(at), 60))

    def close(self) -> None:
        self.loop.run_until_complete(self.engine.close())
        self.loop.run_until_complete(self.tasks.close())
        self.loop.close()


def opened(value: Any) -> Any:
    """A result as a client reads it."""
    if isinstance(value, RawJson):
        return msgspec.json.decode(bytes(value))
    if isinstance(value, dict):
        return {name: opened(part) for name, part in value.items()}
    return [opened(part) for part in value] if isinstance(value, list) else value
