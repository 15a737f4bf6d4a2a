"""Nothing is told before it is durable."""

import asyncio
import threading

import pytest
from store_kit import Answers, context, shard, until

from tule.kernel.errors import AwsError, ServiceUnavailableError
from tule.store.backend import CommitLostError, CommitRefusedError
from tule.store.keys import OWN_KEYS


class _RefusedError(AwsError):
    code = "Refused"


def _refuse(txn, _):
    raise _RefusedError(str(txn.get(b"\x01a")))


def test_results_refusals_and_empty_results_wait_for_what_they_saw(sqlite_bench):
    async def test(store):
        may_commit = threading.Event()
        sqlite_bench.faults.arm("store.commit.before", may_commit.wait)
        writes, refusals, looks, elsewhere = Answers(), Answers(), Answers(), Answers()
        effects = []

        def write(txn, _):
            txn.put(b"\x01a", b"1")
            txn.then(lambda: effects.append("appended"))
            txn.after_commit(lambda: effects.append("durable"))

        store.submit(shard(), write, None, context(), writes)
        store.submit(shard(), _refuse, None, context(), refusals)
        await asyncio.sleep(0.01)
        store.submit(shard(), lambda txn, _: txn.get(b"\x01b"), None, context(), looks)
        store.submit(shard("two"), lambda txn, _: txn.get(b"\x01b"), None, context(), elsewhere)
        await asyncio.sleep(0.01)
        assert (writes.got, refusals.got, looks.got) == ([], [], [])
        assert elsewhere.got == [None]
        assert effects == ["appended"]
        assert await store.read(shard(), lambda txn: txn.get(b"\x01a"), context()) is None

        may_commit.set()
        await store.quiet(10)
        assert (writes.got, looks.got, effects) == ([None], [None], ["appended", "durable"])
        assert [str(error) for error in refusals.got] == ["b'1'"]
        assert await store.read(shard(), lambda txn: txn.get(b"\x01a"), context()) == b"1"

    sqlite_bench.run(test)


def test_reads_are_answered_before_submit_read_returns_on_an_embedded_store(sqlite_bench):
    async def test(store):
        answers = Answers()
        store.submit_read(shard(), lambda txn, key: txn.get(key), b"\x01a", context(), answers)
        assert answers.got == [None]

    sqlite_bench.run(test)


def test_one_read_sees_one_instant_while_batches_are_committed(sqlite_bench):
    async def test(store):
        stop = False

        def write(txn, n):
            txn.put(b"\x01a", n.to_bytes(4, "big"))
            txn.put(b"\x01b", n.to_bytes(4, "big"))
            return n

        def again(n, _):
            if not stop:
                store.submit(shard(), write, n + 1, context(), again)

        def read(txn):
            first = txn.get(b"\x01a")
            txn.scan(b"", OWN_KEYS, 10)
            return first, txn.get(b"\x01b")

        again(0, None)
        seen = set()
        while len(seen) < 50:
            first, second = await store.read(shard(), read, context())
            assert first == second
            seen.add(first)
            await asyncio.sleep(0)
        stop = True
        await store.quiet(10)

    sqlite_bench.run(test)


def _fail_once(faults, error):
    def fail():
        faults.disarm("store.commit.before")
        raise error

    faults.arm("store.commit.before", fail)


def test_a_refused_commit_answers_503_drops_memory_and_the_store_goes_on(bench):
    async def test(store):
        await store.transact(shard(), lambda txn: (txn.put(b"\x01a", b"old"), txn.count("n", 1)), context())
        built = []

        def build(txn):
            built.append(txn.get(b"\x01a"))
            return [built[-1]]

        assert await store.transact(shard(), lambda txn: txn.memory("window", build), context()) == [b"old"]
        _fail_once(bench.faults, CommitRefusedError("disk full"))
        answers = Answers()

        def write(txn, value):
            kept = txn.memory("window", build)
            txn.put(b"\x01a", value)
            txn.count("n", 1)
            txn.then(lambda: kept.append(value))
            txn.after_commit(lambda: answers.got.append("told"))

        store.submit(shard(), write, b"lost", context(), answers)
        store.submit(shard(), lambda txn, _: txn.get(b"\x01a"), None, context(), answers)
        await store.quiet(10)
        assert [type(answer) for answer in answers.got] == [ServiceUnavailableError] * 2
        assert "disk full" in str(answers.got[0])

        def look(txn):
            return txn.get(b"\x01a"), txn.counter("n"), list(txn.memory("window", build))

        assert await store.transact(shard(), look, context()) == (b"old", 1, [b"old"])
        await store.transact(shard(), lambda txn: txn.put(b"\x01a", b"new"), context())
        assert await store.read(shard(), lambda txn: txn.get(b"\x01a"), context()) == b"new"
        assert bench.lost == []

    bench.run(test)


def test_ids_told_after_a_refused_commit_are_still_new_after_reopening(bench):
    async def test(store):
        _fail_once(bench.faults, CommitRefusedError("disk full"))
        with pytest.raises(ServiceUnavailableError):
            await store.transact(shard(), lambda txn: txn.new_id(), context())
        told = await store.transact(shard(), lambda txn: txn.new_id(), context())
        again = await bench.reopen(store)
        assert await again.transact(shard(), lambda txn: txn.new_id(), context()) > told
        await bench.close(again)

    bench.run(test)


def test_what_was_appended_behind_a_batch_that_is_refused_is_refused_too(sqlite_bench):
    async def test(store):
        reached, go = threading.Event(), threading.Event()

        def fail():
            reached.set()
            go.wait()
            sqlite_bench.faults.disarm("store.commit.before")
            raise CommitRefusedError("disk full")

        sqlite_bench.faults.arm("store.commit.before", fail)
        answers = Answers()
        store.submit(shard(), lambda txn, _: txn.put(b"\x01a", b"1"), None, context(), answers)
        await until(reached.is_set)
        store.submit(shard(), lambda txn, _: txn.put(b"\x01b", txn.get(b"\x01a")), None, context(), answers)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go.set()
        await until(lambda: len(answers.got) == 2)
        assert all(isinstance(answer, ServiceUnavailableError) for answer in answers.got)
        assert await store.read(shard(), lambda txn: txn.scan(b"", OWN_KEYS, 5), context()) == []
        await store.transact(shard(), lambda txn: txn.put(b"\x01c", b"3"), context())
        assert await store.read(shard(), lambda txn: txn.scan(b"", OWN_KEYS, 5), context()) == [(b"\x01c", b"3")]

    sqlite_bench.run(test)


def test_losing_track_of_the_disk_ends_the_process_and_tells_nobody_of_success(bench):
    async def test(store):
        _fail_once(bench.faults, CommitLostError("fsync failed"))
        answers = Answers()
        store.submit(shard(), lambda txn, _: txn.put(b"\x01a", b"1"), None, context(), answers)
        await until(lambda: bench.lost and answers.got)
        assert isinstance(bench.lost[0], CommitLostError)
        assert isinstance(answers.got[0], ServiceUnavailableError)

    bench.run(test)


def test_what_waits_for_the_disk_is_bounded(sqlite_bench):
    async def test(store):
        may_commit = threading.Event()
        sqlite_bench.faults.arm("store.commit.before", may_commit.wait)
        answers = Answers()
        value = b"x" * (8 * 1024 * 1024)
        for n in range(20):
            store.submit(shard(), lambda txn, n: txn.put(b"\x01%c" % n, value), n, context(), answers)
            await asyncio.sleep(0)
        throttled = [answer for answer in answers.got if isinstance(answer, AwsError)]
        assert len(throttled) == 4  # 128 MiB wait: twice what makes sockets pause
        assert {error.error_code for error in throttled} == {"ThrottlingException"}
        assert sqlite_bench.pressure == [True]
        may_commit.set()
        await store.quiet(30)
        assert sqlite_bench.pressure == [True, False]
        await store.transact(shard(), lambda txn: txn.put(b"\x01z", b""), context())
        assert answers.got.count(None) == 16

    sqlite_bench.run(test)
