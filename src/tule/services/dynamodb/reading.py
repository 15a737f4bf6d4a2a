"""A page of a table or index, read, filtered and answered."""

from typing import Any, Final

from tule.languages.dynamodb.comparison import key_bytes
from tule.languages.dynamodb.conditions import Program
from tule.languages.dynamodb.projection import Projection
from tule.languages.dynamodb.values import Item, Value
from tule.services.dynamodb.answers import raw_list
from tule.services.dynamodb.capacity import bill_read, consumed, read_halves
from tule.services.dynamodb.models import MAX_PAGE_BYTES
from tule.services.dynamodb.ranges import Source
from tule.services.dynamodb.state import decode_item
from tule.services.dynamodb.writing import stored_at
from tule.store.layers import tables
from tule.store.transaction import ReadTxn

UNLIMITED: Final = 1 << 40


class Reading:
    """What a Query or Scan wants of the rows in a range."""

    __slots__ = ("_consistent", "_count_only", "_fetches", "_filter", "_projection", "_request", "_source", "_values")

    def __init__(
        self,
        source: Source,
        request: dict[str, Any],
        projection: Projection | None,
        condition: Program | None,
        values: dict[str, Value],
    ) -> None:
        self._source = source
        self._request = request
        self._projection = projection
        self._filter = condition
        self._values = values
        self._consistent = bool(request.get("ConsistentRead"))
        self._count_only = request.get("Select") == "COUNT"
        self._fetches = self._needs_table()

    def _needs_table(self) -> bool:
        """A local index gives what it doesn't carry, too: from the table, which costs a read for each item."""
        index = self._source.index
        if index is None or not index.local or index.projected is None:
            return False
        if self._request.get("Select") == "ALL_ATTRIBUTES":
            return True
        names = [steps[0] for steps in self._projection.paths] if self._projection is not None else []
        return any(name not in index.projected for name in names)

    def answer(self, txn: ReadTxn, start: bytes, end: bytes, *, reverse: bool) -> dict[str, Any]:
        limit = self._request.get("Limit") or UNLIMITED
        page = tables.page(txn, start, end, most_rows=limit, most_bytes=MAX_PAGE_BYTES, reverse=reverse)
        halves = read_halves(page.size_bytes, consistent=self._consistent)
        answer: dict[str, Any] = {"ScannedCount": len(page.rows)}
        if self._filter is None and self._projection is None and not self._fetches:
            answer["Count"] = len(page.rows)
            if not self._count_only:
                answer["Items"] = raw_list([row[tables.HEAD_BYTES :] for _, row in page.rows])
        else:
            items, fetched = self._chosen(txn, [decode_item(row[tables.HEAD_BYTES :]) for _, row in page.rows])
            answer["Count"] = len(items)
            if not self._count_only:
                answer["Items"] = items
            return self._finish(txn, answer, page, halves, fetched)
        return self._finish(txn, answer, page, halves, 0)

    def _chosen(self, txn: ReadTxn, items: list[Item]) -> tuple[list[Item], int]:
        """The items that pass the filter, as they are to be shown; half units spent on fetching from the table."""
        fetched = 0
        if self._fetches:
            whole = []
            for item in items:
                stored = stored_at(txn, self._source.table.rows.key(*self._item_key(item)))
                assert stored is not None
                fetched += read_halves(stored.size, consistent=self._consistent)
                whole.append(stored.item())
            items = whole
        if self._filter is not None:
            test, values = self._filter.test, self._values
            items = [item for item in items if test(item, values)]
        if self._projection is not None:
            items = [self._projection.of(item) for item in items]
        return items, fetched

    def _item_key(self, item: Item) -> list[bytes]:
        return [key_bytes(item[name]) for name in self._source.table.key_names]

    def _finish(
        self, txn: ReadTxn, answer: dict[str, Any], page: tables.Page, halves: int, fetched: int
    ) -> dict[str, Any]:
        if page.more:
            last = decode_item(page.rows[-1][1][tables.HEAD_BYTES :])
            answer["LastEvaluatedKey"] = {name: last[name] for name in self._source.key_names}
        bill_read(txn, halves + fetched)
        if "ReturnConsumedCapacity" in self._request:
            index = self._source.index
            by_index = {index.name: halves / 2} if index is not None else {}
            units = (fetched if index is not None else halves) / 2
            capacity = consumed(self._request["ReturnConsumedCapacity"], self._source.table, units, by_index)
            if capacity is not None:
                answer["ConsumedCapacity"] = capacity
        return answer
