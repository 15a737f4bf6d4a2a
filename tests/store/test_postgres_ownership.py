"""PostgreSQL as the store's home: who may write, and what is known when the connection goes."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tule.kernel.clocks import ServiceClock, SystemClock
from tule.kernel.context import RequestContext, new_trace, root_principal
from tule.kernel.errors import ServiceUnavailableError
from tule.kernel.faults import FaultPoints
from tule.kernel.randomness import SystemRandom
from tule.kernel.tasks import Supervisor
from tule.store.keys import pack
from tule.store.opening import open_store
from tule.store.postgres import FencedError, NotDurableError, PostgresBackend, StoreInUseError
from tule.store.transaction import ShardKey
from tule.testing.postgresql import PostgresServer

SHARD = ShardKey("test", "000000000000", "us-east-1", "thing", "one")
RANDOM = SystemRandom()
CONTEXT = RequestContext(
    "request",
    "test",
    "Write",
    "000000000000",
    "us-east-1",
    root_principal("0"),
    new_trace(RANDOM, 0),
    "http://localhost",
)
names = (f"test_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server():
    server = PostgresServer().start()
    yield server
    server.remove()


@pytest.fixture
def database(server):
    return next(names)


def engine_at(url, lost=None):
    machine = SystemClock()
    return open_store(
        url,
        machine=machine,
        clock=ServiceClock(machine),
        random=RANDOM,
        faults=FaultPoints(),
        tasks=Supervisor(machine),
        on_lost=lost or (lambda error: pytest.fail(f"the store lost track: {error}")),
    )


@asynccontextmanager
async def running(url, lost=None):
    engine = engine_at(url, lost)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def write(name, value):
    return lambda txn: txn.put(pack(name), value)


async def value_of(engine, name):
    return await engine.read(SHARD, lambda txn: txn.get(pack(name)), CONTEXT)


class Proxy:
    """A socket between Tule and the server that can cut the line at the worst moments."""

    def __init__(self, directory: Path, target: Path) -> None:
        self.directory = directory
        self._target = target
        self.cut_before_request = False
        self.cut_before_answer = False
        self.away = False
        self.stay_away = False
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self):
        path = self.directory / ".s.PGSQL.5432"
        self._server = await asyncio.start_unix_server(self._serve, path)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader, writer):
        if self.away:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_unix_connection(self._target / ".s.PGSQL.5432")
        self._writers += [writer, there_writer]
        doomed = asyncio.Event()
        await asyncio.gather(
            self._pump(reader, there_writer, writer, doomed, answer=False),
            self._pump(there_reader, writer, there_writer, doomed, answer=True),
        )

    async def _pump(self, source, sink, other, doomed, *, answer):
        try:
            while data := await source.read(65536):
                if not answer and self.cut_before_request and b"lost" in data:
                    break
                if not answer and self.cut_before_answer and b"bound" in data:
                    sink.write(data)
                    await sink.drain()
                    self.cut_before_answer = False
                    doomed.set()
                    continue
                if answer and doomed.is_set():
                    self.away = self.stay_away
                    break
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        sink.close()
        other.close()


def run(coroutine):
    return asyncio.run(coroutine)


def test_what_was_acknowledged_is_there_after_a_restart(server, database):
    url = server.fresh_database(database)

    async def story():
        async with running(url) as engine:
            await engine.transact(SHARD, write("a", b"1"), CONTEXT)
            first = await engine.transact(SHARD, lambda txn: txn.new_id(), CONTEXT)
        async with running(url) as engine:
            assert await value_of(engine, "a") == b"1"
            assert await engine.transact(SHARD, lambda txn: txn.new_id(), CONTEXT) > first

    run(story())


def test_a_second_tule_is_refused_and_told_who_has_the_store(server, database):
    url = server.fresh_database(database)

    async def story():
        async with running(url):
            with pytest.raises(StoreInUseError, match="in use by the process"):
                await engine_at(url).start()

    run(story())


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_forget_is_refused(setting):
    careless = PostgresServer().start(**{setting: "off"})
    try:
        with pytest.raises(NotDurableError, match=f"{setting} = off"):
            run(PostgresBackend(careless.url).open())
    finally:
        careless.remove()


def test_asynchronous_commit_is_refused():
    careless = PostgresServer().start(synchronous_commit="off")
    try:
        with pytest.raises(NotDurableError, match="synchronous_commit = off"):
            run(PostgresBackend(careless.url).open())
    finally:
        careless.remove()


async def drop_lock_holder(url):
    """What the server does to a session it has given up: end it, and with it the owner's lock."""
    admin = await asyncpg.connect(url)
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    while await admin.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"):
        pass
    await admin.close()


def test_a_process_that_lost_its_slots_can_write_no_more(server, database):
    url = server.fresh_database(database)
    lost = []

    async def story():
        old = engine_at(url, lost.append)
        await old.start()
        await old.transact(SHARD, write("a", b"old"), CONTEXT)
        await drop_lock_holder(url)
        async with running(url) as new:
            await new.transact(SHARD, write("a", b"new"), CONTEXT)
            with pytest.raises(ServiceUnavailableError):
                await old.transact(SHARD, write("a", b"late"), CONTEXT)
            assert isinstance(lost[0], FencedError)
            assert await value_of(new, "a") == b"new"
        await old.close()

    run(story())


def test_an_ended_session_is_replaced_and_the_process_goes_on(server, database):
    url = server.fresh_database(database)

    async def story():
        async with running(url) as engine:
            await engine.transact(SHARD, write("a", b"1"), CONTEXT)
            await drop_lock_holder(url)
            for attempt in range(3):
                try:
                    await engine.transact(SHARD, write("a", b"2"), CONTEXT)
                    break
                except ServiceUnavailableError:
                    assert attempt < 2, "a clean refusal may be answered once or twice, then the store is back"
            assert await value_of(engine, "a") == b"2"

    run(story())


def test_a_line_cut_before_the_commit_is_a_clean_refusal(server, database, tmp_path):
    direct = server.fresh_database(database)

    async def story():
        async with Proxy(tmp_path, server.directory) as proxy:
            url = direct.replace(str(server.directory), str(tmp_path))
            async with running(url) as engine:
                # The proxy knows the commit by the value it carries.
                proxy.cut_before_request = True
                writing = asyncio.ensure_future(engine.transact(SHARD, write("a", b"lost"), CONTEXT))
                await asyncio.wait({writing}, timeout=0.2)
                proxy.cut_before_request = False
                with pytest.raises(ServiceUnavailableError):
                    await writing
                assert await value_of(engine, "a") is None
                await engine.transact(SHARD, write("a", b"kept"), CONTEXT)
                assert await value_of(engine, "a") == b"kept"

    run(story())


def test_a_line_cut_after_the_commit_is_known_to_have_committed(server, database, tmp_path):
    direct = server.fresh_database(database)

    async def story():
        async with Proxy(tmp_path, server.directory) as proxy:
            url = direct.replace(str(server.directory), str(tmp_path))
            async with running(url) as engine:
                await engine.transact(SHARD, write("a", b"prepared"), CONTEXT)
                proxy.cut_before_answer = True
                await engine.transact(SHARD, write("a", b"bound and kept"), CONTEXT)
                assert not proxy.cut_before_answer, "the answer was cut"
                assert await value_of(engine, "a") == b"bound and kept"
        async with running(direct) as engine:
            assert await value_of(engine, "a") == b"bound and kept"

    run(story())


def test_an_outcome_that_stays_unknown_is_told_so_and_found_out_before_anything_is_read(server, database, tmp_path):
    direct = server.fresh_database(database)

    async def story():
        async with Proxy(tmp_path, server.directory) as proxy:
            url = direct.replace(str(server.directory), str(tmp_path))
            async with running(url) as engine:
                await engine.transact(SHARD, write("a", b"prepared"), CONTEXT)
                proxy.cut_before_answer = proxy.stay_away = True
                with pytest.raises(ServiceUnavailableError, match="is unknown"):
                    await engine.transact(SHARD, write("a", b"bound and kept"), CONTEXT)
                with pytest.raises(ServiceUnavailableError):
                    await value_of(engine, "a")
                with pytest.raises(ServiceUnavailableError, match="could not keep"):
                    await engine.transact(SHARD, write("b", b"refused"), CONTEXT)
                proxy.away = False
                assert await value_of(engine, "a") == b"bound and kept"
                assert await value_of(engine, "b") is None
                await engine.transact(SHARD, write("a", b"after"), CONTEXT)
                assert await value_of(engine, "a") == b"after"

    run(story())
