"""The overlay and scans above it against a plain dict, with acknowledgements lagging behind."""

import asyncio
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import Bench, context, shard

from tule.store.keys import OWN_KEYS

KEYS = st.integers(0, 15).map(lambda n: b"\x01%c" % n)
VALUES = st.one_of(st.none(), st.binary(max_size=2))
CHANGE = st.one_of(
    st.tuples(st.just("put"), KEYS, st.binary(max_size=2)),
    st.tuples(st.just("delete"), KEYS, st.none()),
    st.tuples(st.just("range"), KEYS, KEYS),
)
TRANSACTION = st.tuples(st.lists(CHANGE, max_size=6), st.booleans(), st.booleans())
"""Changes, whether it is refused in the end, and whether the loop turns after it."""


class _Stop(Exception):  # noqa: N818 - a refusal, not an error
    pass


def _apply(model, changes):
    for kind, first, second in changes:
        if kind == "put":
            model[first] = second
        elif kind == "delete":
            model.pop(first, None)
        else:
            for key in [key for key in model if first <= key < second]:
                del model[key]


def _write(txn, changes):
    for kind, first, second in changes:
        if kind == "put":
            txn.put(first, second)
        elif kind == "delete":
            txn.delete(first)
        else:
            txn.delete_range(first, second)


def _check(txn, model):
    rows = sorted(model.items())
    assert txn.scan(b"", OWN_KEYS, 100) == rows
    for limit in (1, 2, 5):
        assert txn.scan(b"", OWN_KEYS, limit) == rows[:limit]
        assert txn.scan(b"", OWN_KEYS, limit, reverse=True) == rows[::-1][:limit]
        within = [row for row in rows if b"\x01\x04" <= row[0] < b"\x01\x0b"]
        assert txn.scan(b"\x01\x04", b"\x01\x0b", limit) == within[:limit]
        assert txn.scan(b"\x01\x04", b"\x01\x0b", limit, reverse=True) == within[::-1][:limit]
    for n in range(16):
        assert txn.get(b"\x01%c" % n) == model.get(b"\x01%c" % n)


async def _play(store, transactions):
    model = {}
    defects = []

    def done(_, error):
        if error is not None and not isinstance(error, _Stop):
            defects.append(error)

    for changes, refused, turn in transactions:
        before = dict(model)
        if not refused:
            _apply(model, changes)
        after = dict(model)

        def work(txn, _, changes=changes, before=before, after=after, refused=refused):
            _check(txn, before)
            _write(txn, changes)
            if refused:
                raise _Stop
            _check(txn, after)

        store.submit(shard(), work, None, context(), done)
        if store.remote:
            await store.quiet(10)  # what misses may be overtaken, and then the model's order isn't the store's
        elif turn:
            await asyncio.sleep(0)
    await store.quiet(10)
    if defects:
        raise defects[0]
    await store.read(shard(), lambda txn: _check(txn, model), context())


@settings(max_examples=150, deadline=None)
@given(st.lists(TRANSACTION, max_size=12))
def test_memory_agrees_with_a_dict(transactions):
    Bench("memory", Path()).run(lambda store: _play(store, transactions))


@settings(max_examples=60, deadline=None)
@given(st.lists(TRANSACTION, max_size=8))
def test_forced_misses_agree_with_a_dict(transactions):
    Bench("misses", Path()).run(lambda store: _play(store, transactions))


@settings(max_examples=40, deadline=None)
@given(transactions=st.lists(TRANSACTION, max_size=12))
def test_sqlite_agrees_with_a_dict(tmp_path_factory, transactions):
    bench = Bench("sqlite", tmp_path_factory.mktemp("model"))
    bench.run(lambda store: _play(store, transactions))
