"""SQS on a store without HTTP: the same handlers that the gateway runs, on every kind of backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqs_cloud import Cloud


@pytest.fixture(params=["memory", "misses", "sqlite"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    """Time stands still in it until the test advances it."""
    made = Cloud(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Cloud]:
    """The same in memory only, for what no backend changes."""
    made = Cloud("memory", tmp_path)
    yield made
    made.close()
