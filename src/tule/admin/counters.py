"""Counters of all shards, added up: the ledger's and the meters' whole."""

from typing import Protocol

import msgspec

from tule.observe.ledger import ROW_KIND, AbnormalFate
from tule.store.backend import Pair, Range
from tule.store.keys import after, pack_open, prefix_end, unpack
from tule.store.space import COUNT, COUNTER, DIRECTORY, SHARD

PAGE = 500
_SHARD_PARTS = 5


class Rows(Protocol):
    """Committed rows anywhere in the store."""

    async def rows(self, asked: Range) -> list[Pair]: ...


async def totals(store: Rows, prefix: str) -> dict[str, int]:
    """Counters whose names start with `prefix`, by name. Goes from shard to shard without reading what they keep."""
    found: dict[str, int] = {}
    end = prefix_end(SHARD)
    start = SHARD
    while True:
        first = await store.rows(Range(start, end, 1))
        if not first:
            return found
        shard = first[0][0][: _shard_length(first[0][0])]
        await _add(store, shard + COUNTER + pack_open(prefix), shard + COUNTER, found)
        start = prefix_end(shard)


async def _add(store: Rows, start: bytes, counters: bytes, found: dict[str, int]) -> None:
    end = prefix_end(start)
    while True:
        rows = await store.rows(Range(start, end, PAGE))
        for key, value in rows:
            name = str(unpack(key[len(counters) :])[0])
            found[name] = found.get(name, 0) + COUNT.unpack(value)[0]
        if len(rows) < PAGE:
            return
        start = after(rows[-1][0])


def _shard_length(key: bytes) -> int:
    """Where the five texts of a shard's prefix end."""
    position = len(SHARD)
    for _ in range(_SHARD_PARTS):
        position = key.index(b"\x00", position + 1)
        while key[position + 1 : position + 2] == b"\xff":
            position = key.index(b"\x00", position + 2)
        position += 1
    return position


async def abnormal(store: Rows, limit: int) -> list[AbnormalFate]:
    """The latest rows of abnormal fates in all accounts, newest first."""
    found: list[AbnormalFate] = []
    start, end = DIRECTORY, prefix_end(DIRECTORY)
    while True:
        rows = await store.rows(Range(start, end, PAGE))
        for key, value in rows:
            if unpack(key[len(DIRECTORY) :])[3] == ROW_KIND:
                found.append(msgspec.msgpack.decode(value, type=AbnormalFate))
        if len(rows) < PAGE:
            return sorted(found, key=lambda row: -row.at_ms)[:limit]
        start = after(rows[-1][0])
