"""`kill -9` under load, again and again on the same store: what was told is there."""

import asyncio
import os
import subprocess
import sys

import pytest

from tule.kernel.randomness import SystemRandom
from tule.testing.killed import ANSWER
from tule.testing.postgresql import PostgresServer
from tule.testing.workload import Told, check, make_engine

pytestmark = pytest.mark.faults
ROUNDS = 100 if os.environ.get("TULE_SOAK") else 5
MAX_ANSWERS = 400
"""A round's process is killed after a number of answers below this, at whatever it is doing then."""


@pytest.fixture(scope="module")
def postgres():
    server = PostgresServer().start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "home")
    return request.getfixturevalue("postgres").fresh_database("killed")


def kill_after(location, answers, seed):
    """What the process told before it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tule.testing.killed", location, str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told = process.stdout.read(ANSWER.size * answers)
    process.kill()
    told += process.stdout.read()
    errors = process.stderr.read()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    assert len(told) >= ANSWER.size * answers, errors.decode()[-3000:]
    return [Told(*ANSWER.unpack_from(told, at)) for at in range(0, len(told) - ANSWER.size + 1, ANSWER.size)]


async def reopened(location, told):
    engine = make_engine(location)
    await engine.start()
    try:
        return await check(engine, told)
    finally:
        await engine.close()


def test_nothing_told_is_lost_when_the_process_is_killed(location):
    random = SystemRandom()
    told = []
    for round_number in range(ROUNDS):
        answers, seed = 1 + random.below(MAX_ANSWERS), random.below(2**31)
        told += kill_after(location, answers, seed)
        assert asyncio.run(reopened(location, told)) == [], f"round {round_number}, {answers} answers, seed {seed}"
