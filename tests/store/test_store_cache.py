"""What is kept of committed rows in memory never shows: reads are of one state, bounded, and see every write."""

import threading
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import Bench, context, shard, until

from tule.store.batch import Batch
from tule.store.cache import ENTRY_BYTES, MISSING, Cache
from tule.store.memory import MemoryBackend


def _both(txn, _=None):
    return txn.get(b"a"), txn.get(b"b")


def _write(value):
    def work(txn):
        txn.put(b"a", value)
        txn.put(b"b", value)

    return work


def test_a_commit_that_is_not_told_yet_is_seen_whole_or_not_at_all(tmp_path: Path):
    """`a` is in memory and `b` is not, while the disk has a newer state of both."""
    bench = Bench("sqlite", tmp_path)
    committed, told = threading.Event(), threading.Event()

    def held() -> None:
        committed.set()
        told.wait(20)

    async def test(store) -> None:
        await store.transact(shard(), _write(b"old"), context())
        store.cache.clear()
        assert await store.read(shard(), lambda txn: txn.get(b"a"), context()) == b"old"
        bench.faults.arm("store.commit.after", held)
        answers = []
        store.submit(shard(), lambda txn, _: _write(b"new")(txn), None, context(), lambda *it: answers.append(it))
        await until(committed.is_set)
        seen = await store.read(shard(), _both, context())
        assert seen in {(b"old", b"old"), (b"new", b"new")}
        told.set()
        await until(lambda: bool(answers))
        assert await store.read(shard(), _both, context()) == (b"new", b"new")

    bench.run(test)


def test_rows_of_a_deleted_range_leave_memory(tmp_path: Path):
    async def test(store) -> None:
        await store.transact(shard(), _write(b"1"), context())
        assert await store.read(shard(), _both, context()) == (b"1", b"1")
        await store.transact(shard(), lambda txn: txn.delete_range(b"b", b"c"), context())
        assert await store.read(shard(), _both, context()) == (b"1", None)

    Bench("sqlite", tmp_path).run(test)


class _KeptMemory(MemoryBackend):
    """Rows in memory behind a cache that isn't needed, which must make no difference."""

    def __init__(self, cache_bytes: int) -> None:
        super().__init__()
        self.cache_bytes = cache_bytes


KEY = st.binary(min_size=1, max_size=2)
VALUE = st.one_of(st.none(), st.binary(max_size=40))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), KEY, VALUE), st.tuples(st.just("range"), KEY, KEY), st.tuples(st.just("get"), KEY)
        ),
        max_size=60,
    ),
    st.sampled_from([300, 1_000, 100_000]),
)
def test_any_size_of_cache_in_front_of_rows(steps, limit_bytes):
    plain: dict[bytes, bytes] = {}

    async def test(store) -> None:
        for step in steps:
            if step[0] == "get":
                found = await store.read(shard(), lambda txn, key=step[1]: txn.get(key), context())
                assert found == plain.get(step[1])
            elif step[0] == "put":
                _, key, value = step
                await store.transact(
                    shard(), lambda txn, k=key, v=value: txn.delete(k) if v is None else txn.put(k, v), context()
                )
                plain.pop(key, None)
                plain.update({} if value is None else {key: value})
            else:
                start, end = sorted(step[1:])
                await store.transact(shard(), lambda txn, s=start, e=end: txn.delete_range(s, e), context())
                for key in [key for key in plain if start <= key < end]:
                    del plain[key]

    Bench("memory", Path()).run(test, backend=_KeptMemory(limit_bytes))


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.binary(max_size=300)), max_size=200))
def test_it_stays_within_its_bytes(pairs):
    cache = Cache(4_000)
    for key, value in pairs:
        cache.put(key, value)
    kept = [(key, cache.get(key)) for key in {key for key, _ in pairs} if key in cache]
    largest = max((len(value) for _, value in pairs), default=0) + ENTRY_BYTES + 8
    assert sum(len(key) + len(value) + ENTRY_BYTES for key, value in kept) <= 4_000 + 2 * largest
    if pairs:
        assert cache.get(pairs[-1][0]) == pairs[-1][1]


def test_nothing_is_kept_where_nothing_may_be():
    cache = Cache(0)
    cache.put(b"a", b"1")
    batch = Batch(1, 0)
    batch.writes[b"b"] = b"2"
    cache.renew(batch)
    assert cache.get(b"a") is MISSING
    assert cache.get(b"b") is MISSING
