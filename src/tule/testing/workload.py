"""Work whose every answer can be held against what a store still has after a crash.

Writers on several shards put transactions of many rows, hand messages to other shards, are refused, and look. What
each was told is reported the moment it is told. `check` then proves, on a store that was opened again, that nothing
told was lost, nothing was torn, each shard is a prefix of what it was told to do, and each message had its effect once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tule.kernel.clocks import ServiceClock, SystemClock
from tule.kernel.context import RequestContext, new_trace, root_principal
from tule.kernel.errors import AwsError, ServiceUnavailableError
from tule.kernel.faults import FaultPoints
from tule.kernel.randomness import RandomSource, SeededRandom, SystemRandom
from tule.kernel.tasks import Supervisor
from tule.store import Engine, open_store
from tule.store.backend import EmbeddedBackend, RemoteBackend
from tule.store.keys import pack, prefix_end
from tule.store.surroundings import end_process
from tule.store.transaction import ReadTxn, ShardKey, Target, Txn

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
SERVICE: Final = "faults"
SHARDS: Final = 4
MAX_ROWS: Final = 5
MAX_VALUE_BYTES: Final = 2_000
QUIET_S: Final = 20.0

_SEQUENCE: Final = pack("sequence")


class Told(msgspec.Struct, frozen=True, array_like=True):
    """An answer: on `shard`, numbers up to `upto` were seen; a put's own number is among them."""

    shard: int
    upto: int


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One row of a transaction that has `rows` of them."""

    rows: int
    id: int
    sent_to: int
    filler: bytes


_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(Row).decode


class SeenError(AwsError):
    """A refusal that tells what was seen."""

    code = "Seen"


def shard(number: int) -> ShardKey:
    return ShardKey(SERVICE, ACCOUNT, REGION, "ledger", str(number))


def context(random: RandomSource) -> RequestContext:
    return RequestContext(
        "workload", SERVICE, "Work", ACCOUNT, REGION, root_principal(ACCOUNT), new_trace(random, 0), "http://localhost"
    )


def _take(txn: Txn, message: bytes) -> None:
    """The receiver: each message leaves one mark; a second delivery would show."""
    key = pack("got", message)
    seen = txn.get(key)
    txn.put(key, bytes([1 if seen is None else min(seen[0] + 1, 255)]))
    txn.count("got", 1)


@dataclass
class Handlers:
    """The workload as the store sees a service."""

    receivers: dict[str, Callable[[Txn, bytes], None]] = field(default_factory=lambda: {"take": _take})
    timers: dict[str, Callable[[Txn, bytes, bytes], None]] = field(default_factory=dict)


def make_engine(
    location: str,
    *,
    backend: EmbeddedBackend | RemoteBackend | None = None,
    faults: FaultPoints | None = None,
    on_lost: Callable[[BaseException], None] | None = None,
) -> Engine:
    """An engine that knows the workload's receiver."""
    machine, handlers = SystemClock(), Handlers()
    return open_store(
        location,
        machine=machine,
        clock=ServiceClock(machine),
        random=SystemRandom(),
        faults=faults or FaultPoints(),
        tasks=Supervisor(machine),
        service_of=lambda name: handlers if name == SERVICE else None,
        backend=backend,
        on_lost=on_lost or end_process,
    )


def _number(txn: ReadTxn) -> int:
    value = txn.get(_SEQUENCE)
    return 0 if value is None else int.from_bytes(value, "big")


@dataclass
class Writer:
    """One client: does one thing after the other and reports what it is told."""

    engine: Engine
    random: RandomSource
    report: Callable[[Told], None]

    async def run(self, steps: int) -> None:
        """Work until `steps` are done; a store that refuses for a while is asked again."""
        for _ in range(steps):
            number = self.random.below(SHARDS)
            kind = self.random.below(10)
            try:
                if kind < 7:
                    await self._put(number)
                elif kind == 7:
                    await self._be_refused(number)
                else:
                    await self._look(number)
            except ServiceUnavailableError:
                await asyncio.sleep(0)

    async def _put(self, number: int) -> None:
        rows = 1 + self.random.below(MAX_ROWS)
        sent_to = self.random.below(2 * SHARDS)
        filler = self.random.token(self.random.below(MAX_VALUE_BYTES))

        def put(txn: Txn) -> int:
            sequence = _number(txn) + 1
            txn.put(_SEQUENCE, sequence.to_bytes(8, "big"))
            row = _encode(Row(rows, txn.new_id(), sent_to if sent_to < SHARDS else -1, filler))
            for part in range(rows):
                txn.put(pack("row", sequence, part), row)
            txn.count("put", 1)
            if sent_to < SHARDS:
                txn.send(Target(shard(sent_to), "take"), b"%d/%d" % (number, sequence))
            return sequence

        sequence = await self.engine.transact(shard(number), put, context(self.random))
        self.report(Told(number, sequence))

    async def _be_refused(self, number: int) -> None:
        def refuse(txn: Txn) -> None:
            raise SeenError(str(_number(txn)))

        try:
            await self.engine.transact(shard(number), refuse, context(self.random))
        except SeenError as seen:
            self.report(Told(number, int(seen.message)))

    async def _look(self, number: int) -> None:
        if self.random.below(2):
            seen = await self.engine.read(shard(number), _number, context(self.random))
        else:
            seen = await self.engine.transact(shard(number), _number, context(self.random))
        self.report(Told(number, seen))


async def work(engine: Engine, seed: int, report: Callable[[Told], None], *, writers: int, steps: int) -> None:
    """Run many writers at once."""
    seeds = SeededRandom(seed)
    clients = [Writer(engine, SeededRandom(seeds.below(2**31)), report) for _ in range(writers)]
    await asyncio.gather(*(client.run(steps) for client in clients))


async def check(engine: Engine, told: list[Told]) -> list[str]:
    """What is wrong with a store that was opened again, given everything that was told before; nothing, if empty."""
    await engine.quiet(QUIET_S)
    wrong: list[str] = []
    expected: dict[bytes, int] = {}
    highest = [0] * SHARDS
    for answer in told:
        highest[answer.shard] = max(highest[answer.shard], answer.upto)
    for number in range(SHARDS):
        await _check_puts(engine, number, highest[number], wrong, expected)
    for number in range(SHARDS):
        await _check_marks(engine, number, wrong, expected)
    wrong += [f"message {message!r} for shard {number} was never taken" for message, number in expected.items()]
    return wrong


async def _check_puts(engine: Engine, number: int, told: int, wrong: list[str], expected: dict[bytes, int]) -> None:
    rows = await _rows(engine, number, "row")
    found: dict[int, list[Row]] = {}
    for key, value in rows:
        found.setdefault(int.from_bytes(key[-17:-9], "big"), []).append(_row(value))
    last = await engine.read(shard(number), _number, context(SystemRandom()))
    if told > last:
        wrong.append(f"shard {number}: {told} was told, {last} is there")
    if sorted(found) != list(range(1, last + 1)):
        wrong.append(f"shard {number}: the numbers up to {last} have gaps")
    for sequence, parts in found.items():
        if len(parts) != parts[0].rows:
            wrong.append(f"shard {number}: transaction {sequence} has {len(parts)} of {parts[0].rows} rows")
        if parts[0].sent_to >= 0:
            expected[b"%d/%d" % (number, sequence)] = parts[0].sent_to
    ids = [found[sequence][0].id for sequence in sorted(found)]
    if ids != sorted(set(ids)):
        wrong.append(f"shard {number}: ids do not grow")
    counted = await engine.read(shard(number), lambda txn: txn.counter("put"), context(SystemRandom()))
    if counted != last:
        wrong.append(f"shard {number}: {counted} counted, {last} put")


async def _check_marks(engine: Engine, number: int, wrong: list[str], expected: dict[bytes, int]) -> None:
    prefix = pack("got")
    for key, value in await _rows(engine, number, "got"):
        message = key[len(prefix) + 1 : -1]
        if expected.pop(message, None) != number:
            wrong.append(f"shard {number}: message {message!r} was taken but never sent there")
        if value != b"\x01":
            wrong.append(f"shard {number}: message {message!r} was taken {value[0]} times")


async def _rows(engine: Engine, number: int, kind: str) -> list[tuple[bytes, bytes]]:
    prefix = pack(kind)
    return await engine.read(
        shard(number), lambda txn: txn.scan(prefix, prefix_end(prefix), 1_000_000), context(SystemRandom())
    )
