"""Queues in a simulated world: producers, consumers, poison and crashes; then the books are balanced."""

import asyncio
import json
import os
from dataclasses import dataclass, field

import pytest

from tule.kernel.errors import AwsError
from tule.kernel.randomness import SystemRandom
from tule.observe.ledger import balances
from tule.services.sqs.service import SERVICE as SQS
from tule.store.backend import Range
from tule.store.outbox import Courier
from tule.store.records import decode_outbox
from tule.store.space import OUTBOX
from tule.testing.simulation import ACCOUNT, REGION, CrashedError, SimulatedBackend, World, simulate

pytestmark = pytest.mark.faults
SEEDS = 300 if os.environ.get("TULE_SOAK") else 12
FIXED_SEEDS = range(4)
PRODUCERS = 3
CONSUMERS = 3
MESSAGES = 30
CRASHES = 10
MAX_RECEIVES = 3
VISIBILITY_S = 2
QUEUE = f"http://localhost:4566/{ACCOUNT}/orders"
DEAD = f"http://localhost:4566/{ACCOUNT}/dead"


@dataclass
class Books:
    """What clients know: the only truth a crash may not contradict."""

    sent: set = field(default_factory=set)
    tried: set = field(default_factory=set)
    seen: list = field(default_factory=list)
    deleted: set = field(default_factory=set)
    wrong: list = field(default_factory=list)


def is_poison(body):
    return int(body.split("-")[1]) % 5 == 0


async def persist(world, operation, request):
    """Ask until the world answers; what crashed may or may not have happened."""
    while True:
        try:
            return await world.process.call("sqs", operation, request)
        except CrashedError:
            await world.machine.sleep(0.05)
        except AwsError as error:
            if error.error_status < 500:
                raise
            await world.machine.sleep(0.05)


async def produce(world, books, number):
    for index in range(MESSAGES):
        body = f"{number}-{index}"
        books.tried.add(body)
        try:
            await world.process.call("sqs", "SendMessage", {"QueueUrl": QUEUE, "MessageBody": body})
            books.sent.add(body)
        except (CrashedError, AwsError):
            await world.machine.sleep(0.05)
        await world.machine.sleep(world.random.fraction() * 0.03)


async def consume(world, books, done):
    while not done.is_set():
        asked = {"QueueUrl": QUEUE, "MaxNumberOfMessages": 4, "WaitTimeSeconds": 1}
        try:
            received = await world.process.call("sqs", "ReceiveMessage", asked)
        except (CrashedError, AwsError):
            await world.machine.sleep(0.05)
            continue
        for message in received.get("Messages", ()):
            body = message["Body"]
            books.seen.append(body)
            if body in books.deleted:
                books.wrong.append(f"{body} came again after its deletion was told")
            if is_poison(body):
                continue
            try:
                gone = {"QueueUrl": QUEUE, "ReceiptHandle": message["ReceiptHandle"]}
                await world.process.call("sqs", "DeleteMessage", gone)
                books.deleted.add(body)
            except (CrashedError, AwsError):
                pass


async def wreck(world):
    for _ in range(CRASHES):
        await world.machine.sleep(world.random.fraction() * 0.15)
        await world.crash(zombie=world.random.below(3) == 0)


async def drained(world):
    """Every message left of the queue, and every one in the dead-letter queue."""
    bodies = {QUEUE: [], DEAD: []}
    for url, found in bodies.items():
        empty = 0
        while empty < 2:
            asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0, "VisibilityTimeout": 10_000}
            received = await persist(world, "ReceiveMessage", asked)
            messages = received.get("Messages", [])
            found += [message["Body"] for message in messages]
            empty = 0 if messages else empty + 1
    return bodies


async def story(seed, backend=SimulatedBackend, prepare=None):
    world, books, done = World(seed, {"sqs": SQS}, backend, prepare), Books(), asyncio.Event()
    await world.start()
    await persist(world, "CreateQueue", {"QueueName": "dead"})
    redrive = json.dumps(
        {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead", "maxReceiveCount": str(MAX_RECEIVES)}
    )
    attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": str(VISIBILITY_S)}
    await persist(world, "CreateQueue", {"QueueName": "orders", "Attributes": attributes})
    consumers = [asyncio.ensure_future(consume(world, books, done)) for _ in range(CONSUMERS)]
    producers = [produce(world, books, number) for number in range(PRODUCERS)]
    await asyncio.gather(*producers, wreck(world))
    for _ in range(40):
        await world.machine.sleep(VISIBILITY_S)
        if not await waiting(world):
            break
    done.set()
    await asyncio.gather(*consumers)
    await world.process.engine.quiet(5)
    judge(books, await drained(world))
    await balance(world, books)
    await world.process.tasks.close()
    return books.wrong


async def waiting(world):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = await persist(world, "GetQueueAttributes", {"QueueUrl": QUEUE, "AttributeNames": names})
    return sum(int(answer["Attributes"][name]) for name in names)


def judge(books, left):
    seen, dead, queued = set(books.seen), left[DEAD], set(left[QUEUE])
    for body in books.sent - books.deleted - set(dead) - queued:
        # A deletion whose answer was lost may have happened.
        if body not in seen or is_poison(body):
            books.wrong.append(f"{body} was accepted and is nowhere")
    books.wrong += [f"{body} was never sent" for body in seen | set(dead) if body not in books.tried]
    books.wrong += [f"{body} is dead twice" for body in set(dead) if dead.count(body) > 1]
    books.wrong += [
        f"{body} is dead though it is no poison" for body in dead if not is_poison(body) and body in books.deleted
    ]


async def balance(world, books):
    """accepted = fates + pending, and pending is what the queue says it has."""
    totals = {}
    for shard in list(world.process.engine._shards.values()):
        rows = await world.process.engine.rows(Range(shard.prefix + b"\xf1", shard.prefix + b"\xf2", 1_000))
        for key, value in rows:
            name = key[len(shard.prefix) + 2 : -1].decode()
            totals[name] = totals.get(name, 0) + int.from_bytes(value, "big", signed=True)
    for hop in balances(totals):
        if hop.pending < 0:
            books.wrong.append(f"{hop.hop}: {hop.accepted} accepted, {hop.fates}")


def run(seed, **planted):
    return simulate(lambda: story(seed, **planted))


@pytest.mark.parametrize("seed", FIXED_SEEDS)
def test_nothing_is_lost_or_doubled(seed):
    assert run(seed) == []


def test_nothing_is_lost_or_doubled_under_fresh_seeds():
    random = SystemRandom()
    for _ in range(SEEDS):
        seed = random.below(2**31)
        assert run(seed) == [], f"seed {seed}"


def found_within(seeds, **planted):
    """Whether any of the seeds finds a planted bug, be it as a wrong book or as a world that falls apart."""
    for seed in range(seeds):
        try:
            if run(seed, **planted):
                return True
        except (AwsError, RuntimeError, KeyError, AssertionError):
            return True
    return False


class EarlyBackend(SimulatedBackend):
    """A planted bug: it answers before the rows are kept."""

    async def commit(self, batches):
        held = list(batches)
        asyncio.get_running_loop().call_later(0.05, lambda: None if self.crashed else self.apply(held))


class TornBackend(SimulatedBackend):
    """A planted bug: half of a batch is kept, then the rest, and a crash may come between."""

    async def commit(self, batches):
        await self.wait()
        if self.fenced():
            raise RuntimeError("another process has the disk")
        for batch in batches:
            keys = list(batch.writes)
            first, rest = keys[::2], keys[1::2]
            for part in (first, rest):
                writes = {key: batch.writes[key] for key in part}
                self.disk.rows._write(writes)
                await self.wait()


class UnfencedBackend(SimulatedBackend):
    """A planted bug: whoever believes in the disk may write it."""

    def fenced(self):
        return False


@pytest.mark.parametrize("planted", [EarlyBackend, TornBackend, UnfencedBackend])
def test_a_planted_bug_of_the_disk_is_found(planted):
    assert found_within(40, backend=planted)


def test_a_letter_that_is_delivered_again_has_its_effect_once():
    assert deliver_twice(lambda engine: None) == 1


def test_a_courier_without_dedup_is_found():
    class Forgetful(Courier):
        __slots__ = ()

        def _is_repetition(self, txn, letter):
            return False

    def plant(engine):
        engine.courier = Forgetful(engine)

    assert deliver_twice(plant) == 2


def deliver_twice(prepare):
    """How often a message lies in a queue that a courier brings it to twice, a crash between."""

    async def tell():
        world = World(7, {"sqs": SQS}, prepare=prepare)
        await world.start()
        await persist(world, "CreateQueue", {"QueueName": "dead"})
        redrive = json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead", "maxReceiveCount": "1"})
        attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": "0"}
        await persist(world, "CreateQueue", {"QueueName": "orders", "Attributes": attributes})
        kept = {}
        original = world.disk.rows._write

        def watching(writes):
            kept.update({key: value for key, value in writes.items() if key[:1] == OUTBOX and value is not None})
            original(writes)

        world.disk.rows._write = watching
        # A courier that is slow to begin: the letter becomes a row before it is delivered.
        world.process.engine.courier.paused = True
        await persist(world, "SendMessage", {"QueueUrl": QUEUE, "MessageBody": "0-1"})
        for _ in range(3):
            await persist(world, "ReceiveMessage", {"QueueUrl": QUEUE})
        await world.machine.sleep(1)
        assert [decode_outbox(value).receiver for value in kept.values()] != []
        await world.crash()
        await world.process.engine.quiet(5)
        original(kept)
        await world.crash()
        await world.process.engine.quiet(5)
        count = len((await drained(world))[DEAD])
        await world.process.tasks.close()
        return count

    return simulate(tell)
