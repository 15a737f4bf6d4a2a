"""The store as its callers see it; `tule.store.engine` implements it."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext
from tule.store.transaction import DirectoryEntry, Handler, ReadHandler, ReadTxn, ShardKey, Txn

T = TypeVar("T")

Done = Callable[[Any, BaseException | None], None]
"""Called once, on the loop, with the handler's result or with what it raised, when either may be told: after the
newest transaction that the shard had appended is durable."""


class Cancel(Protocol):
    """An alarm or subscription that can be called off."""

    def cancel(self) -> None: ...


class Store(Protocol):
    """Shards, their transactions and their time."""

    def submit(self, shard: ShardKey, handler: Handler, request: Any, context: RequestContext, done: Done) -> None:
        """Run a transact handler; the fast path of the gateway, without a task or a future."""

    def submit_read(
        self, shard: ShardKey, handler: ReadHandler, request: Any, context: RequestContext, done: Done
    ) -> None:
        """Run a read-only handler on committed state; on an embedded engine `done` is called before this returns."""

    async def transact(self, shard: ShardKey, work: Callable[[Txn], T], context: RequestContext) -> T:
        """`submit` for coroutines."""

    async def read(self, shard: ShardKey, work: Callable[[ReadTxn], T], context: RequestContext) -> T:
        """`submit_read` for coroutines."""

    async def directory(  # noqa: PLR0913 - the five parts of a directory key, and where the page begins
        self,
        service: str,
        account: str,
        region: str,
        kind: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
    ) -> list[DirectoryEntry]:
        """Committed entries in name order whose name starts with `prefix` and is greater than `after`."""

    def alarm(self, at: Instant, callback: Callable[[], None]) -> Cancel:
        """Call back at a moment of service time; in memory only, for waiters that a restart ends anyway."""

    def digest(self) -> str:
        """A hash over all committed keys and values that requests wrote, to prove that a refusal changed nothing."""
