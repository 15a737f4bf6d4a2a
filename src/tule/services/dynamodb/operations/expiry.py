"""Time to live: items that go when the service clock passes the number in one of their attributes.

Each item that can expire has one entry among the due times of its shard. AWS takes up to a few days; Tule is on time.
"""

from typing import Any, Final

import msgspec

from tule.kernel.clocks import Instant
from tule.services.dynamodb.errors import ValidationError
from tule.services.dynamodb.models import TimeToLive
from tule.services.dynamodb.operations.tables import to_read, to_write
from tule.services.dynamodb.state import BACKFILL, decode_item, expire_at, open_tables, save_table
from tule.services.dynamodb.writing import TTL_WINDOW_MS, expiry_of, stored_at, write_item
from tule.store.keys import after, pack, unpack
from tule.store.layers import tables
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

CHANGE_INTERVAL_MS: Final = 3_600_000
"""AWS refuses a second change within an hour."""
BACKFILL_ROWS: Final = 200
"""Items looked through in one transaction after time to live is switched on (ours: about 2 ms)."""


def update_time_to_live(txn: Txn, request: Request) -> Request:
    asked = request["TimeToLiveSpecification"]
    enabled, attribute = asked["Enabled"], asked["AttributeName"]
    opened = to_write(txn, request["TableName"])
    current = opened.table.ttl
    if enabled and current.attribute:
        if current.attribute == attribute:
            raise ValidationError("TimeToLive is already enabled")
        raise ValidationError("TimeToLive is active on a different AttributeName: current AttributeName is "
                              f"{current.attribute}")  # fmt: skip
    if not enabled and not current.attribute:
        raise ValidationError("TimeToLive is already disabled")
    if not enabled and current.attribute != attribute:
        raise ValidationError("TimeToLive is active on a different AttributeName: current AttributeName is "
                              f"{current.attribute}")  # fmt: skip
    if current.changed_ms and txn.now - current.changed_ms < CHANGE_INTERVAL_MS:
        raise ValidationError("Time to live has been modified multiple times within a fixed interval")
    ttl = TimeToLive(attribute if enabled else "", txn.now)
    save_table(txn, msgspec.structs.replace(opened.table, ttl=ttl))
    if enabled:
        txn.due(txn.now, BACKFILL, pack(opened.name), opened.rows.prefix)
    return {"TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute}}


def describe_time_to_live(txn: ReadTxn, request: Request) -> Request:
    attribute = to_read(txn, request["TableName"]).ttl
    told = {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute} if attribute else {
        "TimeToLiveStatus": "DISABLED"
    }  # fmt: skip
    return {"TimeToLiveDescription": told}


def backfill(txn: Txn, key: bytes, payload: bytes) -> None:
    """Arrange the expiry of the items that were there before, some at a time; `payload` is where to go on."""
    opened = open_tables(txn).latest.get(str(unpack(key)[0]))
    if opened is None or not opened.ttl or not payload.startswith(opened.rows.prefix):
        return
    pairs = txn.scan(payload, opened.rows.end, BACKFILL_ROWS)
    for row_key, row in pairs:
        at = expiry_of(decode_item(row[tables.HEAD_BYTES :]), opened.ttl)
        if at is not None and at > txn.now - TTL_WINDOW_MS:
            expire_at(txn, Instant(at), opened, row_key)
    if len(pairs) == BACKFILL_ROWS:
        txn.due(txn.now, BACKFILL, key, after(pairs[-1][0]))


def expire(txn: Txn, _key: bytes, payload: bytes) -> None:
    """Delete an item whose time has come, unless the table or the item has changed its mind."""
    name, row_key = msgspec.msgpack.decode(payload, type=tuple[str, bytes])
    opened = open_tables(txn).latest.get(name)
    if opened is None or not opened.ttl or not row_key.startswith(opened.rows.prefix):
        return
    old = stored_at(txn, row_key)
    at = expiry_of(old.item(), opened.ttl) if old is not None else None
    if old is None or at is None or at > txn.now:
        return
    write_item(txn, opened, row_key, old, None)
