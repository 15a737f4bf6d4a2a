"""Typed documents, tags, page tokens and idempotency tokens, and what erases in the background."""

import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_kit import context, shard

from tule.kernel.clocks import Instant, ServiceClock, SystemClock
from tule.store.keys import OWN_KEYS, pack, prefix_end
from tule.store.layers.documents import (
    Documents,
    Idempotency,
    InvalidTokenError,
    Tags,
    page_token,
    read_page_token,
    revision_id,
)
from tule.store.sweeping import expire, keep, sweep


class Thing(msgspec.Struct, frozen=True):
    size: int
    note: str = ""


THINGS = Documents("thing", Thing)


def test_documents_come_back_typed_and_page_by_name(bench):
    async def test(store):
        def write(txn):
            for n in range(7):
                THINGS.put(txn, f"name-{n}", Thing(n))
            THINGS.put(txn, "other", Thing(99, "note"))
            THINGS.delete(txn, "name-3")

        await store.transact(shard(), write, context())
        assert await store.read(shard(), lambda txn: THINGS.get(txn, "other"), context()) == Thing(99, "note")
        assert await store.read(shard(), lambda txn: THINGS.get(txn, "name-3"), context()) is None

        seen, position = [], ""
        while position is not None:
            page = await store.read(
                shard(),
                lambda txn, position=position: THINGS.page(txn, 2, prefix="name-", after_name=position),
                context(),
            )
            assert len(page.items) <= 2
            seen += page.items
            position = page.next_after
        assert seen == [(f"name-{n}", Thing(n)) for n in (0, 1, 2, 4, 5, 6)]

    bench.run(test)


def test_names_longer_than_a_key_are_kept_apart(memory_bench):
    async def test(store):
        names = ["x" * 4000 + end for end in ("a", "b")]

        def write(txn):
            for n, name in enumerate(names):
                THINGS.put(txn, name, Thing(n))

        await store.transact(shard(), write, context())
        found = await store.read(shard(), lambda txn: [THINGS.get(txn, name) for name in names], context())
        assert found == [Thing(0), Thing(1)]

    memory_bench.run(test)


def test_tags_are_merged_and_taken_off(memory_bench):
    tags = Tags("thing")

    async def test(store):
        await store.transact(shard(), lambda txn: tags.add(txn, "a", {"x": "1", "y": "2"}), context())
        merged = await store.transact(shard(), lambda txn: tags.add(txn, "a", {"y": "3", "z": ""}), context())
        assert merged == {"x": "1", "y": "3", "z": ""}
        await store.transact(shard(), lambda txn: tags.remove(txn, "a", ["x", "never"]), context())
        assert await store.read(shard(), lambda txn: tags.of(txn, "a"), context()) == {"y": "3", "z": ""}
        await store.transact(shard(), lambda txn: tags.remove(txn, "a", ["y", "z"]), context())
        assert await store.read(shard(), lambda txn: txn.scan(b"", OWN_KEYS, 5), context()) == []

    memory_bench.run(test)


@given(st.lists(st.one_of(st.text(max_size=9), st.integers(0, 2**40), st.binary(max_size=9)), max_size=3))
def test_page_tokens_carry_their_position(position):
    assert read_page_token(page_token("scope", *position), "scope") == position


@given(st.text(max_size=40))
def test_what_is_no_token_is_refused(text):
    with pytest.raises(InvalidTokenError):
        read_page_token(text, "scope")


def test_a_token_of_another_list_is_refused():
    with pytest.raises(InvalidTokenError):
        read_page_token(page_token("ListA", "x"), "ListB")


def test_a_repeated_token_gets_the_first_answer_until_it_expires(bench):
    tokens = Idempotency("create", keep_ms=600_000)
    clock = ServiceClock(SystemClock())
    clock.pause()
    begin = clock.now()

    async def test(store):
        def look(request):
            return store.read(shard(), lambda txn: tokens.find(txn, "t", request), context())

        assert await look(b"req") is None
        await store.transact(shard(), lambda txn: tokens.remember(txn, "t", b"req", {"Id": "1"}), context())
        assert await look(b"req") == ({"Id": "1"}, True)
        assert await look(b"other") == ({"Id": "1"}, False)
        await store.advance(Instant(begin + 600_000))
        assert await look(b"req") is None

    bench.run(test, clock=clock)


def test_a_sweep_erases_a_big_range_and_nothing_beside_it(bench):
    async def test(store):
        for part in range(3):

            def fill(txn, part=part):
                for n in range(500):
                    txn.put(pack("old", part * 500 + n), b"")

            await store.transact(shard(), fill, context())
        await store.transact(shard(), lambda txn: (txn.put(pack("older"), b""), txn.put(pack("a"), b"")), context())
        await store.transact(shard(), lambda txn: sweep(txn, pack("old"), prefix_end(pack("old"))), context())
        await store.quiet(30)
        rows = await store.read(shard(), lambda txn: txn.scan(b"", OWN_KEYS, 10), context())
        assert [key for key, _ in rows] == [pack("a"), pack("older")]

    bench.run(test)


def test_a_key_expires_at_its_last_given_time_or_not_at_all(memory_bench):
    clock = ServiceClock(SystemClock())
    clock.pause()
    begin = clock.now()

    async def test(store):
        def write(txn):
            for name in (b"\x01a", b"\x01b", b"\x01c"):
                txn.put(name, b"")
                expire(txn, name, Instant(begin + 1000))
            expire(txn, b"\x01b", Instant(begin + 9000))
            keep(txn, b"\x01c")

        async def keys():
            rows = await store.read(shard(), lambda txn: txn.scan(b"", OWN_KEYS, 10), context())
            return [key for key, _ in rows]

        await store.transact(shard(), write, context())
        await store.advance(Instant(begin + 5000))
        assert await keys() == [b"\x01b", b"\x01c"]
        await store.advance(Instant(begin + 10_000))
        assert await keys() == [b"\x01c"]

    memory_bench.run(test, clock=clock)


def test_revision_ids_are_uuids_and_differ(memory_bench):
    async def test(store):
        ids = [await store.transact(shard(), revision_id, context()) for _ in range(2)]
        assert ids[0] != ids[1]
        assert [str(uuid.UUID(one, version=4)) for one in ids] == ids

    memory_bench.run(test)
