import pytest
from store_kit import KINDS, Bench


@pytest.fixture(params=KINDS)
def bench(request, tmp_path):
    """Engines over one backend after the other."""
    return Bench(request.param, tmp_path)


@pytest.fixture
def memory_bench(tmp_path):
    return Bench("memory", tmp_path)


@pytest.fixture
def sqlite_bench(tmp_path):
    return Bench("sqlite", tmp_path)
