"""Where a Query looks: its conditions against the schema, as a range of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from tule.languages.dynamodb.comparison import key_bytes
from tule.languages.dynamodb.keys import KeyTest
from tule.languages.dynamodb.values import Item, Value
from tule.services.dynamodb.errors import ValidationError, invalid
from tule.services.dynamodb.keys import NO_MATCH, checked_bytes, row_in_index
from tule.services.dynamodb.models import OpenIndex, OpenTable
from tule.store.keys import after, prefix_end
from tule.store.layers.tables import Rows, escaped, sort_end

BAD_START: Final = "The provided starting key is invalid"
_UNSUPPORTED: Final = "Query key condition not supported"


class Range(NamedTuple):
    """Keys of rows from `start` up to `end`; `partition` is what all rows of the partition begin with."""

    start: bytes
    end: bytes
    partition: bytes
    single: bool
    """Whether at most one item can be there."""


@dataclass(frozen=True, slots=True)
class Source:
    """The table or index that is read, and its key attributes."""

    table: OpenTable
    index: OpenIndex | None

    @property
    def rows(self) -> Rows:
        return self.table.rows if self.index is None else self.index.rows

    @property
    def hash_key(self) -> str:
        return self.table.hash_key if self.index is None else self.index.index.hash_key

    @property
    def range_key(self) -> str:
        return self.table.range_key if self.index is None else self.index.index.range_key

    @property
    def key_names(self) -> tuple[str, ...]:
        """What a LastEvaluatedKey consists of."""
        return self.table.key_names if self.index is None else self.index.key_names

    def place(self, key: Item) -> bytes:
        """The row that a starting key names; its attributes have been checked."""
        parts = [checked_bytes(self.table, name, key[name]) for name in self.table.key_names]
        item_key = self.table.rows.key(*parts)
        if self.index is None:
            return item_key
        place = row_in_index(self.index, key, item_key)
        if place is None:
            raise ValidationError(NO_MATCH)
        return place


def source_of(table: OpenTable, name: str | None, *, consistent: bool) -> Source:
    """What IndexName and ConsistentRead allow to be read."""
    if name is None:
        return Source(table, None)
    index = table.by_name.get(name)
    if index is None:
        raise ValidationError(f"The table does not have the specified index: {name}")
    if index.index.building:
        raise ValidationError(f"Cannot read from backfilling global secondary index: {name}")
    if consistent and not index.local:
        raise ValidationError("Consistent reads are not supported on global secondary indexes")
    return Source(table, index)


def range_of(source: Source, tests: Sequence[KeyTest], values: Mapping[str, Value]) -> Range:
    """The rows that the conditions select; refuses conditions that don't fit the schema."""
    hash_key, range_key = source.hash_key, source.range_key
    keys = 2 if range_key else 1
    if len(tests) > keys:
        raise ValidationError(
            f"The number of query conditions ({len(tests)}) exceeds the number of key attributes defined in the "
            f"schema ({keys})"
        )
    by_name = {test.attribute: test for test in tests}
    on_hash = by_name.get(hash_key)
    if on_hash is None:
        raise ValidationError(f"Query condition missed key schema element: {hash_key}")
    on_range = by_name.get(range_key) if range_key else None
    if len(tests) == 2 and on_range is None:
        raise ValidationError(f"Query condition missed key schema element: {range_key}")
    for test in tests:
        wanted = source.table.types[test.attribute]
        if any(wanted not in values[name] for name in test.values):
            raise invalid("Condition parameter type does not match schema type")
    if on_hash.operator != "=":
        raise ValidationError(_UNSUPPORTED)
    partition = source.rows.partition(_condition_bytes(source.table, hash_key, values[on_hash.values[0]]))
    if on_range is None:
        return Range(partition, prefix_end(partition), partition, source.index is None and not range_key)
    operands = [key_bytes(values[name]) for name in on_range.values]
    if on_range.operator != "begins_with":
        for name in on_range.values:
            _condition_bytes(source.table, range_key, values[name])
    start, end = _sort_range(partition, on_range.operator, operands, plain=source.index is None)
    return Range(start, end, partition, source.index is None and on_range.operator == "=")


def _condition_bytes(table: OpenTable, name: str, value: Value) -> bytes:
    """A key's bytes in a condition: empty ones are refused, long ones find nothing."""
    raw = key_bytes(value)
    return raw or checked_bytes(table, name, value)


def _sort_range(partition: bytes, operator: str, operands: list[bytes], *, plain: bool) -> tuple[bytes, bytes]:
    """The range of a condition on the sort key. `plain`: a table's rows end with the sort key itself; an index's
    have it escaped and something behind it."""

    def first(raw: bytes) -> bytes:
        return partition + (raw if plain else sort_end(raw))

    def beyond(raw: bytes) -> bytes:
        return after(partition + raw) if plain else prefix_end(partition + sort_end(raw))

    low, high = operands[0], operands[-1]
    everything = prefix_end(partition)
    if operator == "begins_with":
        prefix = partition + (low if plain else escaped(low))
        return prefix, prefix_end(prefix)
    if operator in ("BETWEEN", "="):
        return first(low), beyond(high)
    if operator in ("<", "<="):
        return partition, first(low) if operator == "<" else beyond(low)
    return (beyond(low) if operator == ">" else first(low)), everything


def restart(source: Source, span: Range, key: Item, *, reverse: bool) -> tuple[bytes, bytes]:
    """The rest of a range behind an ExclusiveStartKey."""
    check_start(source, key, scan=False)
    if span.single:
        raise ValidationError("The query can return at most one row and cannot be restarted")
    place = source.place(key)
    if not place.startswith(span.partition):
        raise ValidationError("The provided starting key is outside query boundaries based on provided conditions")
    if not span.start <= place < span.end:
        raise ValidationError("The provided starting key does not match the range key predicate")
    return (span.start, place) if reverse else (after(place), span.end)


def check_start(source: Source, key: Item, *, scan: bool) -> None:
    """Whether an ExclusiveStartKey has the attributes and types of the source's keys."""
    if scan and source.index is None:
        names = source.table.key_names
        if set(key) != set(names) or any(source.table.types[name] not in key[name] for name in names):
            raise ValidationError(f"{BAD_START}: {NO_MATCH}")
        return
    if set(key) != set(source.key_names):
        raise ValidationError(BAD_START)
    leading = source.index.keys if source.index is not None else (source.table.hash_key,)
    for name in source.key_names:
        if source.table.types[name] not in key[name]:
            raise ValidationError(NO_MATCH if name in leading else f"{BAD_START}: {NO_MATCH}")
