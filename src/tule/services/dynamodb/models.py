"""What a table is."""

from typing import Final

import msgspec

from tule.store.layers.tables import Rows

PROVISIONED: Final = "PROVISIONED"
ON_DEMAND: Final = "PAY_PER_REQUEST"

MAX_PAGE_BYTES: Final = 1024 * 1024
"""What one Query or Scan reads (API reference)."""


class Throughput(msgspec.Struct, frozen=True):
    """Provisioned capacity units, and when they last changed (ms; 0: never)."""

    read: int = 0
    write: int = 0
    increased_ms: int = 0
    decreased_ms: int = 0


class Index(msgspec.Struct, frozen=True):
    """A secondary index; `number` tells its rows from other indexes' of the table's generation."""

    name: str
    number: int
    local: bool
    hash_key: str
    range_key: str
    projection: str
    included: tuple[str, ...] = ()
    throughput: Throughput = Throughput()
    building: bool = False
    """Made after the table, and not yet filled from it: written to already, but not read."""


class TimeToLive(msgspec.Struct, frozen=True):
    """The attribute that says when an item expires ("" when off), and when that was last set."""

    attribute: str = ""
    changed_ms: int = 0


class Table(msgspec.Struct, frozen=True):
    """A table as it is kept."""

    name: str
    table_id: str
    generation: int
    created_ms: int
    hash_key: str
    range_key: str
    types: dict[str, str]
    """Of all key attributes, of the table and its indexes, in the order of their definitions."""
    billing_mode: str
    billing_named: bool
    """Whether the caller ever chose a billing mode: DescribeTable tells it only then."""
    throughput: Throughput
    indexes: tuple[Index, ...] = ()
    protected: bool = False
    table_class: str = ""
    tags: dict[str, str] = {}
    ttl: TimeToLive = TimeToLive()
    indexes_made: int = 0
    """How many indexes there ever were: their numbers are not used again."""


class OpenIndex:
    """An index with what its users ask for all the time."""

    __slots__ = ("index", "key_names", "keys", "name", "projected", "rows", "types")

    def __init__(self, table: Table, index: Index) -> None:
        self.index = index
        self.name = index.name
        self.rows = Rows(table.generation, index.number)
        self.keys = tuple(filter(None, (index.hash_key, index.range_key)))
        self.types = tuple(table.types[name] for name in self.keys)
        table_keys = tuple(filter(None, (table.hash_key, table.range_key)))
        self.key_names = (*self.keys, *(name for name in table_keys if name not in self.keys))
        """The attributes of a LastEvaluatedKey."""
        self.projected = None if index.projection == "ALL" else frozenset((*self.key_names, *index.included))
        """Names that its rows carry, or None for all."""

    @property
    def local(self) -> bool:
        return self.index.local


class OpenTable:
    """A table with what its users ask for all the time."""

    __slots__ = ("by_name", "has_local", "hash_key", "hash_type", "indexes", "key_names", "name", "range_key",
                 "range_type", "rows", "table", "ttl", "types")  # fmt: skip

    def __init__(self, table: Table) -> None:
        self.table = table
        self.name = table.name
        self.rows = Rows(table.generation)
        self.types = table.types
        self.hash_key = table.hash_key
        self.hash_type = table.types[table.hash_key]
        self.range_key = table.range_key
        self.range_type = table.types.get(table.range_key, "")
        self.key_names = tuple(filter(None, (table.hash_key, table.range_key)))
        self.indexes = tuple(OpenIndex(table, index) for index in table.indexes)
        self.by_name = {index.name: index for index in self.indexes}
        self.has_local = any(index.local for index in self.indexes)
        self.ttl = table.ttl.attribute
