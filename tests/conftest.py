"""Fixtures that every area may use."""

import itertools
from collections.abc import Iterator

import pytest

from tule.kernel.randomness import SystemRandom
from tule.testing.server import Tule

_first_account = 100_000_000_000 + SystemRandom().below(800_000_000_000)
_accounts = itertools.count(_first_account)


@pytest.fixture(scope="session")
def tule() -> Iterator[Tule]:
    """One Tule in memory for the whole run; tests keep apart by accounts."""
    with Tule() as running:
        yield running


@pytest.fixture
def fresh_account() -> str:
    """An account nobody has used: a fresh cloud."""
    return f"{next(_accounts):012d}"
