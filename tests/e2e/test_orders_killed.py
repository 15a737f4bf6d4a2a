"""The whole of Tule is killed, again and again, while orders come in: none that was acknowledged is lost."""

import os
from contextlib import suppress

import psutil
import pytest
from orders_app import EXAMPLE, run_tule

from tule.kernel.randomness import SystemRandom
from tule.testing.orders import Customers, OrdersStack, audit, drain, pending, unbalanced
from tule.testing.processes import orphanage
from tule.testing.server import Tule, free_port

pytestmark = pytest.mark.faults
KILLS = 50 if os.environ.get("TULE_SOAK") else 5
MAX_ANSWERS = 150
"""Tule is killed after a number of acknowledged orders below this, at whatever it is doing then."""


@pytest.fixture
def orphans():
    """Whoever outlives a killed Tule."""
    with orphanage() as found:
        yield found


def test_no_acknowledged_order_is_lost_when_tule_is_killed(tmp_path, orphans):
    random = SystemRandom()
    with Tule(tmp_path / "home", port=free_port()) as tule:
        run_tule(tule, "deploy", str(EXAMPLE))
        stack = OrdersStack(tule)
        customers = Customers(stack)
        try:
            for kill in range(KILLS):
                customers.go_to(tule.port)
                customers.await_answers(1 + random.below(MAX_ANSWERS))
                tule.kill()
                customers.go_to(0)
                assert orphans.left() == []
                tule.start()
                assert unbalanced(tule) == [], f"after kill {kill}"
            customers.go_to(tule.port)
            customers.await_answers(MAX_ANSWERS)
        finally:
            told = customers.close()
        check(tule, stack, told)


def test_no_acknowledged_order_is_lost_when_the_runner_is_killed(tmp_path):
    random = SystemRandom()
    with Tule(tmp_path / "home") as tule:
        run_tule(tule, "deploy", str(EXAMPLE))
        stack = OrdersStack(tule)
        customers = Customers(stack)
        try:
            customers.go_to(tule.port)
            for _ in range(KILLS):
                customers.await_answers(1 + random.below(MAX_ANSWERS))
                runner_of(tule).kill()
            customers.await_answers(MAX_ANSWERS)
        finally:
            told = customers.close()
        check(tule, stack, told)


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
