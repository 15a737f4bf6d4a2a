"""Key attributes against a table's schema: their checks, and the places of rows that they name."""

from typing import Final

from tule.languages.dynamodb.comparison import key_bytes
from tule.languages.dynamodb.values import Item, Value
from tule.services.dynamodb.errors import ValidationError, invalid
from tule.services.dynamodb.models import OpenIndex, OpenTable

MAX_HASH_BYTES: Final = 2048
MAX_RANGE_BYTES: Final = 1024

NO_MATCH: Final = "The provided key element does not match the schema"
_EMPTY: Final = "One or more parameter values are not valid. "
_WORDS: Final = {"S": "string", "B": "binary", "N": "number"}


def is_empty(value: Value, tag: str) -> bool:
    return tag != "N" and not value[tag]


def checked_bytes(table: OpenTable, name: str, value: Value) -> bytes:
    """A primary key attribute's bytes; refuses empty and overlong ones. Its type has been checked."""
    text = value.get("S")
    raw = key_bytes(value) if text is None else text.encode()
    if not raw:
        raise ValidationError(
            f"{_EMPTY}The AttributeValue for a key attribute cannot contain an empty {_WORDS[table.types[name]]} "
            f"value. Key: {name}"
        )
    if name == table.hash_key:
        if len(raw) > MAX_HASH_BYTES:
            raise invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes")
    elif len(raw) > MAX_RANGE_BYTES:
        raise invalid("Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
    return raw


def row_of_key(table: OpenTable, key: Item) -> bytes:
    """The place of the item that a Key names: exactly the table's key attributes."""
    partition = key.get(table.hash_key)
    if partition is None or table.hash_type not in partition:
        raise ValidationError(NO_MATCH)
    if not table.range_key:
        if len(key) != 1:
            raise ValidationError(NO_MATCH)
        return table.rows.key(checked_bytes(table, table.hash_key, partition))
    sort = key.get(table.range_key)
    if len(key) != 2 or sort is None or table.range_type not in sort:
        raise ValidationError(NO_MATCH)
    raw = checked_bytes(table, table.hash_key, partition)
    return table.rows.key(raw, checked_bytes(table, table.range_key, sort))


def row_of_item(table: OpenTable, item: Item, *, batch: bool = False) -> bytes:
    """The place of an item that is being put, after all its keys, those of indexes too, have been checked."""
    parts = []
    for name in table.key_names:
        value = item.get(name)
        if value is None:
            raise invalid(f"Missing the key {name} in the item")
        if table.types[name] not in value:
            if batch:
                raise ValidationError(NO_MATCH)
            raise invalid(f"Type mismatch for key {name} expected: {table.types[name]} actual: {next(iter(value))}")
    parts = [checked_bytes(table, name, item[name]) for name in table.key_names]
    if table.indexes:
        check_index_keys(table, item)
    return table.rows.key(*parts)


def check_index_keys(table: OpenTable, item: Item) -> None:
    """Index keys may be absent, but not of another type, empty or overlong."""
    for index in sorted(table.indexes, key=lambda index: index.name):
        for name in index.keys:
            value = item.get(name)
            if value is None or name in table.key_names:
                continue
            wanted = table.types[name]
            if wanted not in value:
                raise invalid(
                    f"Type mismatch for Index Key {name} Expected: {wanted} Actual: {next(iter(value))} "
                    f"IndexName: {index.name}"
                )
            if is_empty(value, wanted):
                raise ValidationError(
                    f"{_EMPTY}A value specified for a secondary index key is not supported. The AttributeValue for a "
                    f"key attribute cannot contain an empty {_WORDS[wanted]} value. "
                    f"IndexName: {index.name}, IndexKey: {name}"
                )
            _check_index_size(index, name, value)


def _check_index_size(index: OpenIndex, name: str, value: Value) -> None:
    size = len(key_bytes(value))
    if name == index.index.hash_key and size > MAX_HASH_BYTES:
        raise invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes")
    if name == index.index.range_key and size > MAX_RANGE_BYTES:
        raise invalid("Aggregated size of all range keys has exceeded the size limit of 1024 bytes")


def check_updated_index_keys(table: OpenTable, item: Item) -> None:
    """The same for what an update made of an item, in the texts of UpdateItem."""
    for index in table.indexes:
        for name in index.keys:
            value = item.get(name)
            if value is None or name in table.key_names:
                continue
            wanted = table.types[name]
            if wanted not in value:
                raise ValidationError(
                    "The update expression attempted to update the secondary index key to unsupported type"
                )
            if is_empty(value, wanted):
                raise ValidationError(
                    f"{_EMPTY}The update expression attempted to update a secondary index key to a value that is not "
                    "supported. The AttributeValue for a key attribute cannot contain an empty "
                    f"{_WORDS[wanted]} value."
                )
            _check_index_size(index, name, value)


def row_in_index(index: OpenIndex, item: Item, item_key: bytes) -> bytes | None:
    """The place of an item's row in an index, or None if the item lacks one of its keys.

    A value that can't be a key is like none: items from before the index may have such.
    """
    parts = []
    for name, tag in zip(index.keys, index.types, strict=True):
        value = item.get(name)
        if value is None or not value.get(tag):
            return None
        parts.append(key_bytes(value))
    return index.rows.index_key(parts[0], parts[1] if len(parts) > 1 else None, item_key)
