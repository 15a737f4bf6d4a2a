"""Orders go from a queue into a table in a simulated world of crashes; then orders and bill are balanced."""

import asyncio
import json
import os
from dataclasses import dataclass, field

import pytest

from tule.admin.counters import totals
from tule.kernel.errors import AwsError, ServiceUnavailableError
from tule.kernel.randomness import SystemRandom
from tule.observe import ledger, metering
from tule.services.dynamodb.service import SERVICE as DYNAMODB
from tule.services.sqs.service import SERVICE as SQS
from tule.store.backend import CommitRefusedError, CommitUnknownError
from tule.store.cache import Cache
from tule.testing.simulation import ACCOUNT, REGION, CrashedError, SimulatedBackend, World, simulate

pytestmark = pytest.mark.faults
SEEDS = 200 if os.environ.get("TULE_SOAK") else 8
FIXED_SEEDS = range(3)
CUSTOMERS = 3
ORDERS = 24
POLLERS = 3
CRASHES = 8
MAX_RECEIVES = 3
VISIBILITY_S = 2
UNITS_AN_ORDER = 2
"""One for the item, one for its row in the index."""
QUEUE = f"http://localhost:4566/{ACCOUNT}/orders"
DEAD = f"http://localhost:4566/{ACCOUNT}/dead"
TABLE = {
    "TableName": "orders",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("id", "customer")],
    "BillingMode": "PAY_PER_REQUEST",
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-customer",
            "KeySchema": [{"AttributeName": "customer", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
}


class UnknownError(Exception):
    """Nobody knows what became of the call: the process died, or refused."""


@dataclass
class Books:
    """What callers know."""

    placed: set = field(default_factory=set)
    tried: set = field(default_factory=set)
    billed: int = 0
    """Calls to the queue that were told to have done something."""
    doubtful: int = 0
    """Calls to the queue that may have."""


def is_poison(order):
    return int(order.split("-")[1]) % 6 == 0


async def call(world, service, operation, request):
    try:
        return await world.process.call(service, operation, request)
    except CrashedError as error:
        raise UnknownError from error
    except AwsError as error:
        if error.error_status < 500:
            raise
        raise UnknownError from error


async def persist(world, service, operation, request):
    """Ask until the world answers."""
    while True:
        try:
            return await call(world, service, operation, request)
        except UnknownError:
            await world.machine.sleep(0.05)


async def billed(world, books, operation, request):
    """A call to the queue that costs something, unless it finds nothing."""
    try:
        answer = await call(world, "sqs", operation, request)
    except UnknownError:
        books.doubtful += 1
        raise
    if operation != "ReceiveMessage" or answer.get("Messages"):
        books.billed += 1
    return answer


async def shop(world, books, customer):
    for number in range(ORDERS):
        order = f"{customer}-{number}"
        books.tried.add(order)
        try:
            await billed(world, books, "SendMessage", {"QueueUrl": QUEUE, "MessageBody": order})
            books.placed.add(order)
        except UnknownError:
            await world.machine.sleep(0.05)
        await world.machine.sleep(world.random.fraction() * 0.03)


async def keep(world, order):
    """What the function does with a good order; a second time is harmless."""
    item = {"id": {"S": order}, "customer": {"S": order.split("-")[0]}}
    put = {"TableName": "orders", "Item": item, "ConditionExpression": "attribute_not_exists(id)"}
    try:
        await call(world, "dynamodb", "PutItem", put)
    except AwsError as error:
        if error.error_code != "ConditionalCheckFailedException":
            raise


async def finish(world, books, done):
    entries = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(done)]
    if entries:
        await billed(world, books, "DeleteMessageBatch", {"QueueUrl": QUEUE, "Entries": entries})


async def deliver(world, books, messages):
    """One batch, as an event source mapping delivers it: what failed alone comes again."""
    done = []
    for message in messages:
        if not is_poison(message["Body"]):
            await keep(world, message["Body"])
            done.append(message)
    await finish(world, books, done)


async def deliver_hastily(world, books, messages):
    """A planted bug: a batch leaves the queue before it is kept."""
    good = [message for message in messages if not is_poison(message["Body"])]
    await finish(world, books, good)
    for message in good:
        await keep(world, message["Body"])


async def poll(world, books, ended, delivering):
    # No long polls: what they cost is counted when they begin, as of a read, in no batch.
    asked = {"QueueUrl": QUEUE, "MaxNumberOfMessages": 4, "WaitTimeSeconds": 0}
    while not ended.is_set():
        try:
            received = await billed(world, books, "ReceiveMessage", asked)
            await delivering(world, books, received.get("Messages", ()))
        except UnknownError:
            pass
        await world.machine.sleep(world.random.fraction() * 0.05)


async def wreck(world):
    for _ in range(CRASHES):
        await world.machine.sleep(world.random.fraction() * 0.2)
        await world.crash(zombie=world.random.below(3) == 0)


async def furnish(world):
    await persist(world, "sqs", "CreateQueue", {"QueueName": "dead"})
    target = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
    redrive = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": str(MAX_RECEIVES)})
    attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": str(VISIBILITY_S)}
    await persist(world, "sqs", "CreateQueue", {"QueueName": "orders", "Attributes": attributes})
    try:
        await persist(world, "dynamodb", "CreateTable", TABLE)
    except AwsError as error:
        if error.error_code != "ResourceInUseException":  # made by an attempt whose outcome nobody knew
            raise
    while True:
        table = (await persist(world, "dynamodb", "DescribeTable", {"TableName": "orders"}))["Table"]
        if table["TableStatus"] == "ACTIVE":
            return
        await world.machine.sleep(0.1)


async def counters(world, prefix):
    await world.process.engine.quiet(5)
    return await totals(world.process.engine, prefix)


async def requests(world):
    return metering.usage(await counters(world, metering.PREFIX)).get("sqs.requests", 0)


async def story(seed, backend=SimulatedBackend, delivering=deliver):
    world, books, ended = World(seed, {"sqs": SQS, "dynamodb": DYNAMODB}, backend), Books(), asyncio.Event()
    await world.start()
    await furnish(world)
    before = await requests(world)
    pollers = [asyncio.ensure_future(poll(world, books, ended, delivering)) for _ in range(POLLERS)]
    await asyncio.gather(*(shop(world, books, customer) for customer in range(CUSTOMERS)), wreck(world))
    for _ in range(40):
        await world.machine.sleep(VISIBILITY_S)
        if not await under_way(world):
            break
    ended.set()
    await asyncio.gather(*pollers)
    world.process.backend.calm = True
    await world.machine.sleep(1)
    wrong = await judge_bill(world, books, await requests(world) - before)
    wrong += await judge_orders(world, books)
    await world.process.tasks.close()
    return wrong


async def under_way(world):
    asked = {"QueueUrl": QUEUE, "AttributeNames": ["All"]}
    attributes = (await persist(world, "sqs", "GetQueueAttributes", asked))["Attributes"]
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    return sum(int(attributes[name]) for name in names)


async def kept(world):
    """Every order in the table, and in its index."""
    scanned = await persist(world, "dynamodb", "Scan", {"TableName": "orders", "ConsistentRead": True})
    indexed = []
    for customer in range(CUSTOMERS):
        asked = {
            "TableName": "orders",
            "IndexName": "by-customer",
            "KeyConditionExpression": "customer = :c",
            "ExpressionAttributeValues": {":c": {"S": str(customer)}},
        }
        indexed += ids((await persist(world, "dynamodb", "Query", asked))["Items"])
    return sorted(ids(scanned["Items"])), sorted(indexed)


def ids(items):
    """Of items as DynamoDB answers them: JSON that is serialised already."""
    return [item["id"]["S"] for item in json.loads(bytes(items))]


async def dead_letters(world):
    found, empty = [], 0
    while empty < 2:
        asked = {"QueueUrl": DEAD, "MaxNumberOfMessages": 10, "VisibilityTimeout": 10_000}
        messages = (await persist(world, "sqs", "ReceiveMessage", asked)).get("Messages", [])
        found += [message["Body"] for message in messages]
        empty = 0 if messages else empty + 1
    return found


async def judge_orders(world, books):
    table, index = await kept(world)
    dead = await dead_letters(world)
    wrong = [f"{order} was placed and is nowhere" for order in books.placed - set(table) - set(dead)]
    wrong += [f"{order} was never placed" for order in {*table, *dead} - books.tried]
    wrong += [f"{order} is poison and was kept" for order in table if is_poison(order)]
    wrong += [f"{order} is dead twice" for order in set(dead) if dead.count(order) > 1]
    if table != index:
        wrong.append(f"the table has {table}, its index {index}")
    units = metering.usage(await counters(world, metering.PREFIX)).get("dynamodb.write_units", 0)
    if units != UNITS_AN_ORDER * len(table):
        wrong.append(f"{units} write units were billed for {len(table)} orders")
    return wrong


async def judge_bill(world, books, used):
    """What was told was billed; what was billed was told, or may have happened."""
    wrong = []
    if not books.billed <= used <= books.billed + books.doubtful:
        wrong.append(f"{used} requests billed; {books.billed} were told, {books.doubtful} are in doubt")
    hops = ledger.balances(await counters(world, ledger.PREFIX))
    return wrong + [
        f"{hop.hop}: {hop.accepted} accepted, {hop.fates}"
        for hop in hops
        if hop.pending < 0 or (hop.hop == "sqs:orders" and hop.pending)
    ]


def run(seed, **planted):
    return simulate(lambda: story(seed, **planted))


@pytest.mark.parametrize("seed", FIXED_SEEDS)
def test_every_order_and_every_cent_is_accounted_for(seed):
    assert run(seed) == []


def test_every_order_and_every_cent_is_accounted_for_under_fresh_seeds():
    random = SystemRandom()
    for _ in range(SEEDS):
        seed = random.below(2**31)
        assert run(seed) == [], f"seed {seed}"


class FlakyBackend(SimulatedBackend):
    """A remote disk whose line goes dead under one commit in ten, before or after the commit, and stays dead a while.

    As PostgreSQL's backend it fails what was being fetched meanwhile: it may be of before the commit.
    """

    away_until_s = 0.0
    doubts = 0
    calm = False
    """Whether the line holds from now on."""

    async def open(self):
        await super().open()
        self.steady_until_s = self.machine.monotonic_s() + 0.05

    async def fetch(self, keys, ranges):
        doubts = self.doubts
        self.check_line()
        found = await super().fetch(keys, ranges)
        self.check_line()
        if doubts != self.doubts:
            raise ServiceUnavailableError("the line was dead meanwhile")
        return found

    async def commit(self, batches):
        if self.machine.monotonic_s() < self.away_until_s:
            raise CommitRefusedError("the line is dead")
        if self.calm or self.machine.monotonic_s() < self.steady_until_s or self.random.below(10):
            await super().commit(batches)
            return
        if self.random.below(2):
            await super().commit(batches)
        self.doubts += 1
        self.away_until_s = self.machine.monotonic_s() + self.random.fraction() * 0.2
        raise CommitUnknownError("the line went dead")

    def check_line(self):
        if self.machine.monotonic_s() < self.away_until_s:
            raise ServiceUnavailableError("the line is dead")


def test_nothing_is_lost_on_a_disk_whose_line_goes_dead():
    random = SystemRandom()
    for seed in [*FIXED_SEEDS, *(random.below(2**31) for _ in range(SEEDS))]:
        assert run(seed, backend=FlakyBackend) == [], f"seed {seed}"


def test_a_memory_that_outlives_a_doubtful_commit_is_found(monkeypatch):
    monkeypatch.setattr(Cache, "clear", lambda self: None)
    assert any(found_by(seed, {"backend": FlakyBackend}) for seed in range(40))


class EarlyBackend(SimulatedBackend):
    """A planted bug: it answers before the rows are kept."""

    async def commit(self, batches):
        held = list(batches)
        asyncio.get_running_loop().call_later(0.05, lambda: None if self.crashed else self.apply(held))


class UncountedBackend(SimulatedBackend):
    """A planted bug: counters are kept a moment after the work they count."""

    async def commit(self, batches):
        await self.wait()
        if self.fenced():
            raise RuntimeError("another process has the disk")
        late = {}
        for batch in batches:
            keys = {counter.key for counter in batch.counted}
            late |= {key: batch.writes.pop(key) for key in keys}
        self.apply(batches)
        await self.wait()
        self.disk.rows._write(late)


@pytest.mark.parametrize(
    "planted", [{"delivering": deliver_hastily}, {"backend": EarlyBackend}, {"backend": UncountedBackend}]
)
def test_a_planted_bug_is_found(planted):
    assert any(found_by(seed, planted) for seed in range(40))


def found_by(seed, planted):
    try:
        return bool(run(seed, **planted))
    except (AwsError, RuntimeError, KeyError, AssertionError):
        return True  # the world fell apart
