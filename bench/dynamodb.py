"""Table 2: DynamoDB. `python -m bench.dynamodb`."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from bench.harness import Bench, Job, Row, main
from bench.signing import Signer

TARGET = "DynamoDB_20120810."
TABLE = "bench"
DATA = "x" * 959
"""With its keys and names an item is 1 KiB."""
EACH = 20
"""Items of one partition: what a Query reads."""
VARIANTS = 8_192
"""Requests signed ahead and sent in turn, for keys drawn at random."""
BATCH = 25


def partition(number: int) -> str:
    """Partition keys without order, as identifiers are."""
    return f"{number * 2_654_435_761 % 2**32:08x}-{number:08x}"


def item(number: int, version: int = 1) -> dict[str, Any]:
    """The item of that number; another version is as large and reads otherwise."""
    return {
        "pk": {"S": partition(number // EACH)},
        "sk": {"N": str(number % EACH)},
        "data": {"S": f"{version}{DATA}"},
        "state": {"S": "new"},
        "count": {"N": "1"},
    }


def _put(number: int, version: int) -> dict[str, Any]:
    return {"TableName": TABLE, "Item": item(number, version)}


def _get(number: int, _: int) -> dict[str, Any]:
    key = {name: item(number)[name] for name in ("pk", "sk")}
    return {"TableName": TABLE, "Key": key}


def _query(number: int, _: int) -> dict[str, Any]:
    return {
        "TableName": TABLE,
        "KeyConditionExpression": "pk = :p",
        "ExpressionAttributeValues": {":p": {"S": partition(number // EACH)}},
    }


MAKERS: dict[str, Callable[[int, int], dict[str, Any]]] = {"PutItem": _put, "GetItem": _get, "Query": _query}


class Calls:
    """One operation on random items among the first `population`; a unit is a call."""

    def __init__(self, signer: Signer, _lanes: int, *, operation: str, population: int) -> None:
        self.units = 0
        chance = random.Random(7)
        make = MAKERS[operation]
        half = [chance.randrange(population) for _ in range(VARIANTS // 2)]
        # Each item comes in two versions in turn, since a database may notice that a row is what it was.
        self._requests = [
            signer.json(TARGET + operation, json.dumps(make(number, version)).encode())
            for version in (2, 3)
            for number in half
        ]
        self._turn = 0

    def next(self, _lane: int, status: int, _body: bytes) -> bytes:
        self.units += status == 200
        self._turn = (self._turn + 1) % VARIANTS
        return self._requests[self._turn]


class Fill:
    """BatchWriteItem of the items from `first` up to `last`; a unit is an item."""

    def __init__(self, signer: Signer, _lanes: int, *, first: int, last: int) -> None:
        self.units = 0
        self._signer = signer
        self._number = first
        self._last = last

    def next(self, _lane: int, status: int, _body: bytes) -> bytes | None:
        self.units += BATCH * (status == 200)
        if self._number >= self._last:
            return None
        numbers = range(self._number, self._number + BATCH)
        self._number += BATCH
        writes = [{"PutRequest": {"Item": item(number)}} for number in numbers]
        return self._signer.json(TARGET + "BatchWriteItem", json.dumps({"RequestItems": {TABLE: writes}}).encode())


def _job(operation: str, population: int, connections: int, **more: Any) -> Job:
    arguments = {"operation": operation, "population": population}
    return Job("bench.dynamodb", "Calls", "dynamodb", connections, arguments, **more)


def _fill(bench: Bench, first: int, last: int) -> None:
    arguments = {"first": first, "last": last}
    job = Job("bench.dynamodb", "Fill", "dynamodb", 16, arguments, run_s=None, run_units=last - first, runs=1,
              warmup_s=0)  # fmt: skip
    result = bench.run(job)
    if result["errors"]:
        raise RuntimeError(f"filling failed: {result['first_error']}")


ASKED = (("PutItem", "PutItem 1 KiB", 12_000), ("GetItem", "GetItem 1 KiB", 15_000), ("Query", "Query of 20", 5_000))


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The rows, one after the other."""
    run_s = 0.7 if bench.quick else 2.0
    few, many = 20_000, 100_000 if bench.quick else 1_000_000
    keys = (("pk", "S", "HASH"), ("sk", "N", "RANGE"))
    table = {
        "TableName": TABLE,
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, _, kind in keys],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": tag} for name, tag, _ in keys],
        "BillingMode": "PAY_PER_REQUEST",
    }
    bench.call("dynamodb", TARGET + "CreateTable", table)
    _fill(bench, 0, few)
    for operation, name, _ in ASKED:
        if wanted(told := f"{name}, 1 connection, 50 ms apart"):
            job = _job(operation, few, 1, gap_s=0.05, run_s=run_s, runs=3)
            yield bench.latency(Row(told, None, "ms p50"), job)
    reached: dict[str, float] = {}
    for operation, name, asked in ASKED:
        if wanted(told := f"{name}, 64 connections, {few:,} items"):
            row = bench.rate(Row(told, asked, "calls/s"), _job(operation, few, 64, run_s=run_s))
            reached[operation] = row.reached
            yield row
    filled = False
    for operation, name, _ in ASKED:
        if operation in reached and wanted(told := f"{name}, 64 connections, {many:,} items"):
            if not filled:
                _fill(bench, few, many)
                filled = True
            row = Row(told, round(reached[operation] / 1.5), "calls/s", note="asked: 1/1.5 of the row above")
            yield bench.rate(row, _job(operation, many, 64, run_s=run_s), ceiling=False)


if __name__ == "__main__":
    main("DynamoDB", rows)
