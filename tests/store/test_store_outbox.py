"""Messages between shards, and timers: in order, once in effect, over refusals and restarts."""

import asyncio

import pytest
from store_kit import Answers, context, shard

from tule.kernel.clocks import Instant, ServiceClock, SystemClock
from tule.kernel.errors import AwsError, ServiceUnavailableError
from tule.store.backend import CommitRefusedError, Range
from tule.store.keys import OWN_KEYS, pack
from tule.store.records import decode_fate
from tule.store.space import FATE, OUTBOX
from tule.store.transaction import Target

SOURCE, SINK = shard("source"), shard("sink")


class _NeverError(AwsError):
    code = "Never"


def _append(txn, message):
    """Keep messages in the order they come, with what reruns and repetitions would break."""
    count = int.from_bytes(txn.get(b"\x01count") or b"\0", "big")
    if message == b"poison":
        txn.put(b"\x01half", b"done")
        raise _NeverError("not this one")
    if message == b"defect":
        raise ZeroDivisionError
    txn.put(pack("got", count), message)
    txn.put(b"\x01count", (count + 1).to_bytes(4, "big"))


@pytest.fixture
def mail(bench):
    bench.handlers.receivers["append"] = _append
    return bench


def _send(*messages, sink=SINK, receiver="append"):
    def work(txn):
        for message in messages:
            txn.send(Target(sink, receiver), message)

    return work


async def _got(store, sink=SINK):
    rows = await store.read(sink, lambda txn: txn.scan(pack("got"), pack("got") + b"\xff", 100), context())
    return [value for _, value in rows]


async def _rows(store, space):
    return await store.rows(Range(space, bytes((space[0] + 1,)), 100))


def test_messages_arrive_in_order_and_leave_nothing_behind(mail):
    async def test(store):
        for n in range(5):
            await store.transact(SOURCE, _send(b"%d-a" % n, b"%d-b" % n), context())
        await store.quiet(10)
        assert await _got(store) == [b"%d-%c" % (n, letter) for n in range(5) for letter in b"ab"]
        assert await _rows(store, OUTBOX) == []

    mail.run(test)


def test_a_message_that_is_refused_is_kept_with_its_reason_and_blocks_nothing(mail):
    async def test(store):
        await store.transact(SOURCE, _send(b"1", b"poison", b"2", b"defect", b"3"), context())
        await store.transact(SOURCE, _send(b"x", receiver="unknown"), context())
        await store.quiet(10)
        assert await _got(store) == [b"1", b"2", b"3"]
        assert await store.read(SINK, lambda txn: txn.get(b"\x01half"), context()) is None
        assert await store.read(SINK, lambda txn: txn.counter("ledger/outbox/dropped"), context()) == 3
        fates = [decode_fate(value) for _, value in await _rows(store, FATE)]
        assert [(fate.letter.message, fate.reason) for fate in fates] == [
            (b"poison", "Never: not this one"),
            (b"defect", "defect: ZeroDivisionError"),
            (b"x", "test has no receiver unknown"),
        ]

    mail.run(test)


def test_what_a_restart_finds_in_the_outbox_is_delivered_once(mail):
    async def test(store):
        store.courier.paused = True  # the process ends between the commit and the delivery
        await store.transact(SOURCE, _send(b"1", b"2"), context())
        store.courier._lanes.clear()
        store.courier.ready.clear()
        assert len(await _rows(store, OUTBOX)) == 2
        again = await mail.reopen(store)
        await again.quiet(10)
        assert await _got(again) == [b"1", b"2"]
        await again.transact(SOURCE, _send(b"3"), context())
        third = await mail.reopen(again)
        assert await _got(third) == [b"1", b"2", b"3"]
        assert await _rows(third, OUTBOX) == []
        await mail.close(third)

    mail.run(test)


def test_a_letter_whose_end_was_not_noted_is_not_taken_twice(mail):
    async def test(store):
        store.courier.paused = True
        await store.transact(SOURCE, _send(b"1"), context())
        letters = await _rows(store, OUTBOX)
        store.courier.paused = False
        store.wake()
        await store.quiet(10)
        store.courier.load(letters)
        store.wake()
        await store.quiet(10)
        assert await _got(store) == [b"1"]

    mail.run(test)


def test_messages_can_cause_messages(mail):
    def forward(txn, message):
        if message:
            txn.send(Target(shard(f"hop{len(message)}"), "forward"), message[1:])
        txn.send(Target(SINK, "append"), message)

    mail.handlers.receivers["forward"] = forward

    async def test(store):
        await store.transact(SOURCE, _send(b"abc", sink=shard("first"), receiver="forward"), context())
        await store.quiet(10)
        assert sorted(await _got(store)) == [b"", b"abc", b"bc", b"c"]

    mail.run(test)


def test_a_refused_commit_delivers_nothing_and_what_was_durable_still_arrives(mail):
    async def test(store):
        store.courier.paused = True
        await store.transact(SOURCE, _send(b"durable"), context())
        store.courier.paused = False

        def fail():
            mail.faults.disarm("store.commit.before")
            raise CommitRefusedError("disk full")

        mail.faults.arm("store.commit.before", fail)
        with pytest.raises(ServiceUnavailableError):
            await store.transact(SOURCE, _send(b"lost"), context())
        await store.transact(SOURCE, _send(b"new"), context())
        await store.quiet(10)
        assert await _got(store) == [b"durable", b"new"]

    mail.run(test)


# --- time


def _paused():
    clock = ServiceClock(SystemClock())
    clock.pause()
    return clock


def _note(txn, key, payload):
    txn.put(pack("fired", txn.now, key), payload)


async def _fired(store):
    rows = await store.read(SOURCE, lambda txn: txn.scan(pack("fired"), pack("fired") + b"\xff", 100), context())
    return [value for _, value in rows]


def test_timers_fire_in_order_of_time_and_at_their_time(bench):
    bench.handlers.timers["note"] = _note
    clock = _paused()
    begin = clock.now()

    async def test(store):
        def write(txn):
            for seconds in (30, 10, 20):
                txn.due(Instant(begin + seconds * 1000), "note", b"%d" % seconds, b"after %d" % seconds)

        await store.transact(SOURCE, write, context())
        await store.advance(Instant(begin + 9_999))
        assert await _fired(store) == []
        await store.advance(Instant(begin + 60_000))
        rows = await store.read(SOURCE, lambda txn: txn.scan(b"", OWN_KEYS, 100), context())
        assert rows == [(pack("fired", begin + n * 1000, b"%d" % n), b"after %d" % n) for n in (10, 20, 30)]
        assert clock.now() == begin + 60_000

    bench.run(test, clock=clock)


def test_a_timer_can_be_moved_and_cancelled(bench):
    bench.handlers.timers["note"] = _note
    clock = _paused()
    begin = clock.now()

    async def test(store):
        def write(txn):
            txn.due(Instant(begin + 1000), "note", b"moved", b"early")
            txn.due(Instant(begin + 1000), "note", b"gone", b"gone")

        def change(txn):
            txn.due(Instant(begin + 5000), "note", b"moved", b"late")
            txn.cancel_due("note", b"gone")
            txn.cancel_due("note", b"never was")

        await store.transact(SOURCE, write, context())
        await store.transact(SOURCE, change, context())
        await store.advance(Instant(begin + 4000))
        assert await _fired(store) == []
        await store.advance(Instant(begin + 6000))
        assert await _fired(store) == [b"late"]

    bench.run(test, clock=clock)


def test_timers_and_a_paused_clock_outlive_a_restart(bench):
    bench.handlers.timers["note"] = _note

    async def test(store):
        store.clock.pause()
        begin = store.clock.now()
        await store.transact(SOURCE, lambda txn: txn.due(Instant(begin + 7_200_000), "note", b"k", b"kept"), context())
        await store.advance(Instant(begin + 3_600_000))
        again = await bench.reopen(store)
        assert again.clock.paused
        assert again.clock.now() == begin + 3_600_000
        await again.advance(Instant(begin + 7_200_000))
        assert await _fired(again) == [b"kept"]
        await bench.close(again)

    bench.run(test)


def test_a_timer_that_repeats_itself_fires_at_every_interval_of_an_advance(bench):
    def repeat(txn, key, _):
        txn.count("ticks", 1)
        txn.due(Instant(txn.now + 60_000), "repeat", key)

    bench.handlers.timers["repeat"] = repeat
    clock = _paused()
    begin = clock.now()

    async def test(store):
        await store.transact(SOURCE, lambda txn: txn.due(Instant(begin + 60_000), "repeat", b""), context())
        await store.advance(Instant(begin + 3_600_000))
        assert await store.read(SOURCE, lambda txn: txn.counter("ticks"), context()) == 60

    bench.run(test, clock=clock)


def test_many_timers_of_one_instant_all_fire(bench):
    bench.handlers.timers["note"] = lambda txn, *_: txn.count("fired", 1)
    clock = _paused()
    begin = clock.now()

    async def test(store):
        def write(txn):
            for n in range(700):
                txn.due(Instant(begin + 1000), "note", b"%d" % n)

        await store.transact(SOURCE, write, context())
        await store.advance(Instant(begin + 2000))
        assert await store.read(SOURCE, lambda txn: txn.counter("fired"), context()) == 700

    bench.run(test, clock=clock)


def test_a_timer_with_a_defect_is_tried_again_and_then_given_up(bench):
    tries = []

    def broken(txn, *_):
        txn.put(b"\x01half", b"")
        txn.then(lambda: None)
        tries.append(txn.now)
        raise ZeroDivisionError

    bench.handlers.timers["broken"] = broken
    clock = _paused()
    begin = clock.now()

    async def test(store):
        await store.transact(SOURCE, lambda txn: txn.due(Instant(begin + 1000), "broken", b"k"), context())
        await store.advance(Instant(begin + 3_600_000))
        assert [at - begin for at in dict.fromkeys(tries)] == [1000 * 2**n for n in range(8)]
        assert await store.read(SOURCE, lambda txn: txn.counter("ledger/timer/dropped"), context()) == 1
        assert await store.read(SOURCE, lambda txn: txn.get(b"\x01half"), context()) is None

    bench.run(test, clock=clock)


def test_an_alarm_rings_at_its_time_unless_called_off(bench):
    clock = _paused()
    begin = clock.now()

    async def test(store):
        rung = []
        for seconds in (3, 1, 2):
            store.alarm(Instant(begin + seconds * 1000), lambda seconds=seconds: rung.append(seconds))
        store.alarm(Instant(begin + 1500), lambda: rung.append("called off")).cancel()
        await store.advance(Instant(begin + 2500))
        assert rung == [1, 2]
        await store.advance(Instant(begin + 2500))
        clock.step_to(Instant(begin + 3000))
        await store.quiet(10)
        assert rung == [1, 2, 3]

    bench.run(test, clock=clock)


def test_advance_waits_for_what_is_released_before_it_goes_on(bench):
    clock = _paused()
    begin = clock.now()
    released = []

    async def test(store):
        store.alarm(Instant(begin + 1000), lambda: released.append("alarm"))
        store.alarm(Instant(begin + 2000), lambda: released.append(list(finished)))
        finished = []

        async def settle():
            await asyncio.sleep(0)
            finished.append(clock.now() - begin)

        await store.advance(Instant(begin + 5000), settle)
        assert released == ["alarm", [1000]]

    bench.run(test, clock=clock)


def test_timers_come_by_themselves_when_time_passes(bench):
    bench.handlers.timers["note"] = _note

    async def test(store):
        answers = Answers()
        rung = asyncio.Event()

        def work(txn, _):
            txn.due(Instant(txn.now + 5), "note", b"k", b"came")

        store.submit(SOURCE, work, None, context(), answers)
        store.alarm(Instant(store.clock.now() + 30), rung.set)
        await asyncio.wait_for(rung.wait(), 10)
        await store.quiet(10)
        assert await _fired(store) == [b"came"]

    bench.run(test)
