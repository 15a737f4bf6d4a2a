"""What a handler sees of the store: a shard, and a transaction on it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext

T = TypeVar("T")


class ShardKey(NamedTuple):
    """The unit of atomicity and order: a queue, a bucket, all tables of one account and region, ...

    `kind` and `name` are the service's own, e.g. ShardKey("sqs", account, region, "queue", queue_name).
    """

    service: str
    account: str
    region: str
    kind: str
    name: str = ""


class Target(NamedTuple):
    """Where an outbox entry goes: the `receiver` that `shard.service` declares, run on `shard`."""

    shard: ShardKey
    receiver: str


class DirectoryEntry(NamedTuple):
    """One resource in a list that spans shards."""

    name: str
    value: bytes


class ReadTxn(Protocol):
    """A view of one shard. In a transact it is committed state under the overlay; in a read, committed state alone.

    Keys are bytes, made with `tule.store.keys.pack`, and are relative to the shard.
    """

    shard: ShardKey
    now: Instant
    context: RequestContext

    def get(self, key: bytes) -> bytes | None: ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Pairs with start <= key < end in key order, or from the end backwards."""

    def ahead(self, keys: Sequence[bytes]) -> None:
        """A hint: fetch these together with the next key that is not in memory."""

    def counter(self, name: str) -> int:
        """The sum of all `count` calls for `name` on this shard, as far as committed."""

    def memory(self, name: str, build: Callable[["ReadTxn"], T]) -> T:
        """An object the shard's owner keeps in memory, made by `build` when it is missing.

        It must be rebuildable from the store: it is dropped after a failed commit and with ownership. It is the same
        object in every run; change it through `Txn.then` alone.
        """


class Txn(ReadTxn, Protocol):
    """One atomic, durable change of one shard. A handler that holds one never awaits and may be run again."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None: ...

    def delete_range(self, start: bytes, end: bytes) -> None: ...

    def count(self, name: str, n: int) -> None:
        """Add `n` to a counter; commutative, written once a batch, so never a hot row."""

    def enlist(self, kind: str, name: str, value: bytes) -> None:
        """Write this resource into the directory of (service, account, region, kind), which spans shards."""

    def delist(self, kind: str, name: str) -> None:
        """Take it out again."""

    def send(self, target: Target, message: bytes) -> None:
        """Hand `message` to another shard: durable with this batch, then delivered in order, once in effect."""

    def due(self, at: Instant, timer: str, key: bytes, payload: bytes = b"") -> None:
        """Run the service's declared `timer` on this shard at service time `at`.

        (timer, key) names the entry: writing it again moves it to the new time.
        """

    def cancel_due(self, timer: str, key: bytes) -> None:
        """Forget an entry; one that doesn't exist is fine."""

    def then(self, effect: Callable[[], None]) -> None:
        """Run `effect` when the batch has been appended (memory, wake-ups). Not after a refusal or for a rerun.

        An effect changes memory of the owner only. What tells anyone outside belongs behind the commit: see
        `after_commit`.
        """

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Run `effect` once the batch is durable, e.g. to wake whoever waits for a message."""

    def new_id(self) -> int:
        """A number larger than any the shard's slot gave before, across restarts and hand-overs (below 2**63)."""

    def random(self, n: int) -> bytes:
        """`n` random bytes."""


Handler = Callable[[Txn, Any], Any]
"""A transact handler: (txn, request) -> result. It raises `AwsError` to refuse; a refusal changes nothing."""

ReadHandler = Callable[[ReadTxn, Any], Any]
