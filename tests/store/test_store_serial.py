"""Handlers that run at the same time are as if they had run one after the other, in the order they were appended."""

import asyncio
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import Bench, context, shard

from tule.store.keys import OWN_KEYS
from tule.store.memory import ForcedMissBackend

KEY = st.integers(0, 5).map(lambda n: b"\x01%c" % n)
STEP = st.one_of(
    st.tuples(st.just("get"), KEY),
    st.tuples(st.just("scan"), st.booleans()),
    st.tuples(st.just("put"), KEY),
    st.tuples(st.just("delete"), KEY),
    st.tuples(st.just("range"), KEY),
    st.tuples(st.just("count"), st.just(b"")),
)
PLAN = st.lists(st.tuples(st.lists(STEP, min_size=1, max_size=5), st.integers(0, 3)), min_size=1, max_size=20)
"""What each handler does, and how often the loop turns before the next is submitted."""


class _LaggingBackend(ForcedMissBackend):
    """Commits and fetches take several turns, and what was fetched is old by then."""

    async def fetch(self, keys, ranges):
        found = await super().fetch(keys, ranges)
        for _ in range(3):
            await asyncio.sleep(0)
        return found

    async def commit(self, batches):
        await super().commit(batches)
        for _ in range(4):
            await asyncio.sleep(0)


def _perform(state, steps, number):
    """Do the steps on a transaction or a model; what was seen."""
    seen = []
    for place, (kind, detail) in enumerate(steps):
        if kind == "get":
            seen.append(state.get(detail))
        elif kind == "scan":
            seen.append(state.scan(b"", OWN_KEYS, 3, reverse=detail))
        elif kind == "put":
            state.put(detail, b"%d.%d" % (number, place))
        elif kind == "delete":
            state.delete(detail)
        elif kind == "range":
            state.delete_range(detail, b"\x01\x04")
        else:
            state.count("n", 1)
    return seen


class _Model:
    def __init__(self):
        self.rows = {}
        self.counted = 0

    def get(self, key):
        return self.rows.get(key)

    def scan(self, start, end, limit, *, reverse):
        return sorted(((k, v) for k, v in self.rows.items() if start <= k < end), reverse=reverse)[:limit]

    def put(self, key, value):
        self.rows[key] = value

    def delete(self, key):
        self.rows.pop(key, None)

    def delete_range(self, start, end):
        self.rows = {k: v for k, v in self.rows.items() if not start <= k < end}

    def count(self, _, n):
        self.counted += n


async def _play(store, plan):
    order, answers = [], {}

    def work(txn, number):
        seen = _perform(txn, plan[number][0], number)
        txn.then(lambda: order.append(number))
        return number, seen

    def done(result, error):
        assert error is None, error
        answers[result[0]] = result[1]

    for number, (_, turns) in enumerate(plan):
        store.submit(shard(), work, number, context(), done)
        for _ in range(turns):
            await asyncio.sleep(0)
    await store.quiet(20)
    assert sorted(order) == list(range(len(plan)))
    model = _Model()
    for number in order:
        assert answers[number] == _perform(model, plan[number][0], number)
    look = lambda txn: (txn.scan(b"", OWN_KEYS, 10), txn.counter("n"))  # noqa: E731 - read once
    assert await store.read(shard(), look, context()) == (sorted(model.rows.items()), model.counted)


@settings(max_examples=200, deadline=None)
@given(PLAN, st.sampled_from([0, 500, 1_000_000]))
def test_behind_fetches_with_any_size_of_cache(plan, cache_bytes):
    bench = Bench("misses", Path())
    bench.run(lambda store: _play(store, plan), backend=_LaggingBackend(cache_bytes=cache_bytes))


@settings(max_examples=60, deadline=None)
@given(PLAN)
def test_in_memory(plan):
    Bench("memory", Path()).run(lambda store: _play(store, plan))


@settings(max_examples=25, deadline=None)
@given(plan=PLAN)
def test_on_sqlite(tmp_path_factory, plan):
    Bench("sqlite", tmp_path_factory.mktemp("serial")).run(lambda store: _play(store, plan))
