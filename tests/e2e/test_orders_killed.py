"""The whole of Tule is killed, again and again, while orders come in: none that was acknowledged is lost."""

import os
from contextlib import contextmanager, suppress

import psutil
import pytest
from orders_app import EXAMPLE, run_tule

from tule.kernel.randomness import SystemRandom
from tule.testing.orders import Customers, OrdersStack, audit, drain, pending, unbalanced
from tule.testing.processes import orphanage
from tule.testing.server import Tule, free_port

pytestmark = pytest.mark.faults
KILLS = 50 if os.environ.get("TULE_SOAK") else 5
RUNNER_KILLS = 50 if os.environ.get("TULE_SOAK") else 3
LONGEST_START_S = 1.0
"""It is killed again at a moment of its start, as long as that takes no longer."""
MAX_ANSWERS = 150
"""Tule is killed after a number of acknowledged orders below this, at whatever it is doing then."""


@pytest.fixture(scope="module")
def orphans():
    """Whoever outlives a killed Tule."""
    with orphanage() as found:
        yield found


@pytest.fixture(scope="module")
def tule(orphans, tmp_path_factory):
    """A Tule with the example on it, at a port that it keeps."""
    with Tule(tmp_path_factory.mktemp("killed") / "home", port=free_port()) as running:
        run_tule(running, "deploy", str(EXAMPLE))
        yield running


@contextmanager
def customers_at(tule):
    """Customers who place orders within; afterwards what they were told is held against what is there."""
    stack = OrdersStack(tule)
    customers = Customers(stack)
    try:
        customers.go_to(tule.port)
        yield customers
        customers.await_answers(MAX_ANSWERS)
    finally:
        told = customers.close()
    check(tule, stack, told)


def test_no_acknowledged_order_is_lost_when_tule_is_killed(tule, orphans):
    random = SystemRandom()
    with customers_at(tule) as customers:
        for kill in range(KILLS):
            customers.await_answers(1 + random.below(MAX_ANSWERS))
            tule.kill()
            customers.go_to(0)
            assert orphans.left() == []
            tule.kill_while_starting(random.fraction() * LONGEST_START_S)
            assert orphans.left() == []
            tule.start()
            assert unbalanced(tule) == [], f"after kill {kill}"
            customers.go_to(tule.port)


def test_no_acknowledged_order_is_lost_when_the_runner_is_killed(tule):
    random = SystemRandom()
    with customers_at(tule) as customers:
        for _ in range(RUNNER_KILLS):
            customers.await_answers(1 + random.below(MAX_ANSWERS))
            runner_of(tule).kill()


def runner_of(tule):
    """The process that holds all functions; Tule starts another one when it is gone."""
    while True:
        for child in psutil.Process(tule.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if "tule.runtime.runner" in child.cmdline():
                    return child


def check(tule, stack, told):
    """Wait until no order is on its way, and hold what customers were told against what is there."""
    drain(tule, stack)
    found = audit(tule, stack, told)
    assert told.strange == []
    assert found.lost == set()
    assert found.poison_kept == set()
    assert told.poison <= set(found.dead)
    assert len(found.dead) == len(set(found.dead))
    assert unbalanced(tule) == []
    assert pending(tule, of=lambda hop: hop == f"sqs:{stack.queue}") == 0
