"""The power goes at many points of one recording: what was told before each is there after it."""

import asyncio
import itertools
import os

import pytest

from tule.kernel.randomness import SeededRandom, SystemRandom
from tule.store.backend import CommitRefusedError
from tule.store.batch import Batch, steps
from tule.store.sqlite import SqliteBackend
from tule.testing.recorder import Recorder, left_after
from tule.testing.workload import check, make_engine, work

pytestmark = pytest.mark.faults
POINTS = 140 if os.environ.get("TULE_SOAK") else 20
FIXED_SEED = 20
WRITERS = 16
STEPS = 60
numbers = itertools.count()


def record(directory, seed, make_backend):
    """Work on a recorded disk, and everything that happened to it."""
    recorder = Recorder(f"recorder-{next(numbers)}")
    path = directory / "store.db"
    directory.mkdir()

    async def story():
        engine = make_engine("recorded", backend=make_backend(str(path), recorder.name))
        await engine.start()
        await work(engine, seed, recorder.told, writers=WRITERS, steps=STEPS)
        events = list(recorder.events)
        await engine.close()
        return events

    return asyncio.run(story())


def losses(directory, events, seed, points):
    """What is wrong after a cut, by the point of the cut."""
    random = SeededRandom(seed)
    found = {}
    for _ in range(points):
        point = 1 + random.below(len(events))
        files, told = left_after(events, point, random)
        home = directory / f"cut-{next(numbers)}"
        home.mkdir()
        for name, content in files.items():
            (home / name).write_bytes(content)
        if wrong := asyncio.run(reopened(home, told)):
            found[point] = wrong
    return found


async def reopened(home, told):
    engine = make_engine("cut", backend=SqliteBackend(str(home / "store.db")))
    await engine.start()
    try:
        return await check(engine, told)
    finally:
        await engine.close()


def full(path, vfs):
    return SqliteBackend(path, vfs)


def normal(path, vfs):
    return SqliteBackend(path, vfs, synchronous="NORMAL")


@pytest.mark.parametrize("fresh", [False, True], ids=["fixed-seed", "fresh-seed"])
def test_nothing_told_is_lost_when_the_power_goes(tmp_path, fresh):
    seed = SystemRandom().below(2**31) if fresh else FIXED_SEED
    events = record(tmp_path / "home", seed, full)
    assert losses(tmp_path, events, seed, POINTS) == {}, f"seed {seed}"


def test_a_store_that_syncs_too_little_is_found_out(tmp_path):
    events = record(tmp_path / "home", FIXED_SEED, normal)
    assert losses(tmp_path, events, FIXED_SEED, 20) != {}


class TornBackend(SqliteBackend):
    """A planted bug: a batch is committed in two halves."""

    def commit(self, batches):
        for step in steps(batches):
            keys = list(step.writes)
            for part in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
                half = Batch(0, 0)
                half.writes = {key: step.writes[key] for key in part}
                half.ranges = step.ranges if part and part[0] == keys[0] else []
                super().commit([half])


def test_a_torn_batch_is_found_out(tmp_path):
    events = record(tmp_path / "home", FIXED_SEED, TornBackend)
    assert losses(tmp_path, events, FIXED_SEED, 60) != {}


def test_a_refused_batch_is_no_torn_batch(tmp_path):
    """Refusals in the middle of the load: what they took away was never told."""
    seed = SystemRandom().below(2**31)

    class Refusing(SqliteBackend):
        commits = 0

        def commit(self, batches):
            Refusing.commits += 1
            if Refusing.commits % 7 == 0:
                raise CommitRefusedError("the disk is full, now and then")
            super().commit(batches)

    events = record(tmp_path / "home", seed, Refusing)
    assert losses(tmp_path, events, seed, 10) == {}, f"seed {seed}"
