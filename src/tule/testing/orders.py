"""Customers of `examples/orders` who never give up, and an auditor who holds what they were told against what is there.

Customers place orders through the HTTP API, some of them poison, while Tule is killed and started again under them.
An order counts as soon as its POST was acknowledged. `audit` then says what became of each.
"""

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tule.testing.server import Tule

CUSTOMERS: Final = 6
POISON_EVERY: Final = 12
"""One order in so many is one that nobody can fulfil."""

ANSWER_WITHIN_S: Final = 60.0
LOOK_EVERY_S: Final = 0.05
DRAINED_LOOKS: Final = 4_000
"""Guards against a Tule that hangs, not expectations."""

VISIBILITY: Final = "31s"
"""A second more than a message of the example's queue stays hidden after a failed attempt."""

HIDDEN_S: Final = 43_200
ACKNOWLEDGED: Final = 202
FAILURES: Final = frozenset({500, 502, 503, 504})
"""What an HTTP API may answer while something behind it is not there."""


class OrdersStack:
    """The deployed application: where its parts are."""

    def __init__(self, tule: Tule, stack: str = "orders") -> None:
        cloudformation = tule.client("cloudformation")
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found["Outputs"]}
        api = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId="Api")
        self.path = f"/_aws/execute-api/{api['StackResourceDetail']['PhysicalResourceId']}/$default/orders"
        self.queue = outputs["QueueUrl"].rpartition("/")[2]
        self.dead = outputs["RejectedQueueUrl"].rpartition("/")[2]
        self.table = outputs["TableName"]


@dataclass
class Told:
    """What customers know."""

    good: set[str] = field(default_factory=set)
    poison: set[str] = field(default_factory=set)
    refused: int = 0
    """Answers with a clean failure: the order may or may not have been taken."""
    unheard: int = 0
    """Orders whose answer never came."""
    strange: list[str] = field(default_factory=list)
    """Answers that nobody may get."""


class Customers:
    """Threads that place one order after the other. While Tule is away they wait until it is back."""

    def __init__(self, stack: OrdersStack) -> None:
        self.told = Told()
        self._stack = stack
        self._changed = threading.Condition()
        self._port = 0
        self._answers = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._shop, args=(number,)) for number in range(CUSTOMERS)]
        for thread in self._threads:
            thread.start()

    def go_to(self, port: int) -> None:
        """Tule is at `port` now; 0: it is nowhere."""
        with self._changed:
            self._port = port
            self._changed.notify_all()

    def await_answers(self, more: int) -> None:
        """Return when so many more orders were acknowledged."""
        with self._changed:
            goal = self._answers + more
            if not self._changed.wait_for(lambda: self._answers >= goal, ANSWER_WITHIN_S):
                raise AssertionError(f"{goal - self._answers} of {more} orders were not acknowledged: {self.told}")

    def close(self) -> Told:
        """Let everybody finish what they do, and hear what they were told."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        return self.told

    def _shop(self, customer: int) -> None:
        number = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._port or self._closed)
                if self._closed:
                    return
                port = self._port
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN_S)
            try:
                number = self._place_many(connection, port, customer, number)
            except (OSError, http.client.HTTPException):
                number += 1
                with self._changed:
                    self.told.unheard += 1
                    # Whoever is cut off waits for the next Tule, or a while if it is the same.
                    self._changed.wait_for(lambda: self._port != port or self._closed, LOOK_EVERY_S)  # noqa: B023 - called at once
            finally:
                connection.close()

    def _place_many(self, connection: http.client.HTTPConnection, port: int, customer: int, number: int) -> int:
        while self._port == port and not self._closed:
            number += 1
            poison = number % POISON_EVERY == 0
            order = {"item": f"{customer}-{number}", "quantity": -1 if poison else number % 1000 + 1}
            headers = {"Content-Type": "application/json"}
            connection.request("POST", self._stack.path, json.dumps(order).encode(), headers)
            answer = connection.getresponse()
            self._hear(answer.status, answer.read(), poison=poison)
        return number

    def _hear(self, status: int, body: bytes, *, poison: bool) -> None:
        with self._changed:
            if status == ACKNOWLEDGED:
                (self.told.poison if poison else self.told.good).add(json.loads(body)["id"])
                self._answers += 1
                self._changed.notify_all()
            elif status in FAILURES:
                self.told.refused += 1
                self._changed.wait(LOOK_EVERY_S)
            else:
                self.told.strange.append(f"{status} {body[:200].decode(errors='replace')}")


@dataclass
class Audit:
    """What became of acknowledged orders."""

    kept: set[str]
    """In the table."""
    dead: list[str]
    """In the dead-letter queue."""
    lost: set[str]
    """In neither."""
    poison_kept: set[str]
    good_dead: set[str]
    """Good orders that failed three times."""


def drain(tule: Tule, stack: OrdersStack) -> None:
    """Return when no order is on its way: time leaps ahead whenever all that is left waits for its next attempt."""
    queue = tule.client("sqs")
    url = queue.get_queue_url(QueueName=stack.queue)["QueueUrl"]
    patience = threading.Event()
    before = -1
    for _ in range(DRAINED_LOOKS):
        waiting, hidden = _counts(queue, url)
        if waiting == hidden == 0:
            return
        if waiting == 0 and hidden == before:
            tule.advance(VISIBILITY)
        before = hidden
        patience.wait(LOOK_EVERY_S)
    raise AssertionError(f"{_counts(queue, url)} orders (waiting, hidden) never came to an end: {tule.output()}")


def _counts(queue: Any, url: str) -> tuple[int, int]:
    attributes = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]), int(attributes["ApproximateNumberOfMessagesNotVisible"])


def audit(tule: Tule, stack: OrdersStack, told: Told) -> Audit:
    """Look everywhere an order can be."""
    tables = tule.client("dynamodb")
    pages = tables.get_paginator("scan").paginate(TableName=stack.table, ConsistentRead=True)
    kept = {item["id"]["S"] for page in pages for item in page["Items"]}
    dead = [json.loads(body)["id"] for body in _letters(tule, stack.dead)]
    known = kept | set(dead)
    return Audit(kept, dead, (told.good | told.poison) - known, told.poison & kept, told.good & set(dead))


def _letters(tule: Tule, name: str) -> list[str]:
    queue = tule.client("sqs")
    url = queue.get_queue_url(QueueName=name)["QueueUrl"]
    found: list[str] = []
    while True:
        answer = queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_S)
        if not answer.get("Messages"):
            return found
        found += [message["Body"] for message in answer["Messages"]]


def unbalanced(tule: Tule) -> list[str]:
    """What is wrong with the ledger: accepted = the sum of all fates + pending, and nothing is negative."""
    answer = tule.admin("ledger")
    wrong = [] if answer["balanced"] else ["the ledger says itself that it is not balanced"]
    for hop in answer["hops"]:
        numbers = [hop["accepted"], hop["pending"], *hop["fates"].values()]
        if hop["accepted"] != hop["pending"] + sum(hop["fates"].values()) or min(numbers) < 0:
            wrong.append(f"{hop}")
    return wrong


def pending(tule: Tule, *, of: Callable[[str], bool]) -> int:
    """What the ledger says is still under way at the hops whose name `of` picks."""
    return sum(hop["pending"] for hop in tule.admin("ledger")["hops"] if of(hop["hop"]))
