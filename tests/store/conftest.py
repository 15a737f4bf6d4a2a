import itertools

import pytest
from store_kit import KINDS, Bench

from tule.testing.postgresql import PostgresServer

_names = (f"contract_{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def postgres_server():
    server = PostgresServer().start()
    yield server
    server.remove()


@pytest.fixture(params=KINDS)
def bench(request, tmp_path):
    """Engines over one backend after the other."""
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").fresh_database(next(_names))
    return Bench(request.param, tmp_path, url=url)


@pytest.fixture
def memory_bench(tmp_path):
    return Bench("memory", tmp_path)


@pytest.fixture
def sqlite_bench(tmp_path):
    return Bench("sqlite", tmp_path)
