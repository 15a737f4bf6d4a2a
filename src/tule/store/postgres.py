"""Rows in PostgreSQL, written by one owner at a time.

Every commit first advances the sequence of the slots it writes, in the epoch this process owns them in. A process that
lost its slots finds no row to advance: it is fenced, and nothing of the batch is kept. After a lost connection the
sequence tells whether the batch happened.
"""

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import structlog

from tule.kernel.clocks import MachineClock, SystemClock
from tule.kernel.errors import ServiceUnavailableError
from tule.store.backend import (
    CommitLostError,
    CommitRefusedError,
    CommitUnknownError,
    Pair,
    Range,
    StoreUnusableError,
)
from tule.store.batch import Batch, steps
from tule.store.postgres_schema import FENCED, LOCK, SCHEMA, STATEMENTS
from tule.store.space import SLOTS

CACHE_BYTES: Final = 64 * 1024 * 1024
"""Rows the engine may keep in memory (ours)."""
FETCH_CONNECTIONS: Final = 4
"""Fetches under way at once (ours); a shard has one at a time."""
COMMAND_TIMEOUT_S: Final = 30.0
"""The longest any statement may take before the connection is given up (ours)."""
FIND_OUT_S: Final = 2.0
"""How long a lost server is looked for before a batch's callers are told that its outcome is unknown (ours)."""
RETRY_S: Final = 0.25
TAKE_OVER_MS: Final = 2_000
"""How long a start waits for the lock of a process that may just have died (ours)."""

_SETTINGS: Final = {
    "application_name": "tule",
    "enable_seqscan": "off",  # rows are found by key alone; statistics of a young table would say otherwise
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}

_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver says when a session ends while a statement is on its way
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.IdleSessionTimeoutError,
    OSError,
    TimeoutError,
)

_log = structlog.get_logger("tule.store")


class NotDurableError(StoreUnusableError):
    """The server may forget what it acknowledged."""


class StoreInUseError(StoreUnusableError):
    """Another process owns the slots; the message names it."""


class UnreachableError(StoreUnusableError):
    """There is no such server or database, or it lets nobody in."""


class FencedError(CommitLostError):
    """Another process has taken the slots over; this one must end."""


class PostgresBackend:
    """`location` is a postgresql:// URL. Everything lies in the schema `tule` of that database."""

    cache_bytes = CACHE_BYTES

    def __init__(self, location: str, machine: MachineClock | None = None) -> None:
        self._location = location
        self._machine = machine or SystemClock()
        self._pool: asyncpg.Pool[Any] | None = None
        self._owner: asyncpg.Connection[Any] | None = None
        """The connection that commits. It also holds the lock that says this process is alive."""
        self._owner_pid = 0
        self._epoch = 0
        self._sequences = [0] * SLOTS
        self._closing = False
        self._connecting = asyncio.Lock()
        self._in_doubt = False
        """Whether it is unknown what became of the last commit: nothing is read before that is known."""
        self._doubts = 0

    async def open(self) -> None:
        """Check that the server keeps its word, make the schema, and take the slots over from whoever had them.

        Raises `NotDurableError`, `StoreInUseError` or `UnreachableError`.
        """
        try:
            connection = await self._connect()
            try:
                await _check_durable(connection)
                await self._take_slots(connection)
                self._pool = await asyncpg.create_pool(
                    self._location,
                    min_size=1,
                    max_size=FETCH_CONNECTIONS,
                    command_timeout=COMMAND_TIMEOUT_S,
                    server_settings=_SETTINGS,
                )
            except BaseException:
                await connection.close()
                raise
        except (ValueError, asyncpg.PostgresError, *_LOST) as error:
            raise UnreachableError(_why_not(error)) from error
        self._owner, self._owner_pid = connection, connection.get_server_pid()

    async def close(self) -> None:
        self._closing = True
        if self._pool is not None:
            await self._pool.close()
        if self._owner is not None:
            await self._owner.close()

    async def fetch(
        self, keys: Sequence[bytes], ranges: Sequence[Range]
    ) -> tuple[list[bytes | None], list[list[Pair]]]:
        """See `RemoteBackend.fetch`. Raises `ServiceUnavailableError` while the server is away."""
        assert self._pool is not None, "open() was awaited"
        try:
            if self._in_doubt:
                await self._ready()
            doubts = self._doubts
            async with self._pool.acquire() as connection:
                if keys and not ranges:
                    found: tuple[list[bytes | None], list[list[Pair]]] = await _values(connection, keys), []
                else:
                    async with connection.transaction(isolation="repeatable_read", readonly=True):
                        values = await _values(connection, keys) if keys else []
                        found = values, await _ranges(connection, ranges)
        except (asyncpg.PostgresError, *_LOST) as error:
            raise ServiceUnavailableError(f"The store could not be read: {_text(error)}") from error
        if doubts != self._doubts:
            raise ServiceUnavailableError("The store could not be read: the connection to PostgreSQL was lost.")
        return found

    async def commit(self, batches: Sequence[Batch]) -> None:
        """See `RemoteBackend.commit`. Raises `FencedError` when another process has the slots."""
        slots = sorted({slot for batch in batches for slot in batch.slots()}) or [0]
        try:
            connection = await self._ready()
        except _LOST as error:
            raise CommitRefusedError(f"PostgreSQL can't be reached: {_text(error)}") from error
        try:
            await self._write(connection, slots, batches)
        except asyncpg.RaiseError as error:
            if FENCED not in str(error):
                raise CommitRefusedError(f"PostgreSQL refused: {error}") from error
            raise FencedError("Another Tule has taken this store over; this one stops.") from error
        except _LOST as error:
            await self._find_out(slots, error)
            return
        except asyncpg.PostgresError as error:
            raise CommitRefusedError(f"PostgreSQL refused: {error}") from error
        for slot in slots:
            self._sequences[slot] += 1

    async def erase(self) -> None:
        """See `RemoteBackend.erase`. The slots and their epochs stay: they fence off whoever was the owner before."""
        connection = await self._ready()
        async with connection.transaction():
            await connection.fetch("SELECT id FROM tule.slot ORDER BY id FOR UPDATE")
            await self._still_owner(connection)
            await connection.execute("TRUNCATE tule.rows")

    async def _connect(self) -> "asyncpg.Connection[Any]":
        return await asyncpg.connect(
            self._location, command_timeout=COMMAND_TIMEOUT_S, timeout=COMMAND_TIMEOUT_S, server_settings=_SETTINGS
        )

    async def _take_slots(self, connection: "asyncpg.Connection[Any]") -> None:
        try:
            # A process that was killed a moment ago holds the lock until the server has noticed.
            await connection.execute(f"SET lock_timeout = {TAKE_OVER_MS}; SELECT pg_advisory_lock({LOCK})")
        except asyncpg.LockNotAvailableError as error:
            raise StoreInUseError(await _owner_of(connection)) from error
        await connection.execute("SET lock_timeout = 0")
        async with connection.transaction():
            await connection.execute(SCHEMA)
            for statement in STATEMENTS:
                await connection.execute(statement)
            rows = await connection.fetch("SELECT id, epoch, seq FROM tule.slot ORDER BY id FOR UPDATE")
            self._epoch = max(row["epoch"] for row in rows) + 1
            self._sequences = [row["seq"] for row in rows]
            await connection.execute("UPDATE tule.slot SET epoch = $1", self._epoch)
            await connection.execute(
                "INSERT INTO tule.owner (id, host, pid, epoch) VALUES (1, $1, $2, $3) "
                "ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, epoch = excluded.epoch",
                socket.gethostname(),
                os.getpid(),
                self._epoch,
            )

    async def _write(self, connection: "asyncpg.Connection[Any]", slots: list[int], batches: Sequence[Batch]) -> None:
        sequences = [self._sequences[slot] for slot in slots]
        work = list(steps(batches))
        if len(work) == 1 and not work[0].ranges:
            await self._step(connection, slots, sequences, work[0].writes)
            return
        async with connection.transaction():
            for step in work:
                for start, end in step.ranges:
                    await connection.execute("DELETE FROM tule.rows WHERE key >= $1 AND key < $2", start, end)
                # The first step fences; the later ones have no slot left to advance.
                await self._step(connection, slots, sequences, step.writes)
                slots, sequences = [], []

    async def _step(
        self,
        connection: "asyncpg.Connection[Any]",
        slots: list[int],
        sequences: list[int],
        writes: dict[bytes, bytes | None],
    ) -> None:
        kept = [(key, value) for key, value in writes.items() if value is not None]
        await connection.fetchval(
            "SELECT tule.commit($1, $2, $3, $4, $5, $6)",
            slots,
            sequences,
            self._epoch,
            [key for key, _ in kept],
            [value for _, value in kept],
            [key for key, value in writes.items() if value is None],
        )

    async def _ready(self) -> "asyncpg.Connection[Any]":
        """A live connection of the owner's. Raises one of `_LOST` if there is none and none can be made."""
        async with self._connecting:
            connection = self._owner
            if connection is None or connection.is_closed():
                connection = await self._reconnect()
            return connection

    async def _reconnect(self) -> "asyncpg.Connection[Any]":
        """Connect anew and go on as the owner, if nobody took over meanwhile, from where the slots really are."""
        async with asyncio.timeout(FIND_OUT_S):
            connection = await self._connect()
        try:
            await self._still_owner(connection)
            await self._lock_again(connection)
            # A lost statement that is still running holds its slots; this waits for its end.
            rows = await connection.fetch("SELECT id, seq FROM tule.slot ORDER BY id FOR UPDATE")
        except BaseException:
            connection.terminate()
            raise
        self._sequences = [row["seq"] for row in rows]
        self._owner, self._owner_pid = connection, connection.get_server_pid()
        self._in_doubt = False
        return connection

    async def _still_owner(self, connection: "asyncpg.Connection[Any]") -> None:
        epoch = await connection.fetchval("SELECT max(epoch) FROM tule.slot")
        if epoch != self._epoch:
            raise FencedError("Another Tule has taken this store over; this one stops.")

    async def _lock_again(self, connection: "asyncpg.Connection[Any]") -> None:
        """Have the server end the lost session, which holds the lock until that is noticed, and lock anew."""
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1", self._owner_pid
        )
        try:
            await connection.execute(f"SET lock_timeout = {TAKE_OVER_MS}; SELECT pg_advisory_lock({LOCK})")
        except asyncpg.LockNotAvailableError:
            # Somebody may be about to take the store over; the fence alone keeps writes apart.
            _log.warning("the store's lock is held by another session")
        await connection.execute("SET lock_timeout = 0")

    async def _find_out(self, slots: list[int], lost: BaseException) -> None:
        """The connection went away under a commit: return if it happened, raise if it did not or can't be known yet."""
        before = [self._sequences[slot] for slot in slots]
        if self._owner is not None:
            self._owner.terminate()
        deadline_s = self._machine.monotonic_s() + FIND_OUT_S
        while True:
            try:
                await self._ready()
                break
            except _LOST as error:
                if self._closing or self._machine.monotonic_s() > deadline_s:
                    self._in_doubt = True
                    self._doubts += 1
                    raise CommitUnknownError(f"PostgreSQL went away under a commit: {_text(error)}") from lost
                await self._machine.sleep(RETRY_S)
        if [self._sequences[slot] for slot in slots] == before:
            raise CommitRefusedError(
                f"The connection to PostgreSQL was lost before the commit: {_text(lost)}"
            ) from lost
        _log.info("a commit outlived its connection", slots=len(slots))


def _text(error: BaseException) -> str:
    """A timeout comes without words of its own."""
    return str(error) or "no answer in time"


def _why_not(error: Exception) -> str:
    """What is wrong with the server or its URL. The URL itself is not repeated: it may hold a password."""
    why = _text(error)
    if isinstance(error, (ValueError, asyncpg.InterfaceError)):
        return f"The URL given as --store can't be used: {why}. It looks like postgresql://user@host:5432/database."
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"PostgreSQL says: {why}. Make it (createdb), or name another in --store."
    if isinstance(error, asyncpg.PostgresError):
        return f"PostgreSQL says: {why}. Tule needs a database in which it may make a schema; see --store."
    return f"PostgreSQL can't be reached: {why}. Start it, or give another URL as --store."


async def _check_durable(connection: "asyncpg.Connection[Any]") -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        value = await connection.fetchval("SELECT current_setting($1)", setting)
        if value == "off":
            raise NotDurableError(
                f"PostgreSQL runs with {setting} = off, so it may lose writes it has acknowledged. Set {setting} = on "
                "in postgresql.conf, or use another server."
            )


async def _owner_of(connection: "asyncpg.Connection[Any]") -> str:
    known = await connection.fetchval("SELECT to_regclass('tule.owner') IS NOT NULL")
    row = await connection.fetchrow("SELECT host, pid FROM tule.owner WHERE id = 1") if known else None
    who = "another process" if row is None else f"the process {row['pid']} on {row['host']}"
    return f"The store is in use by {who}. Stop it, or choose another database."


async def _values(connection: Any, keys: Sequence[bytes]) -> list[bytes | None]:
    rows = await connection.fetch(
        "SELECT r.value FROM unnest($1::bytea[]) WITH ORDINALITY AS k(key, n) "
        "LEFT JOIN tule.rows r ON r.key = k.key ORDER BY k.n",
        list(keys),
    )
    return [row[0] for row in rows]


async def _ranges(connection: Any, ranges: Sequence[Range]) -> list[list[Pair]]:
    found: list[list[Pair]] = []
    for asked in ranges:
        direction = "DESC" if asked.reverse else "ASC"
        rows = await connection.fetch(
            f"SELECT key, value FROM tule.rows WHERE key >= $1 AND key < $2 ORDER BY key {direction} LIMIT $3",  # noqa: S608 - one of two words
            asked.start,
            asked.end,
            asked.limit,
        )
        found.append([(row[0], row[1]) for row in rows])
    return found
