"""Tables: rows found by partition key and sort key, in the order of the sort keys within a partition.

A row's place is its partition's hash, the partition key and the sort key, all as bytes whose order is that of the
values they stand for. Partitions lie in the order of their hashes, so a scan is cut into even segments without
reading anything. A table's items and each of its indexes are `Rows` of their own, under one generation: a table that
is deleted and made again gets a new one, and `erase` clears the old one in the background.

A row is its size in bytes as its owner counts it (4 bytes), then its body, which this layer does not look into.
"""

from hashlib import sha256
from typing import Final, NamedTuple
from zlib import crc32

from tule.store.keys import after, pack, prefix_end
from tule.store.transaction import ReadTxn, Txn

HEAD_BYTES: Final = 4
ERASED_ROWS: Final = 500
"""Rows that one transaction erases (ours: about 3 ms of the writer)."""
FIRST_ROWS: Final = 32
"""Rows of the first read of a page; how many the next ones ask for follows from their sizes (ours)."""
MOST_ROWS: Final = 1_000
LONGEST_INLINE: Final = 100
"""A longer partition key is placed by its digest: nothing asks for partitions in order (ours, for the key limit)."""
LONGEST_TIE: Final = 64
"""What tells apart rows of an index with equal keys is a digest beyond this length (ours, for the key limit)."""

_END: Final = b"\x00\x01"
_DIGEST_END: Final = b"\x00\x02"
_SPREAD: Final = 2654435761
"""Knuth's multiplier: CRC-32 alone keeps similar keys close in its upper bits."""


Pair = tuple[bytes, bytes]
"""A row's key and the row."""


class Rows:
    """The rows of a table (index 0) or of one of its indexes."""

    __slots__ = ("_tail", "bytes_counter", "count_counter", "end", "prefix")

    def __init__(self, generation: int, index: int = 0) -> None:
        self.prefix = pack("row", generation, index)
        self.end = prefix_end(self.prefix)
        self._tail = len(self.prefix)
        self.count_counter = f"rows/{generation}/{index}"
        self.bytes_counter = f"bytes/{generation}/{index}"

    def partition(self, partition: bytes) -> bytes:
        """What the keys of all rows of a partition begin with."""
        place = (crc32(partition) * _SPREAD & 0xFFFFFFFF).to_bytes(4, "big")
        if len(partition) > LONGEST_INLINE:
            return self.prefix + place + escaped(sha256(partition).digest()) + _DIGEST_END
        return self.prefix + place + escaped(partition) + _END

    def key(self, partition: bytes, sort: bytes = b"") -> bytes:
        """The key of a row of a table; `sort` is the rest of it as it is."""
        return self.partition(partition) + sort

    def index_key(self, partition: bytes, sort: bytes | None, item_key: bytes) -> bytes:
        """The key of an index's row: its own keys, then what tells it from others with the same ones.

        `item_key` is the key of the item's row in the table.
        """
        tie = item_key[self._tail :]
        if len(tie) > LONGEST_TIE:
            tie = sha256(tie).digest()
        between = b"" if sort is None else escaped(sort) + _END
        return self.partition(partition) + between + tie

    def segment(self, number: int, total: int) -> tuple[bytes, bytes]:
        """The range of keys of one of `total` even parts."""
        first, last = (number << 32) // total, ((number + 1) << 32) // total
        start = self.prefix + first.to_bytes(4, "big") if number else self.prefix
        return start, self.end if number == total - 1 else self.prefix + last.to_bytes(4, "big")

    def holds(self, key: bytes, number: int, total: int) -> bool:
        """Whether a key belongs to that segment."""
        start, end = self.segment(number, total)
        return start <= key < end

    def count(self, txn: ReadTxn) -> int:
        return txn.counter(self.count_counter)

    def size_bytes(self, txn: ReadTxn) -> int:
        return txn.counter(self.bytes_counter)


def escaped(raw: bytes) -> bytes:
    """Bytes that sort as `raw` does, also when something follows them after a terminator."""
    return raw.replace(b"\x00", b"\x00\xff") if b"\x00" in raw else raw


def sort_end(raw: bytes) -> bytes:
    """The part of an index's sort key with its terminator."""
    return escaped(raw) + _END


def row(size: int, body: bytes) -> bytes:
    """A row of `size` bytes as its owner counts them."""
    return size.to_bytes(HEAD_BYTES, "big") + body


def size_of(stored: bytes) -> int:
    return int.from_bytes(stored[:HEAD_BYTES], "big")


def body_of(stored: bytes) -> bytes:
    return stored[HEAD_BYTES:]


def write(txn: Txn, rows: Rows, key: bytes, old_size: int | None, new: bytes | None) -> None:
    """Put a row or, without `new`, delete it; `old_size` is that of the row it replaces, if there is one."""
    if new is None:
        if old_size is not None:
            txn.delete(key)
            txn.count(rows.count_counter, -1)
            txn.count(rows.bytes_counter, -old_size)
        return
    txn.put(key, new)
    size = size_of(new)
    if old_size is None:
        txn.count(rows.count_counter, 1)
        txn.count(rows.bytes_counter, size)
    elif size != old_size:
        txn.count(rows.bytes_counter, size - old_size)


class Page(NamedTuple):
    """Rows in order, and whether there may be more: then a limit ended the page."""

    rows: list[Pair]
    more: bool
    size_bytes: int


def page(txn: ReadTxn, start: bytes, end: bytes, *, most_rows: int, most_bytes: int, reverse: bool = False) -> Page:
    """Rows with start <= key < end, up to `most_rows`, and no more than `most_bytes` unless it is the first."""
    found: list[Pair] = []
    total = 0
    wanted = min(FIRST_ROWS, most_rows)
    while start < end:
        chunk = txn.scan(start, end, wanted, reverse=reverse)
        sizes = [int.from_bytes(stored[:HEAD_BYTES], "big") for _, stored in chunk]
        if total + sum(sizes) > most_bytes:
            for pair, size in zip(chunk, sizes, strict=True):
                if found and total + size > most_bytes:
                    return Page(found, True, total)
                total += size
                found.append(pair)
        else:
            total += sum(sizes)
            found += chunk
        if len(found) >= most_rows:
            return Page(found, True, total)
        if len(chunk) < wanted:
            break
        if reverse:
            end = chunk[-1][0]
        else:
            start = after(chunk[-1][0])
        fitting = (most_bytes - total) * len(found) // max(total, 1) + 1
        wanted = max(1, min(MOST_ROWS, most_rows - len(found), fitting))
    return Page(found, False, total)


def erase(txn: Txn, *which: int) -> bool:
    """Erase some rows of a generation, or of one index in it; True when none are left."""
    start = pack("row", *which)
    end = prefix_end(start)
    pairs = txn.scan(start, end, ERASED_ROWS)
    if pairs:
        txn.delete_range(start, after(pairs[-1][0]))
    return len(pairs) < ERASED_ROWS
