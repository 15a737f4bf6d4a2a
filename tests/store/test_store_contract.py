"""What every backend's engine must do, as a service would notice it."""

import pytest
from store_kit import ACCOUNT, REGION, Answers, context, shard

from tule.kernel.errors import AwsError
from tule.store.keys import OWN_KEYS, pack, prefix_end

ALL = (b"", OWN_KEYS)


class _RefusedError(AwsError):
    code = "Refused"


def test_what_was_written_is_read_back_in_key_order(bench):
    async def test(store):
        def write(txn):
            txn.put(pack("b"), b"2")
            txn.put(pack("a"), b"1")
            txn.put(pack("c"), b"3")
            txn.delete(pack("b"))

        await store.transact(shard(), write, context())
        seen = await store.read(shard(), lambda txn: txn.scan(*ALL, 10), context())
        assert seen == [(pack("a"), b"1"), (pack("c"), b"3")]

    bench.run(test)


def test_a_transaction_sees_its_own_writes_and_those_appended_before_it(bench):
    async def test(store):
        answers = Answers()
        store.submit(shard(), lambda txn, _: txn.put(b"\x01a", b"first"), None, context(), answers)

        def read(txn, _):
            before = txn.get(b"\x01a")
            txn.put(b"\x01a", b"second")
            txn.put(b"\x01b", b"new")
            return before, txn.get(b"\x01a"), txn.scan(*ALL, 10), txn.scan(*ALL, 10, reverse=True)

        store.submit(shard(), read, None, context(), answers)
        await store.quiet(10)
        rows = [(b"\x01a", b"second"), (b"\x01b", b"new")]
        assert answers.got == [None, (b"first", b"second", rows, rows[::-1])]

    bench.run(test)


def test_a_refusal_changes_nothing(bench):
    async def test(store):
        await store.transact(shard(), lambda txn: txn.put(b"\x01a", b"1"), context())
        before = await store.fingerprint()
        effects = []

        def refuse(txn):
            txn.put(b"\x01a", b"2")
            txn.delete_range(*ALL)
            txn.count("n", 5)
            txn.enlist("thing", "x", b"")
            txn.then(lambda: effects.append("then"))
            txn.after_commit(lambda: effects.append("after"))
            raise _RefusedError("no")

        with pytest.raises(_RefusedError):
            await store.transact(shard(), refuse, context())
        assert await store.read(shard(), lambda txn: (txn.get(b"\x01a"), txn.counter("n")), context()) == (b"1", 0)
        assert await store.fingerprint() == before
        assert effects == []

    bench.run(test)


def test_effects_run_once_however_often_a_handler_was_run(bench):
    async def test(store):
        effects = []

        def write(txn):
            txn.get(b"\x01x")
            txn.then(lambda: effects.append("then"))
            txn.after_commit(lambda: effects.append("after"))
            txn.get(b"\x01y")
            txn.put(b"\x01x", b"1")

        await store.transact(shard(), write, context())
        assert effects == ["then", "after"]

    bench.run(test)


def test_shards_do_not_see_each_other(bench):
    async def test(store):
        await store.transact(shard("a"), lambda txn: txn.put(b"\x01k", b"a"), context())
        await store.transact(shard("ab"), lambda txn: txn.put(b"\x01k", b"ab"), context())
        await store.transact(shard("a"), lambda txn: txn.delete_range(*ALL), context())
        assert await store.read(shard("a"), lambda txn: txn.get(b"\x01k"), context()) is None
        assert await store.read(shard("ab"), lambda txn: txn.scan(*ALL, 5), context()) == [(b"\x01k", b"ab")]

    bench.run(test)


def test_counters_add_up_over_transactions_and_reopening(bench):
    async def test(store):
        def count(n):
            return lambda txn: txn.count("sent", n)

        for n in (3, 4, -2):
            await store.transact(shard(), count(n), context())
        assert await store.read(shard(), lambda txn: txn.counter("sent"), context()) == 5
        again = await bench.reopen(store)
        await again.transact(shard(), count(10), context())
        assert await again.read(shard(), lambda txn: txn.counter("sent"), context()) == 15
        assert await again.read(shard(), lambda txn: txn.counter("other"), context()) == 0
        await bench.close(again)

    bench.run(test)


def test_a_deleted_range_can_be_written_again(bench):
    async def test(store):
        def fill(txn):
            for n in range(20):
                txn.put(pack("k", n), b"old")

        def renew(txn):
            txn.delete_range(pack("k", 5), pack("k", 15))
            txn.put(pack("k", 7), b"new")
            return txn.scan(pack("k", 4), pack("k", 16), 10)

        await store.transact(shard(), fill, context())
        expected = [(pack("k", 4), b"old"), (pack("k", 7), b"new"), (pack("k", 15), b"old")]
        assert await store.transact(shard(), renew, context()) == expected
        seen = await store.read(shard(), lambda txn: txn.scan(pack("k", 4), pack("k", 16), 10), context())
        assert seen == expected

    bench.run(test)


def test_lists_span_shards_and_page_by_name(bench):
    async def test(store):
        for name in ("alpha", "beta", "beta-2", "gamma"):
            await store.transact(
                shard(name), lambda txn, name=name: txn.enlist("thing", name, name.encode()), context()
            )
        await store.transact(shard("gone"), lambda txn: txn.enlist("thing", "gone", b""), context())
        await store.transact(shard("gone"), lambda txn: txn.delist("thing", "gone"), context())

        async def names(**options):
            return [entry.name for entry in await store.directory("test", ACCOUNT, REGION, "thing", **options)]

        assert await names() == ["alpha", "beta", "beta-2", "gamma"]
        assert await names(prefix="beta") == ["beta", "beta-2"]
        assert await names(limit=2) == ["alpha", "beta"]
        assert await names(after="beta", limit=2) == ["beta-2", "gamma"]
        assert await names(prefix="beta", after="beta") == ["beta-2"]
        assert await store.directory("test", "999999999999", REGION, "thing") == []

    bench.run(test)


def test_ids_grow_across_transactions_refusals_and_reopening(bench):
    async def test(store):
        def refuse(txn):
            txn.new_id()
            raise _RefusedError

        ids = [await store.transact(shard(), lambda txn: txn.new_id(), context())]
        with pytest.raises(_RefusedError):
            await store.transact(shard(), refuse, context())
        ids.append(await store.transact(shard(), lambda txn: txn.new_id(), context()))
        again = await bench.reopen(store)
        ids.append(await again.transact(shard(), lambda txn: txn.new_id(), context()))
        await bench.close(again)
        assert ids == sorted(set(ids))

    bench.run(test)


def test_everything_acknowledged_is_there_after_reopening(bench):
    async def test(store):
        for n in range(50):
            await store.transact(shard(str(n % 3)), lambda txn, n=n: txn.put(pack(n), b"x" * n), context())
        digest = await store.fingerprint()
        again = await bench.reopen(store)
        assert await again.fingerprint() == digest
        rows = await again.read(shard("1"), lambda txn: txn.scan(*ALL, 100), context())
        assert rows == [(pack(n), b"x" * n) for n in range(1, 50, 3)]
        await bench.close(again)

    bench.run(test)


def test_memory_is_built_once_from_what_was_appended_and_without_the_own_writes(bench):
    async def test(store):
        built = []

        def build(txn):
            built.append(txn.scan(*ALL, 10))
            return list(built[-1])

        def write(txn):
            txn.put(b"\x01new", b"")
            kept = txn.memory("window", build)
            txn.then(lambda: kept.append((b"\x01new", b"")))
            return kept

        await store.transact(shard(), lambda txn: txn.put(b"\x01a", b""), context())
        first = await store.transact(shard(), write, context())
        assert built == [[(b"\x01a", b"")]]
        assert first == [(b"\x01a", b""), (b"\x01new", b"")]
        assert await store.read(shard(), lambda txn: txn.memory("window", build), context()) is first
        assert len(built) == 1

    bench.run(test)


def test_get_many_answers_in_the_order_asked(bench):
    async def test(store):
        def write(txn):
            for n in range(5):
                txn.put(pack(n), bytes((n,)))

        await store.transact(shard(), write, context())

        def read(txn):
            txn.ahead([pack(2)])
            return txn.get_many([pack(3), pack(9), pack(0)])

        assert await store.transact(shard(), read, context()) == [b"\x03", None, b"\x00"]
        assert await store.read(shard(), read, context()) == [b"\x03", None, b"\x00"]

    bench.run(test)


def test_concurrent_increments_of_one_row_are_all_there(bench):
    async def test(store):
        answers = Answers()

        def increment(txn, by):
            value = int.from_bytes(txn.get(b"\x01n") or b"\0", "big") + by
            txn.put(b"\x01n", value.to_bytes(4, "big"))
            return value

        for _ in range(100):
            store.submit(shard(), increment, 1, context(), answers)
        await store.quiet(10)
        assert sorted(answers.got) == list(range(1, 101))

    bench.run(test)


def test_scans_are_limited_from_both_ends(bench):
    async def test(store):
        await store.transact(shard(), lambda txn: [txn.put(pack("p", n), b"") for n in range(30)], context())
        prefix = pack("p")

        def both(txn):
            forward = txn.scan(prefix, prefix_end(prefix), 3)
            backward = txn.scan(prefix, prefix_end(prefix), 3, reverse=True)
            return [key for key, _ in forward], [key for key, _ in backward]

        expected = [pack("p", n) for n in (0, 1, 2)], [pack("p", n) for n in (29, 28, 27)]
        assert await store.read(shard(), both, context()) == expected
        assert await store.transact(shard(), both, context()) == expected

    bench.run(test)


def test_a_defect_of_a_handler_is_told_and_leaves_the_shard_usable(bench):
    async def test(store):
        def broken(txn):
            txn.put(b"\x01a", b"")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.transact(shard(), broken, context())
        with pytest.raises(ZeroDivisionError):
            await store.read(shard(), lambda _: 1 // 0, context())
        assert await store.transact(shard(), lambda txn: txn.get(b"\x01a"), context()) is None

    bench.run(test)


def test_keys_and_values_of_any_bytes_survive(bench):
    async def test(store):
        pairs = {bytes((n,)) + b"\x00\xff": bytes(range(256)) * n for n in range(1, 100, 7)}

        def write(txn):
            for key, value in pairs.items():
                txn.put(key, value)
            txn.put(b"\x01empty", b"")

        await store.transact(shard("a\0b"), write, context())
        rows = await store.read(shard("a\0b"), lambda txn: txn.scan(*ALL, 100), context())
        assert rows == sorted([*pairs.items(), (b"\x01empty", b"")])

    bench.run(test)


def test_a_key_that_is_too_long_is_refused(bench):
    async def test(store):
        with pytest.raises(ValueError, match="at most 2500"):
            await store.transact(shard(), lambda txn: txn.put(b"\x01" * 2500, b""), context())

    bench.run(test)
