"""Rows in SQLite: one file, a write-ahead log that every commit syncs, read on the loop and written on a thread."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import apsw
import structlog

from tule.store.backend import CommitLostError, CommitRefusedError, Pair
from tule.store.batch import Batch, Step, steps

PAGE_BYTES: Final = 8192
"""Measured: as many operations a second as with 16 KiB, and a third less log."""
WAL_CAP_BYTES: Final = 6 * 1024 * 1024
"""Measured: a checkpoint of 4 to 8 MiB stalls commits for milliseconds, larger ones for tens of them."""
CACHE_KIB: Final = 32 * 1024
"""Pages each of the two connections keeps (ours)."""
ROWS_CACHE_BYTES: Final = 32 * 1024 * 1024
"""Rows the engine keeps by key (ours). A commit makes the loop's connection forget its pages, and these stay."""
CHECKPOINT_WAIT_MS: Final = 50
"""How long a checkpoint waits for the loop's snapshot; it is tried again after the next batch (ours)."""
STALLED_WAL_BYTES: Final = 4 * WAL_CAP_BYTES
"""The log's size beyond which checkpoints that fail are worth a line in the log."""

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS rows (key BLOB NOT NULL UNIQUE, value BLOB NOT NULL)"
_GET: Final = "SELECT value FROM rows WHERE key = ?"
_FORWARD: Final = "SELECT key, value FROM rows WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
_BACKWARD: Final = "SELECT key, value FROM rows WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?"
_PUT: Final = "INSERT INTO rows (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_DELETE: Final = "DELETE FROM rows WHERE key = ?"
_PUT_ALL: Final = """
INSERT INTO rows (key, value)
SELECT substr(value, 5, CAST(substr(value, 1, 4) AS INTEGER)), substr(value, 5 + CAST(substr(value, 1, 4) AS INTEGER))
FROM carray(?) WHERE true
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
"""Many rows at once, each as the length of its key in four digits, the key and the value. While a statement runs, the
loop has the interpreter; a statement a row makes the writer wait for it once a row."""
_DELETE_ALL: Final = "DELETE FROM rows WHERE key IN (SELECT value FROM carray(?))"
_DELETE_RANGE: Final = "DELETE FROM rows WHERE key >= ? AND key < ?"

_SYNC_FAILURES: Final = frozenset(
    (
        apsw.SQLITE_IOERR_FSYNC,
        apsw.SQLITE_IOERR_DIR_FSYNC,
        apsw.SQLITE_IOERR_CLOSE,
    )
)

_log = structlog.get_logger("tule.store")


def _connect(path: str, vfs: str | None, synchronous: str) -> apsw.Connection:
    connection = apsw.Connection(path, vfs=vfs)
    connection.set_busy_timeout(CHECKPOINT_WAIT_MS)
    for pragma in (
        f"page_size = {PAGE_BYTES}",
        "journal_mode = WAL",
        f"synchronous = {synchronous}",
        "wal_autocheckpoint = 0",
        f"cache_size = -{CACHE_KIB}",
        f"journal_size_limit = {WAL_CAP_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _statements(step: Step) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What does the step, with its bindings: one statement for all it puts, one for all it deletes."""
    for bounds in step.ranges:
        yield _DELETE_RANGE, bounds
    if puts := step.puts():
        if len(puts) == 1:
            yield _PUT, puts[0]
        else:
            yield _PUT_ALL, (apsw.carray(tuple([b"%4d%b%b" % (len(key), key, value) for key, value in puts])),)
    if deletes := step.deletes():
        if len(deletes) == 1:
            yield _DELETE, (deletes[0],)
        else:
            yield _DELETE_ALL, (apsw.carray(tuple(deletes)),)


def _is_sync_failure(error: apsw.Error) -> bool:
    # apsw sets the attribute on what SQLite reported, not on its own errors.
    return getattr(error, "extendedresult", None) in _SYNC_FAILURES


class SqliteReader:
    """The loop's own connection; its snapshot begins with the first read after a `refresh`."""

    __slots__ = ("_connection", "_execute", "_reading")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._reading = False

    def get(self, key: bytes) -> bytes | None:
        if not self._reading:
            self._begin()
        row = self._execute(_GET, (key,)).fetchone()
        return None if row is None else row[0]

    def range(self, start: bytes, end: bytes, limit: int, reverse: bool) -> list[Pair]:  # noqa: FBT001 - as `Reader`
        if not self._reading:
            self._begin()
        statement = _BACKWARD if reverse else _FORWARD
        return self._execute(statement, (start, end, limit)).fetchall()  # type: ignore[return-value]  # both are BLOBs

    def refresh(self) -> None:
        if self._reading:
            self._reading = False
            self._execute("COMMIT")

    def _begin(self) -> None:
        self._execute("BEGIN")
        self._reading = True


class SqliteBackend:
    """`path` is the database's file; `vfs` names a registered SQLite VFS, for tests that make disks fail.

    `synchronous` is FULL wherever data matters. The power-loss suite also runs with NORMAL, to prove that it would find
    the writes that are lost then.
    """

    threaded = True
    cache_bytes = ROWS_CACHE_BYTES

    def __init__(self, path: str, vfs: str | None = None, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> None:
        self._path = path
        self._synchronous = synchronous
        self._vfs = vfs
        self._loop_connection: apsw.Connection | None = None
        self._writer: apsw.Connection | None = None
        self._wal_pages = 0
        self._complained = False

    def open(self) -> SqliteReader:
        connection = _connect(self._path, self._vfs, self._synchronous)
        connection.execute(_SCHEMA)
        self._loop_connection = connection
        return SqliteReader(connection)

    def commit(self, batches: Sequence[Batch]) -> None:
        if self._writer is None:
            self._writer = _connect(self._path, self._vfs, self._synchronous)
            self._writer.set_wal_hook(self._log_grew)
        connection = self._writer
        execute = connection.execute
        statements = [statement for step in steps(batches) for statement in _statements(step)]
        try:
            if len(statements) == 1:  # is a transaction of its own, and the writer waits for the interpreter once
                execute(*statements[0])
            else:
                execute("BEGIN IMMEDIATE")
                for statement in statements:
                    execute(*statement)
                execute("COMMIT")
        except apsw.Error as error:
            raise self._failure(connection, error) from error
        self._checkpoint(connection)

    def backup(self, label: str) -> str:
        """A whole copy of the database beside it, durable when this returns; its path. On the loop's thread."""
        path = f"{self._path}.{label}.backup"
        copy = apsw.Connection(path)
        try:
            assert self._loop_connection is not None
            with copy.backup("main", self._loop_connection, "main") as work:
                work.step(-1)
        finally:
            copy.close()
        return path

    def close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self) -> None:
        if self._loop_connection is not None:
            self._loop_connection.close()
            self._loop_connection = None

    def _failure(self, connection: apsw.Connection, error: apsw.Error) -> Exception:
        """Roll back, and say whether that is certain to have undone everything."""
        if _is_sync_failure(error):
            return CommitLostError(f"The disk could not sync {self._path}: {error}")
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except apsw.Error as worse:
                return CommitLostError(f"{self._path} could not be rolled back: {worse}")
        return CommitRefusedError(f"{self._path}: {error}")

    def _checkpoint(self, connection: apsw.Connection) -> None:
        """Between batches, move the log into the database when it has reached its cap, and begin it anew."""
        size = self._wal_pages * PAGE_BYTES
        if size < WAL_CAP_BYTES:
            return
        try:
            # Begins the log anew without shortening its file: overwriting syncs faster than appending.
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
            self._wal_pages = 0
        except apsw.BusyError:
            pass
        except apsw.Error as error:
            if _is_sync_failure(error):
                raise CommitLostError(f"The disk could not sync {self._path}: {error}") from error
            if not self._complained:
                _log.warning("checkpoint failed; the log grows until one succeeds", path=self._path, error=str(error))
            self._complained = True
            return
        if size > STALLED_WAL_BYTES and not self._complained:
            _log.warning("the write-ahead log has outgrown its cap", path=self._path, bytes=size)
            self._complained = True

    def _log_grew(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK


def database_in(directory: Path) -> Path:
    return directory / "store.db"
