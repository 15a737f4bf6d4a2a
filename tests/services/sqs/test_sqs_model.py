"""A queue against a plain model of a queue, through every order of operations that Hypothesis thinks of."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqs_cloud import Cloud

from tule.store.layers import queues_window

RETENTION_S = 300
MAX_RECEIVES = 3


@dataclass
class Entry:
    """What the model knows of a message. Times are milliseconds."""

    body: str
    sent_at: int
    visible_at: int
    receives: int = 0
    handles: list[str] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """Sends, receives, deletes, changes, waits and loses its memory; the model says what must come of it."""

    kind = "memory"
    receipts = Bundle("receipts")

    def __init__(self) -> None:
        super().__init__()
        self.cloud = Cloud(self.kind, Path(tempfile.mkdtemp(prefix="tule-")))
        self.model: dict[str, Entry] = {}
        self.accepted = self.delivered = self.dead = self.expired = 0
        self.sent = 0

    @initialize()
    def begin(self) -> None:
        self.cloud.queue("dead", MessageRetentionPeriod="1209600")
        policy = f'{{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":{MAX_RECEIVES}}}'
        self.url = self.cloud.queue(RedrivePolicy=policy, MessageRetentionPeriod=str(RETENTION_S))

    def teardown(self) -> None:
        self.cloud.close()

    @property
    def now(self) -> int:
        return self.cloud.clock.now()

    def expire(self) -> None:
        """What is too old is no longer to be received; what is in flight is forgotten when it comes back."""
        for number, entry in list(self.model.items()):
            if entry.sent_at <= self.now - RETENTION_S * 1000 and entry.visible_at <= self.now:
                del self.model[number]
                self.expired += 1

    @rule(delays=st.lists(st.sampled_from([0, 0, 0, 1, 20]), min_size=1, max_size=10))
    def send(self, delays: list[int]) -> None:
        entries = []
        for place, delay in enumerate(delays):
            self.sent += 1
            entries.append({"Id": str(place), "MessageBody": f"m{self.sent}", "DelaySeconds": delay})
        answer = self.cloud.call("SendMessageBatch", QueueUrl=self.url, Entries=entries)
        for entry, told, delay in zip(entries, answer["Successful"], delays, strict=True):
            self.model[told["MessageId"]] = Entry(str(entry["MessageBody"]), self.now, self.now + delay * 1000)
            self.accepted += 1

    @rule(target=receipts, limit=st.integers(1, 10), timeout=st.sampled_from([0, 1, 30, 400]))
    def receive(self, limit: int, timeout: int) -> Any:
        self.expire()
        ready = {number for number, entry in self.model.items() if entry.visible_at <= self.now}
        got = self.cloud.receive(self.url, limit, VisibilityTimeout=timeout, AttributeNames=["All"])
        worn = {number for number in ready if self.model[number].receives >= MAX_RECEIVES}
        assert len(got) <= limit
        assert len(got) == min(limit, len(ready - worn)), "a receive finds what is there"
        for message in got:
            entry = self.model[message["MessageId"]]
            assert message["MessageId"] in ready - worn
            assert message["Body"] == entry.body
            entry.receives += 1
            assert message["Attributes"]["ApproximateReceiveCount"] == str(entry.receives)
            assert message["ReceiptHandle"] not in entry.handles
            entry.handles.append(message["ReceiptHandle"])
            entry.visible_at = self.now + timeout * 1000
        self._bury(worn, all_of_them=len(got) < limit)
        return multiple(*((message["MessageId"], message["ReceiptHandle"]) for message in got))

    def _bury(self, worn: set[str], *, all_of_them: bool) -> None:
        """Those received too often were moved on if the receive came to them."""
        self.cloud.quiet()
        dead = self.cloud.counts("http://localhost/000000000000/dead")[0]
        buried = dead - self.dead
        assert 0 <= buried <= len(worn)
        if all_of_them:
            assert buried == len(worn)
        if buried:
            letters: list[dict[str, Any]] = []
            while batch := self.cloud.receive("http://localhost/000000000000/dead", 10, VisibilityTimeout=1):
                letters += batch
            self.cloud.advance(1)  # they are visible again
            for letter in letters:
                if letter["MessageId"] in self.model:
                    assert letter["MessageId"] in worn
                    del self.model[letter["MessageId"]]
            self.dead = dead

    @rule(receipt=consumes(receipts))
    def delete(self, receipt: tuple[str, str]) -> None:
        self.expire()
        self.cloud.call("DeleteMessage", QueueUrl=self.url, ReceiptHandle=receipt[1])
        if self.model.pop(receipt[0], None) is not None:
            self.delivered += 1
        elif self.cloud.ledger().get("delivered", 0) > self.delivered:
            # It had expired less than a second ago and had not been swept yet: its consumer was faster.
            self.delivered += 1
            self.expired -= 1
            assert self.expired >= 0

    @rule(receipt=receipts, timeout=st.sampled_from([0, 5, 50]))
    def change(self, receipt: tuple[str, str], timeout: int) -> None:
        entry = self.model.get(receipt[0])
        request = {"QueueUrl": self.url, "ReceiptHandle": receipt[1], "VisibilityTimeout": timeout}
        if entry is None:
            return
        self.cloud.call("ChangeMessageVisibility", **request)
        if entry.visible_at > self.now:
            entry.visible_at = self.now + timeout * 1000

    @rule(seconds=st.sampled_from([0.5, 1, 29, 31, 120]))
    def wait(self, seconds: float) -> None:
        self.cloud.advance(seconds)

    @rule()
    def lose_memory(self) -> None:
        self.cloud.forget("orders")

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "url"):
            return
        self.expire()
        visible, in_flight, delayed = self.cloud.counts(self.url)
        now = self.now
        hidden = [entry for entry in self.model.values() if entry.visible_at > now]
        assert in_flight == sum(1 for entry in hidden if entry.receives)
        assert delayed == sum(1 for entry in hidden if not entry.receives)
        # Expired ones may be counted for a second more, until they are swept; they are never received.
        assert visible >= len(self.model) - len(hidden)
        fates = self.cloud.ledger()
        assert fates.get("accepted", 0) == self.accepted
        assert fates.get("delivered", 0) == self.delivered
        assert fates.get("pending", 0) == visible + in_flight + delayed


class MissingMachine(QueueMachine):
    """The same where every first read misses and the handler is run again."""

    kind = "misses"


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few messages already go beyond what is kept in memory."""
    monkeypatch.setattr(queues_window, "MAX_FRESH", 4)
    monkeypatch.setattr(queues_window, "MAX_TIMED", 5)
    monkeypatch.setattr(queues_window, "FILL_TIMED", 3)
    monkeypatch.setattr(queues_window, "FIRST_FILL_FRESH", 3)
    monkeypatch.setattr(queues_window, "MAX_FILL_FRESH", 3)


_profile = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TestQueueModel = QueueMachine.TestCase
TestQueueModel.settings = _profile
TestQueueModelMisses = MissingMachine.TestCase
TestQueueModelMisses.settings = _profile
