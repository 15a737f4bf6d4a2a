"""Events run and fail in a simulated world of crashes and throttles; then fates and what was told are balanced."""

import asyncio
import json
import os
from dataclasses import dataclass, field

import pytest

from tule.admin.counters import totals
from tule.kernel.errors import AwsError
from tule.kernel.randomness import SystemRandom
from tule.observe import ledger
from tule.runtime.contract import InvokeOutcome, NoCapacityError
from tule.services.lambda_ import conclusions, events, state
from tule.services.lambda_.models import Function, Logging, Package
from tule.services.lambda_.service import SERVICE as LAMBDA
from tule.services.sqs.service import SERVICE as SQS
from tule.testing.simulation import ACCOUNT, EPOCH_MS, REGION, CrashedError, World, simulate

pytestmark = pytest.mark.faults
SEEDS = 100 if os.environ.get("TULE_SOAK") else 5
FIXED_SEEDS = range(2)
SENDERS = 3
EVENTS = 12
CRASHES = 40
LONGEST_S = 24 * 3600
HOP = "lambda:worker/async"


class Runtime:
    """A function that fails for every third event, on a host that is full for every fourth attempt."""

    def __init__(self):
        self.world = None
        self.ran = []

    async def unpack(self, _package, _path):
        return "code"

    async def prepare(self, _version):
        return None

    async def retire(self, *_args, **_more):
        return None

    async def invoke(self, _version, payload, **_more):
        if self.world.random.below(4) == 0:
            raise NoCapacityError
        await self.world.machine.sleep(self.world.random.fraction() * 0.1)
        event = json.loads(payload)["event"]
        self.ran.append(event)
        failed = fails(event)
        answer = {"errorMessage": event} if failed else {"done": event}
        return InvokeOutcome(
            payload=json.dumps(answer).encode(),
            error="Unhandled" if failed else None,
            error_type="",
            tail=lambda: b"",
            duration_ms=1.0,
            billed_ms=1,
            init_ms=None,
            max_memory_mb=1,
            cold=False,
            phases=(),
        )


class Blobs:
    def path(self, _ref):
        return ""


def fails(event):
    return int(event.split("-")[1]) % 3 == 0


@dataclass
class Books:
    """What callers know."""

    accepted: set = field(default_factory=set)
    tried: set = field(default_factory=set)


async def persist(world, service, operation, request):
    """Ask until the world answers."""
    while True:
        try:
            return await world.process.call(service, operation, request)
        except CrashedError:
            pass
        except AwsError as error:
            if error.error_status < 500:
                raise
        await world.machine.sleep(0.05)


async def furnish(world):
    for name in ("good", "bad", "dead"):
        await persist(world, "sqs", "CreateQueue", {"QueueName": name})
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
    function = Function(
        name="worker", account=ACCOUNT, region=REGION, partition="aws", role="arn:aws:iam::1:role/r",
        runtime="python3.13", handler="app.handler", package=Package("00", 1, ""), logging=Logging("/worker"),
        revision="1", modified_ms=EPOCH_MS, created_ms=EPOCH_MS, dead_letter_arn=f"{arn}dead",
    )  # fmt: skip
    engine, context = world.process.engine, world.context()
    await engine.transact(state.PLACES_SHARD, lambda txn: state.remember_place(txn, ACCOUNT, REGION), context)
    shard = state.function_shard(ACCOUNT, REGION, "worker")
    await engine.transact(shard, lambda txn: state.write_function(txn, function), context)
    targets = {"OnSuccess": {"Destination": f"{arn}good"}, "OnFailure": {"Destination": f"{arn}bad"}}
    config = {"FunctionName": "worker", "DestinationConfig": targets}
    await persist(world, "lambda", "PutFunctionEventInvokeConfig", config)


async def send(world, books, sender):
    for number in range(EVENTS):
        event = f"{sender}-{number}"
        books.tried.add(event)
        payload = json.dumps({"event": event}).encode()
        request = {"FunctionName": "worker", "InvocationType": "Event", "Payload": payload}
        try:
            await world.process.call("lambda", "Invoke", request)
            books.accepted.add(event)
        except (CrashedError, AwsError):
            await world.machine.sleep(0.05)
        await world.machine.sleep(world.random.fraction() * 0.2)


async def wreck(world):
    """Many crashes in a row, then a while of peace: retries come in crowds, as the events did."""
    for _ in range(CRASHES):
        await world.machine.sleep(world.random.fraction() * (0.3 if world.random.below(8) else 60))
        await world.crash(zombie=world.random.below(3) == 0)


async def told(world, queue):
    """What a queue was told: records of events, or the events themselves."""
    url = f"http://localhost:4566/{ACCOUNT}/{queue}"
    found, empty = [], 0
    while empty < 2:
        asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 40_000}
        messages = (await persist(world, "sqs", "ReceiveMessage", asked)).get("Messages", [])
        found += [json.loads(message["Body"]) for message in messages]
        empty = 0 if messages else empty + 1
    return found


async def balance(world):
    counters = await totals(world.process.engine, ledger.PREFIX)
    return next((hop for hop in ledger.balances(counters) if hop.hop == HOP), None)


async def story(seed):
    runtime = Runtime()
    world, books = World(seed, {"lambda": LAMBDA, "sqs": SQS}, functions=runtime, blobs=Blobs()), Books()
    runtime.world = world
    await world.start()
    await furnish(world)
    await asyncio.gather(*(send(world, books, sender) for sender in range(SENDERS)), wreck(world))
    waited_s = 0
    while (hop := await balance(world)) is None or hop.pending:
        if crashes := world.process.tasks.crashes:
            return [f"work crashed: {crashes}"]
        await world.machine.sleep(30)
        waited_s += 30
        if waited_s > LONGEST_S:
            return [f"still pending after a day: {hop}"]
    wrong = await judge(world, books, hop)
    await world.process.tasks.close()
    return wrong


async def judge(world, books, hop):
    records = {name: await told(world, name) for name in ("good", "bad")}
    events_of = {name: {record["requestPayload"]["event"] for record in found} for name, found in records.items()}
    dead = {event["event"] for event in await told(world, "dead")}
    told_of = events_of["good"] | events_of["bad"]
    wrong = [f"{event} was accepted, and nobody was told of its end" for event in books.accepted - told_of]
    wrong += [f"{event} was never sent" for event in told_of - books.tried]
    wrong += [f"{event} failed and was told as a success" for event in events_of["good"] if fails(event)]
    wrong += [f"{event} went well and was told as a failure" for event in events_of["bad"] if not fails(event)]
    if dead != events_of["bad"]:
        wrong.append(f"dead letters of {sorted(dead)}, records of {sorted(events_of['bad'])}")
    wrong += [
        f"{record['requestContext']} for an event that fails"
        for record in records["bad"]
        if record["requestContext"]["condition"] != "RetriesExhausted"
    ]
    if not len(books.accepted) <= hop.accepted <= len(books.tried):
        wrong.append(f"{hop.accepted} accepted; {len(books.accepted)} were told so, {len(books.tried)} tried")
    fates = {"delivered": len(events_of["good"]), "dead-lettered": len(events_of["bad"])}
    if hop.fates != fates:
        wrong.append(f"fates {hop.fates}, but told of {fates}")
    return wrong


def run(seed):
    return simulate(lambda: story(seed))


@pytest.mark.parametrize("seed", FIXED_SEEDS)
def test_every_event_has_one_fate_and_somebody_knows_it(seed):
    assert run(seed) == []


def test_every_event_has_one_fate_under_fresh_seeds():
    random = SystemRandom()
    for _ in range(SEEDS):
        seed = random.below(2**31)
        assert run(seed) == [], f"seed {seed}"


class HastyConclusions(conclusions.Conclusions):
    """A planted bug: an event's fate is counted before anybody is told."""

    async def proceed(self, turn):
        await self._env.store.transact(turn.shard, lambda txn: conclusions._close(txn, turn, turn.event), turn.context)
        for target in turn.event.conclusion.targets:
            await self._tell(turn, turn.event.conclusion, target)


def test_the_simulation_finds_an_end_that_is_counted_before_it_is_told(monkeypatch):
    monkeypatch.setattr(events, "Conclusions", HastyConclusions)
    assert any(run(seed) for seed in range(20))
