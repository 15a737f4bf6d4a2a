"""A queue under load whose Tule is killed: what was acknowledged stays so, on both sides of a message's life."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tule.kernel.randomness import SystemRandom
from tule.testing.server import Tule

ROUNDS = 100 if os.environ.get("TULE_SOAK") else 3


class Load:
    """Senders and a consumer that go on until their Tule is gone, and remember what they were told."""

    def __init__(self, running: Tule, url: str, first: int) -> None:
        self.sent: set[str] = set()
        self.deleted: set[str] = set()
        self.tried: set[str] = set()
        """Deletions that were sent; those that were not answered may have happened."""
        self._running, self._url = running, url
        self._threads = [threading.Thread(target=self._send, args=(first + n * 1_000_000,)) for n in range(3)]
        self._threads.append(threading.Thread(target=self._consume))
        self.enough = threading.Event()
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def _send(self, number: int) -> None:
        sqs = self._running.client("sqs")
        with contextlib.suppress(ClientError, BotoCoreError):
            while True:
                number += 1
                sqs.send_message(QueueUrl=self._url, MessageBody=str(number))
                self.sent.add(str(number))
                if len(self.sent) > 40:
                    self.enough.set()

    def _consume(self) -> None:
        sqs = self._running.client("sqs")
        with contextlib.suppress(ClientError, BotoCoreError):
            while True:
                got = sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=5, WaitTimeSeconds=1)
                for message in got.get("Messages", []):
                    if int(message["Body"]) % 2:
                        self.tried.add(message["Body"])
                        sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                        self.deleted.add(message["Body"])


@pytest.mark.faults
def test_a_killed_tule_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    sent: set[str] = set()
    deleted: set[str] = set()
    tried: set[str] = set()
    with Tule(tmp_path) as running:
        url = running.client("sqs").create_queue(QueueName="orders")["QueueUrl"]
        for round_number in range(ROUNDS):
            url = f"{running.url}/000000000000/orders"
            load = Load(running, url, round_number * 10_000_000)
            assert load.enough.wait(60)
            threading.Event().wait(SystemRandom().fraction() / 10)  # a crash comes at any moment
            running.kill()
            load.join()
            sent |= load.sent
            deleted |= load.deleted
            tried |= load.tried
            running.start()
        sqs: Any = running.client("sqs")
        url = f"{running.url}/000000000000/orders"
        running.admin("clock/advance", {"duration": "31s"})
        left: list[str] = []
        while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            left += [message["Body"] for message in got]
        assert len(left) == len(set(left)), "a message is there once"
        assert not deleted & set(left), "an acknowledged deletion stands"
        assert sent - tried <= set(left), "an acknowledged message is there"
        shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert int(shown["ApproximateNumberOfMessagesNotVisible"]) == len(left), "counts survive with the messages"
        assert shown["ApproximateNumberOfMessages"] == "0"
