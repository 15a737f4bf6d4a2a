"""Directories, locks and formats."""

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from store_kit import context, shard

from tule.kernel.clocks import ServiceClock, SystemClock
from tule.kernel.faults import FaultPoints
from tule.kernel.randomness import SeededRandom
from tule.kernel.tasks import Supervisor
from tule.store import DirectoryInUseError, StoreFormatError, open_store
from tule.store.format import FORMAT_VERSION, check_format, stored_version
from tule.store.space import FORMAT_KEY, NUMBER

_HOLD = """
import sys
from pathlib import Path
from tule.store.opening import DirectoryLock
lock = DirectoryLock.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def _open(directory):
    machine = SystemClock()
    return open_store(
        str(directory),
        machine=machine,
        clock=ServiceClock(machine),
        random=SeededRandom(1),
        faults=FaultPoints(),
        tasks=Supervisor(machine),
    )


async def _close(store):
    await store.close()
    await store.tasks.close()


def test_a_directory_is_made_private_and_kept(tmp_path):
    async def test():
        store = _open(tmp_path / "deep" / "data")
        await store.start()
        await store.transact(shard(), lambda txn: txn.put(b"\x01a", b"1"), context())
        await _close(store)
        assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700
        store = _open(tmp_path / "deep" / "data")
        await store.start()
        assert await store.read(shard(), lambda txn: txn.get(b"\x01a"), context()) == b"1"
        await _close(store)

    asyncio.run(test())


def test_a_second_store_in_the_same_process_is_refused(tmp_path):
    async def test():
        store = _open(tmp_path)
        await store.start()
        with pytest.raises(DirectoryInUseError, match=f"process {os.getpid()}"):
            _open(tmp_path)
        await _close(store)

    asyncio.run(test())


def test_a_second_process_is_refused_by_the_name_of_the_first(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DirectoryInUseError, match=f"process {holder.pid}"):
            _open(tmp_path)
        holder.kill()
        holder.wait()
        asyncio.run(_started_and_closed(tmp_path))


async def _started_and_closed(directory):
    store = _open(directory)
    await store.start()
    await _close(store)


def test_a_newer_format_is_refused_and_leaves_the_directory_free(tmp_path):
    async def test():
        store = _open(tmp_path)
        await store.start()
        await store.stamp(FORMAT_KEY, NUMBER.pack(FORMAT_VERSION + 1))
        await _close(store)
        for _ in range(2):
            with pytest.raises(StoreFormatError, match=r"written by a newer Tule.*choose another --dir"):
                await _open(tmp_path).start()

    asyncio.run(test())


def test_an_older_format_is_backed_up_and_migrated(tmp_path):
    async def migrate(store):
        await store.transact(shard(), lambda txn: txn.put(b"\x01a", b"migrated"), context())

    async def test():
        store = _open(tmp_path)
        await store.start()
        await store.transact(shard(), lambda txn: txn.put(b"\x01a", b"old"), context())
        await check_format(store, FORMAT_VERSION + 1, {FORMAT_VERSION: migrate})
        assert await stored_version(store) == FORMAT_VERSION + 1
        assert await store.read(shard(), lambda txn: txn.get(b"\x01a"), context()) == b"migrated"
        await _close(store)

        (backup,) = tmp_path.glob("*.backup")
        old = tmp_path / "old"
        old.mkdir()
        backup.rename(old / "store.db")
        store = _open(old)
        await store.start()
        assert await store.read(shard(), lambda txn: txn.get(b"\x01a"), context()) == b"old"
        await _close(store)

    asyncio.run(test())


def test_a_format_without_a_way_to_this_one_is_refused(bench):
    async def test(store):
        with pytest.raises(StoreFormatError, match="can't bring it"):
            await check_format(store, FORMAT_VERSION + 2, {FORMAT_VERSION + 1: None})

    bench.run(test)


def test_memory_leaves_nothing_on_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asyncio.run(_started_and_closed(":memory:"))
    assert list(Path().iterdir()) == []
