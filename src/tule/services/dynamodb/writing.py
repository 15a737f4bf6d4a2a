"""One item written: its row, its rows in the indexes, when it expires and what that costs."""

from typing import Any, NamedTuple

from tule.kernel.clocks import Instant
from tule.languages.dynamodb.values import Item, item_size
from tule.services.dynamodb.capacity import write_units
from tule.services.dynamodb.keys import row_in_index
from tule.services.dynamodb.models import OpenIndex, OpenTable
from tule.services.dynamodb.state import decode_item, encode_item, expire_at, forget_expiry
from tule.store.layers import tables
from tule.store.transaction import ReadTxn, Txn

TTL_WINDOW_MS = 5 * 365 * 86_400_000
"""Items whose expiry lies further in the past are left alone (developer guide: five years)."""


class Stored(NamedTuple):
    """An item as it lies in the table."""

    row: bytes

    @property
    def size(self) -> int:
        return tables.size_of(self.row)

    @property
    def body(self) -> bytes:
        return self.row[tables.HEAD_BYTES :]

    def item(self) -> Item:
        return decode_item(self.body)


class Cost(NamedTuple):
    """Write units: the table's own, and those of each index that was written."""

    table: int
    indexes: dict[str, int]

    @property
    def total(self) -> int:
        return self.table + sum(self.indexes.values())


def stored_at(txn: ReadTxn, key: bytes) -> Stored | None:
    row = txn.get(key)
    return None if row is None else Stored(row)


def write_item(txn: Txn, table: OpenTable, key: bytes, old: Stored | None, new: Item | None, size: int = 0) -> Cost:
    """Write `new` (of `size` bytes) in the place of `old`; None for new deletes."""
    old_size = old.size if old is not None else None
    row = None if new is None else tables.row(size, encode_item(new))
    tables.write(txn, table.rows, key, old_size, row)
    cost = write_units(max(size, old_size or 0))
    if not (table.indexes or table.ttl):
        return Cost(cost, {})
    before = old.item() if old is not None else None
    by_index = {}
    for index in table.indexes:
        units = _write_index(txn, index, key, before, new, row)
        if units:
            by_index[index.name] = units
    if table.ttl:
        _arrange_expiry(txn, table, key, before, new)
    return Cost(cost, by_index)


def _projected(index: OpenIndex, item: Item) -> Item:
    names = index.projected
    return item if names is None else {name: value for name, value in item.items() if name in names}


def _write_index(
    txn: Txn, index: OpenIndex, key: bytes, before: Item | None, after: Item | None, row: bytes | None
) -> int:
    """Bring one index in line; its write units."""
    old_key = row_in_index(index, before, key) if before is not None else None
    new_key = row_in_index(index, after, key) if after is not None else None
    if old_key is None and new_key is None:
        return 0
    old = _projected(index, before) if before is not None and old_key is not None else None
    new = _projected(index, after) if after is not None and new_key is not None else None
    if old_key == new_key and old == new:
        return 0
    old_size = item_size(old) if old is not None else None
    if index.index.building and old_key is not None and txn.get(old_key) is None:
        old_size = None
    if new is not None and index.projected is not None:
        row = tables.row(item_size(new), encode_item(new))
    units = 0
    if old_key is not None and old_key != new_key:
        tables.write(txn, index.rows, old_key, old_size, None)
        units, old_size = write_units(old_size or 0), None
    if new_key is not None:
        assert row is not None
        tables.write(txn, index.rows, new_key, old_size, row)
        units += write_units(max(tables.size_of(row), old_size or 0))
    return units


def fill_index(txn: Txn, index: OpenIndex, key: bytes, item: Item) -> None:
    """Give an item from before the index its row there, unless a write has been faster."""
    place = row_in_index(index, item, key)
    if place is not None and txn.get(place) is None:
        carried = _projected(index, item)
        tables.write(txn, index.rows, place, None, tables.row(item_size(carried), encode_item(carried)))


def expiry_of(item: Item | None, attribute: str) -> int | None:
    """When an item expires, in ms, or None: only whole seconds in a number count."""
    value: dict[str, Any] = (item or {}).get(attribute) or {}
    text = value.get("N", "")
    return int(text) * 1000 if text.isdigit() and len(text) <= 12 else None


def _arrange_expiry(txn: Txn, table: OpenTable, key: bytes, before: Item | None, after: Item | None) -> None:
    at = expiry_of(after, table.ttl)
    if at is not None and at > txn.now - TTL_WINDOW_MS:
        expire_at(txn, Instant(at), table, key)
    elif expiry_of(before, table.ttl) is not None:
        forget_expiry(txn, key)
