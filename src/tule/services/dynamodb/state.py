"""What DynamoDB keeps: the one file that knows keys.

All tables of an account and region live in one shard. A table's record is a document under its name; its rows are
in the tables layer. Open tables are kept in the owner's memory, once as writers see them and once as committed.
"""

from hashlib import sha256
from typing import Any, Final

import msgspec

from tule.kernel.arns import Arn
from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext
from tule.services.dynamodb.errors import table_missing
from tule.services.dynamodb.models import OpenTable, Table
from tule.store.keys import pack, prefix_end, unpack
from tule.store.layers.tables import erase
from tule.store.transaction import ReadTxn, ShardKey, Txn

SERVICE: Final = "dynamodb"
SWEEP: Final = "sweep"
EXPIRE: Final = "expire"
BACKFILL: Final = "ttl-backfill"
FILL: Final = "index-backfill"
REPEAT: Final = "repeat"

_TABLES: Final = pack("table")
MOST_TABLES: Final = 10_000
"""Tables in one account and region: AWS's quota goes up to this."""

_decode = msgspec.msgpack.Decoder(Table).decode
_encode = msgspec.msgpack.Encoder().encode
decode_item = msgspec.json.Decoder(dict[str, dict[str, Any]]).decode
encode_item = msgspec.json.Encoder().encode


class OpenTables:
    """Memory of the shard's owner; always rebuildable from the store."""

    __slots__ = ("committed", "latest")

    def __init__(self, tables: dict[str, OpenTable]) -> None:
        self.latest = tables
        """As transactions see them: batches that are not yet committed included."""
        self.committed = dict(tables)
        """As reads see them."""


def shard_of(context: RequestContext, _request: Any) -> ShardKey:
    return ShardKey(SERVICE, context.account, context.region, "tables")


def _load(txn: ReadTxn) -> OpenTables:
    pairs = txn.scan(_TABLES, prefix_end(_TABLES), MOST_TABLES)
    tables = (OpenTable(_decode(value)) for _, value in pairs)
    return OpenTables({table.name: table for table in tables})


def open_tables(txn: ReadTxn) -> OpenTables:
    return txn.memory("tables", _load)


def table_name(given: str) -> str:
    """The name in a TableName, which may be an ARN."""
    if given.startswith("arn:"):
        arn = Arn.parse(given)
        if arn is not None and arn.resource.startswith("table/"):
            return arn.resource[6:]
    return given


def table_to_write(txn: Txn, given: str) -> OpenTable:
    """The table as the newest transaction left it."""
    tables = open_tables(txn).latest
    found = tables.get(given) or tables.get(table_name(given))
    if found is None:
        raise table_missing()
    return found


def table_to_read(txn: ReadTxn, given: str) -> OpenTable:
    """The table as committed."""
    tables = open_tables(txn).committed
    found = tables.get(given) or tables.get(table_name(given))
    if found is None:
        raise table_missing()
    return found


def save_table(txn: Txn, table: Table) -> OpenTable:
    """Write a table's record, new or changed."""
    tables, opened = open_tables(txn), OpenTable(table)
    txn.put(pack("table", table.name), _encode(table))

    def remember() -> None:
        tables.latest[table.name] = opened

    def commit() -> None:
        tables.committed[table.name] = opened

    txn.then(remember)
    txn.after_commit(commit)
    return opened


def drop_table(txn: Txn, table: Table) -> None:
    """Forget a table; its rows are erased in the background."""
    tables = open_tables(txn)
    txn.delete(pack("table", table.name))
    txn.due(txn.now, SWEEP, pack(table.generation))

    def forget() -> None:
        tables.latest.pop(table.name, None)

    def commit() -> None:
        tables.committed.pop(table.name, None)

    txn.then(forget)
    txn.after_commit(commit)


def expire_at(txn: Txn, at: Instant, table: OpenTable, key: bytes) -> None:
    """Have the item whose row lies at `key` looked at when it expires."""
    txn.due(at, EXPIRE, sha256(key).digest(), msgspec.msgpack.encode((table.name, key)))


def forget_expiry(txn: Txn, key: bytes) -> None:
    txn.cancel_due(EXPIRE, sha256(key).digest())


def recall_token(txn: ReadTxn, token: str) -> bytes | None:
    """The digest of the transaction that was made with a ClientRequestToken."""
    return txn.get(pack("token", token))


def remember_token(txn: Txn, token: str, digest: bytes, until: Instant) -> None:
    txn.put(pack("token", token), digest)
    txn.due(until, REPEAT, pack("token", token))


def forget_token(txn: Txn, key: bytes) -> None:
    txn.delete(key)


def sweep(txn: Txn, key: bytes, _payload: bytes) -> None:
    """Erase some rows of a table or index that was deleted, and come back for the rest."""
    if not erase(txn, *(int(part) for part in unpack(key))):
        txn.due(txn.now, SWEEP, key)
