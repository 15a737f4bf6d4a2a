"""Disks that are full, read-only or lie about syncing."""

import asyncio
import itertools
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tule.kernel.errors import ServiceUnavailableError
from tule.kernel.randomness import SystemRandom
from tule.store.keys import pack
from tule.store.sqlite import SqliteBackend
from tule.testing.workload import context, make_engine, shard

pytestmark = pytest.mark.faults
CONTEXT = context(SystemRandom())
SHARD = shard(0)
VALUE = b"x" * 60_000
numbers = itertools.count()


async def put(engine, number):
    await engine.transact(SHARD, lambda txn: txn.put(pack(number), VALUE), CONTEXT)


async def put_until_refused(engine):
    """The numbers that were kept before the store refused one."""
    for number in range(1_000):
        try:
            await put(engine, number)
        except ServiceUnavailableError:
            return list(range(number))
    raise AssertionError("the disk never ran full")


async def get(engine, number):
    return await engine.read(SHARD, lambda txn: txn.get(pack(number)), CONTEXT)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB that really runs full."""
    home = tmp_path / "small"
    home.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root; run the suite as root to include this test")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", home], check=True)
    yield home
    subprocess.run(["umount", home], check=True)


def test_a_full_disk_refuses_keeps_what_it_told_and_goes_on_when_there_is_room(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 * 1024 * 1024))

    async def story():
        engine = make_engine(str(small_disk))
        await engine.start()
        kept = await put_until_refused(engine)
        assert kept, "the disk was not full at the start"
        for number in kept:
            assert await get(engine, number) == VALUE
        assert await get(engine, len(kept)) is None
        ballast.unlink()
        await put(engine, 2_000)
        await engine.close()
        again = make_engine(str(small_disk))
        await again.start()
        for number in [*kept, 2_000]:
            assert await get(again, number) == VALUE
        await again.close()

    asyncio.run(story())


class FaultyDisk(apsw.VFS):
    """The system's disk, until `fail` is set to what writes or syncs shall raise."""

    def __init__(self):
        self.name = f"faulty-{next(numbers)}"
        self.write_error = None
        self.sync_error = None
        super().__init__(self.name, "")

    def xOpen(self, name, flags):  # noqa: N802 - SQLite's name
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(self, disk, name, flags):
        self.disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data, offset):  # noqa: N802 - SQLite's name
        if self.disk.write_error is not None:
            raise self.disk.write_error
        super().xWrite(data, offset)

    def xSync(self, flags):  # noqa: N802 - SQLite's name
        if self.disk.sync_error is not None:
            raise self.disk.sync_error
        super().xSync(flags)


def io_error(code):
    error = apsw.IOError("injected")
    error.extendedresult = code
    return error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_turns_read_only_refuses_and_recovers(tmp_path):
    disk = FaultyDisk()

    async def story():
        engine = make_engine("faulty", backend=SqliteBackend(str(tmp_path / "store.db"), disk.name))
        await engine.start()
        await put(engine, 1)
        disk.write_error = io_error(apsw.SQLITE_IOERR_WRITE)
        with pytest.raises(ServiceUnavailableError):
            await put(engine, 2)
        assert await get(engine, 1) == VALUE
        assert await get(engine, 2) is None
        disk.write_error = None
        await put(engine, 3)
        assert await get(engine, 3) == VALUE
        await engine.close()

    asyncio.run(story())


FAILING_SYNC = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from test_bad_disks import FaultyDisk, io_error, put
from tule.store.sqlite import SqliteBackend
from tule.testing.workload import make_engine
import apsw

async def story():
    disk = FaultyDisk()
    engine = make_engine("faulty", backend=SqliteBackend({path!r}, disk.name))
    await engine.start()
    await put(engine, 1)
    disk.sync_error = io_error(apsw.SQLITE_IOERR_FSYNC)
    await put(engine, 2)
    print("told")

asyncio.run(story())
"""


def test_a_failed_sync_ends_the_process_and_tells_nobody(tmp_path):
    path = tmp_path / "store.db"
    code = FAILING_SYNC.format(tests=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "told" in done.stdout.split("\n")) == (70, False), done.stderr

    async def reopen():
        engine = make_engine("after", backend=SqliteBackend(str(path)))
        await engine.start()
        assert await get(engine, 1) == VALUE
        await engine.close()

    asyncio.run(reopen())


def test_a_directory_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a directory")
    with pytest.raises(OSError, match="file"):
        make_engine(str(in_the_way))
