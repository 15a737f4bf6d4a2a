"""What an engine needs of whatever keeps its rows. Two kinds: embedded, read on the spot, and remote, read by fetches.

Both keep byte strings under byte strings in key order and commit batches atomically and durably, in the order given.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from tule.store.batch import Batch

Pair = tuple[bytes, bytes]


class Range(NamedTuple):
    """Pairs with start <= key < end, at most `limit` of them, from the end backwards if `reverse`."""

    start: bytes
    end: bytes
    limit: int
    reverse: bool = False


class StoreUnusableError(Exception):
    """The store can't be opened; the message says why and what to do."""


class CommitRefusedError(Exception):
    """Nothing of the batches was kept, and that is certain: disk full, read-only, not connected."""


class CommitUnknownError(CommitRefusedError):
    """A remote backend can't tell yet whether the batches were kept. It finds out before it reads or writes again."""


class CommitLostError(Exception):
    """It can't be known what was kept, as after a failed fsync. The process ends; the store tells at the next start."""


class Reader(Protocol):
    """Committed state, as one snapshot until the next `refresh`. Used on the loop's thread alone."""

    def get(self, key: bytes) -> bytes | None: ...

    def range(self, start: bytes, end: bytes, limit: int, reverse: bool) -> list[Pair]: ...  # noqa: FBT001 - hot path, positional

    def refresh(self) -> None:
        """Let the snapshot go; the next read takes a new one."""


class EmbeddedBackend(Protocol):
    """Rows on this machine: read synchronously on the loop, committed by a writer (thread)."""

    threaded: bool
    """Whether `commit` blocks and so belongs on a thread of its own."""
    cache_bytes: int
    """How much of what was read or written by key the engine may keep in memory; 0 where that is no faster."""

    def open(self) -> Reader:
        """Open for reading, on the loop's thread."""

    def commit(self, batches: Sequence[Batch]) -> None:
        """Make all of them durable as one, or raise `CommitRefusedError` or `CommitLostError`. The writer's thread."""

    def close(self) -> None:
        """After the writer has ended, on the loop's thread."""

    def close_writer(self) -> None:
        """The last call on the writer's thread."""


@runtime_checkable
class RemoteBackend(Protocol):
    """Rows elsewhere: what a handler reads is fetched first, and the handler is run again."""

    cache_bytes: int
    """How much of what was fetched or written the engine may keep in memory; 0 forces a miss on every first read."""

    async def open(self) -> None: ...

    async def fetch(
        self, keys: Sequence[bytes], ranges: Sequence[Range]
    ) -> tuple[list[bytes | None], list[list[Pair]]]:
        """Values and rows of committed state, in the order asked, all from one snapshot."""

    async def commit(self, batches: Sequence[Batch]) -> None:
        """As `EmbeddedBackend.commit`. Called again only after it returned or raised."""

    async def erase(self) -> None:
        """Delete every row, durably. Nothing is committed after it."""

    async def close(self) -> None: ...
