"""Clouds of DynamoDB, on every backend that a handler should not be able to tell apart."""

from collections.abc import Iterator

import pytest
from dynamodb_cloud import Cloud, Engines


@pytest.fixture(scope="session", params=["memory", "misses", "sqlite"])
def engines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    engines = Engines(request.param, tmp_path_factory.mktemp("dynamodb"))
    yield engines
    engines.close()


@pytest.fixture
def cloud(engines: Engines) -> Cloud:
    return engines.cloud()
