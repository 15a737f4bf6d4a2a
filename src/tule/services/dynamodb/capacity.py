"""What reads and writes cost, in read and write units, as AWS reckons them.

A read unit is 4 KiB read consistently, half of one if eventually; a write unit is 1 KiB. Reads are counted in halves
here, because eventually consistent ones are.
"""

from collections.abc import Mapping
from typing import Any, Final

from tule.observe.metering import meter, meter_read
from tule.services.dynamodb.models import OpenTable
from tule.store.transaction import ReadTxn, Txn

READ_UNIT_BYTES: Final = 4096
WRITE_UNIT_BYTES: Final = 1024


def read_halves(size: int, *, consistent: bool) -> int:
    """Half read units for reading `size` bytes; nothing found costs one unit of its kind, too."""
    return (-(-size // READ_UNIT_BYTES) or 1) * (2 if consistent else 1)


def write_units(size: int) -> int:
    return -(-size // WRITE_UNIT_BYTES) or 1


def bill_read(txn: ReadTxn, halves: int) -> None:
    meter_read(txn, "dynamodb.read_half_units", halves)


def bill_write(txn: Txn, units: int) -> None:
    meter(txn, "dynamodb.write_units", units)


def bill_refused(txn: ReadTxn, units: int) -> None:
    """A write whose condition failed: AWS bills it, and it has no batch to be counted in."""
    meter_read(txn, "dynamodb.write_units", units)


def consumed(
    wanted: str | None, table: OpenTable, units: float, by_index: Mapping[str, float] | None = None, kind: str = ""
) -> dict[str, Any] | None:
    """ConsumedCapacity as asked for by ReturnConsumedCapacity, or None.

    `units` are the table's own, `by_index` those of its indexes; `kind` is "Read" or "Write" where AWS tells the
    units of a kind as well (transactions).
    """
    if wanted is None or wanted == "NONE":
        return None
    by_index = by_index or {}
    total = units + sum(by_index.values())
    told = {"TableName": table.name} | _units(total, kind)
    if wanted == "INDEXES":
        told["Table"] = _units(units, kind)
        for local, member in ((True, "LocalSecondaryIndexes"), (False, "GlobalSecondaryIndexes")):
            part = {name: _units(n, kind) for name, n in by_index.items() if table.by_name[name].local is local}
            if part:
                told[member] = part
    return told


def _units(units: float, kind: str) -> dict[str, Any]:
    return {"CapacityUnits": float(units)} | ({f"{kind}CapacityUnits": float(units)} if kind else {})
