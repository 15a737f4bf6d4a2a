"""Traces on disk: rows of compressed spans, found by the time and a fingerprint of their trace."""

import os
import zlib
from typing import Final

import apsw
import msgspec

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""Compressed spans kept on disk (ours: about 30 million); the oldest chunks go first."""

MAX_MEMORY_BYTES: Final = 16 * 1024 * 1024
"""The same when there is no file."""

COMPRESSION: Final = 1
"""zlib's fastest level: five times smaller at a third of level 6's time."""

_FORMAT: Final = 1
_CLOCK_SLACK_S: Final = 2
_PRINT_BYTES: Final = 4


class StoredSpan(msgspec.Struct, frozen=True, array_like=True):
    """A span as it is kept: `tule.kernel.ports.Span` with its trace context taken apart."""

    trace: str
    span: str
    parent: str
    name: str
    kind: str
    start_us: int
    end_us: int
    account: str
    region: str
    resource: str
    status: str
    request_id: str
    units: tuple[tuple[str, float], ...]
    notes: tuple[tuple[str, str], ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[StoredSpan])


class TraceFile:
    """One SQLite file, or memory for "". Used by one thread only."""

    def __init__(self, path: str, max_bytes: int | None = None) -> None:
        self._path = path
        self._max_bytes = max_bytes or (MAX_FILE_BYTES if path else MAX_MEMORY_BYTES)
        self._connection: apsw.Connection | None = None
        self._bytes = 0

    def append(self, spans: list[StoredSpan]) -> None:
        """Keep `spans`, and drop the oldest chunks that no longer fit."""
        body = zlib.compress(_encoder.encode(spans), COMPRESSION)
        prints = b"".join(sorted({_fingerprint(span.trace) for span in spans}))
        end_us = max(span.end_us for span in spans)
        connection = self._open()
        with connection:
            connection.execute("INSERT INTO chunk (end_us, prints, body) VALUES (?, ?, ?)", (end_us, prints, body))
            self._bytes += len(body) + len(prints)
            while self._bytes > self._max_bytes:
                self._drop_oldest(connection)

    def trace(self, root: str) -> list[StoredSpan]:
        """Every kept span of the trace `root`, by start."""
        found = self._search(root, _begin_us(root)) or self._search(root, 0)
        return sorted(found, key=lambda span: (span.start_us, span.end_us))

    def _search(self, root: str, since_us: int) -> list[StoredSpan]:
        wanted = _fingerprint(root)
        found: list[StoredSpan] = []
        for prints, body in self._open().execute("SELECT prints, body FROM chunk WHERE end_us >= ?", (since_us,)):
            if _has(prints, wanted):
                found += [span for span in _unpack(body) if span.trace == root]
        return found

    def recent_roots(self, limit: int) -> list[StoredSpan]:
        """The newest spans without a parent, newest first."""
        found: list[StoredSpan] = []
        for (body,) in self._open().execute("SELECT body FROM chunk ORDER BY id DESC"):
            found += [span for span in _unpack(body) if not span.parent]
            if len(found) >= limit:
                break
        return sorted(found, key=lambda span: -span.start_us)[:limit]

    def clear(self) -> None:
        self._open().execute("DELETE FROM chunk")
        self._bytes = 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            if self._path:
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = apsw.Connection(self._path or ":memory:")
            connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-2000")
            (version,) = connection.execute("PRAGMA user_version").fetchone()  # type: ignore[misc]  # a pragma has a row
            if version not in (0, _FORMAT):
                connection.execute("DROP TABLE IF EXISTS chunk")  # traces are relaxed: another format starts afresh
            connection.execute(
                "CREATE TABLE IF NOT EXISTS chunk (id INTEGER PRIMARY KEY, end_us INTEGER, prints BLOB, body BLOB);"
                f"PRAGMA user_version={_FORMAT}"
            )
            rows = connection.execute("SELECT coalesce(sum(length(body) + length(prints)), 0) FROM chunk").fetchone()
            self._bytes = rows[0] if rows else 0
            self._connection = connection
        return self._connection

    def _drop_oldest(self, connection: apsw.Connection) -> None:
        row = connection.execute("SELECT id, length(body) + length(prints) FROM chunk ORDER BY id LIMIT 1").fetchone()
        if row is None:
            self._bytes = 0
            return
        connection.execute("DELETE FROM chunk WHERE id = ?", (row[0],))
        self._bytes -= row[1]


def _unpack(body: bytes) -> list[StoredSpan]:
    return _decoder.decode(zlib.decompress(body))


def _fingerprint(root: str) -> bytes:
    return zlib.crc32(root.encode()).to_bytes(_PRINT_BYTES, "big")


def _has(prints: bytes, wanted: bytes) -> bool:
    at = prints.find(wanted)
    while at >= 0 and at % _PRINT_BYTES:
        at = prints.find(wanted, at + 1)
    return at >= 0


def _begin_us(root: str) -> int:
    """No span of a trace ends before the time in its name (1-<seconds in hex>-...), unless a caller's clock is off."""
    try:
        return (int(root.split("-")[1], 16) - _CLOCK_SLACK_S) * 1_000_000
    except (IndexError, ValueError):
        return 0
