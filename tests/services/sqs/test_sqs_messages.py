"""A message's life, on every kind of backend."""

import asyncio
from typing import Any

import pytest
from sqs_cloud import ACCOUNT, REGION, Cloud, until

from tule.kernel.errors import AwsError
from tule.observe.metering import units
from tule.services.declaration import Context
from tule.services.sqs.receiving import receive_message
from tule.store.backend import CommitRefusedError
from tule.store.layers import queues_window


def test_a_message_is_received_out_of_sight_and_gone_when_deleted(cloud: Cloud) -> None:
    url = cloud.queue()
    sent = cloud.call("SendMessage", QueueUrl=url, MessageBody="hello")
    assert sent["MD5OfMessageBody"] == "5d41402abc4b2a76b9719d911017c592"
    (message,) = cloud.receive(url)
    assert (message["Body"], message["MessageId"]) == ("hello", sent["MessageId"])
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert "Attributes" not in message
    assert cloud.receive(url) == []
    assert cloud.counts(url) == (0, 1, 0)
    cloud.delete(url, message)
    cloud.advance(31)
    assert cloud.receive(url) == []
    assert cloud.counts(url) == (0, 0, 0)
    assert cloud.ledger() == {"accepted": 1, "delivered": 1}


def test_deleting_leaves_no_rows_of_the_message(cloud: Cloud) -> None:
    url = cloud.queue()
    for _ in range(3):
        cloud.send(url)
    kept = cloud.receive(url, 1)[0]
    cloud.call("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=kept["ReceiptHandle"], VisibilityTimeout=100)
    for message in (kept, *cloud.receive(url)):
        cloud.delete(url, message)
    assert cloud.rows() == []


def test_messages_come_in_the_order_of_sending_while_nobody_returns_any(cloud: Cloud) -> None:
    url = cloud.queue()
    for n in range(25):
        cloud.send(url, f"m{n}")
    got = [*cloud.bodies(url), *cloud.bodies(url), *cloud.bodies(url)]
    assert got == [f"m{n}" for n in range(25)]


def test_an_undeleted_message_comes_back_with_its_count(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url)
    started = cloud.clock.now()
    first = cloud.receive(url, MessageSystemAttributeNames=["All"])[0]
    cloud.advance(29)
    assert cloud.receive(url) == []
    cloud.advance(1)
    assert cloud.counts(url) == (1, 0, 0)
    again = cloud.receive(url, AttributeNames=["All"])[0]
    assert first["Attributes"]["ApproximateReceiveCount"] == "1"
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    assert again["Attributes"]["ApproximateFirstReceiveTimestamp"] == str(started)
    assert again["Attributes"]["SentTimestamp"] == str(started)
    assert again["Attributes"]["SenderId"] == ACCOUNT
    assert again["Attributes"]["AWSTraceHeader"].startswith("Root=1-")
    assert again["ReceiptHandle"] != first["ReceiptHandle"]


@pytest.mark.parametrize("lost", [False, True])
def test_an_older_receipt_handle_still_deletes(cloud: Cloud, lost: bool) -> None:  # noqa: FBT001 - a parameter
    url = cloud.queue()
    cloud.send(url)
    first = cloud.receive(url)[0]
    cloud.advance(30)
    assert len(cloud.receive(url)) == 1
    if lost:
        cloud.forget("orders")
    cloud.delete(url, first)
    cloud.advance(30)
    assert cloud.receive(url) == []
    assert cloud.ledger() == {"accepted": 1, "delivered": 1}


def test_a_receipt_handle_finds_a_message_that_is_not_in_memory(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues_window, "MAX_TIMED", 2)
    monkeypatch.setattr(queues_window, "FILL_TIMED", 2)
    url = cloud.queue()
    for n in range(9):
        cloud.send(url, f"m{n}")
    old = cloud.receive(url)
    for message in old[:3]:
        handle = message["ReceiptHandle"]
        cloud.call("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60)
    cloud.advance(30)
    assert len(cloud.receive(url)) == 6
    assert cloud.counts(url) == (0, 9, 0)
    for message in old:
        cloud.delete(url, message)
        cloud.delete(url, message)
    assert cloud.counts(url) == (0, 0, 0)
    cloud.advance(100)
    assert cloud.receive(url) == []
    assert cloud.ledger() == {"accepted": 9, "delivered": 9}


def test_deleting_twice_in_one_batch_counts_once(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url)
    handle = cloud.receive(url)[0]["ReceiptHandle"]
    entries = [{"Id": name, "ReceiptHandle": handle} for name in ("a", "b")] + [{"Id": "c", "ReceiptHandle": "x"}]
    answer = cloud.call("DeleteMessageBatch", QueueUrl=url, Entries=entries)
    assert answer["Successful"] == [{"Id": "a"}, {"Id": "b"}]
    assert [(failed["Id"], failed["Code"]) for failed in answer["Failed"]] == [("c", "ReceiptHandleIsInvalid")]
    assert cloud.ledger() == {"accepted": 1, "delivered": 1}


def test_visibility_zero_gives_a_message_back_at_once(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url)
    message = cloud.receive(url)[0]
    handle = message["ReceiptHandle"]
    cloud.call("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    assert cloud.counts(url) == (1, 0, 0)
    assert cloud.bodies(url) == ["hello"]


def test_receiving_with_visibility_zero_leaves_the_message_visible(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url)
    assert len(cloud.receive(url, VisibilityTimeout=0)) == 1
    assert cloud.counts(url) == (1, 0, 0)
    assert len(cloud.receive(url, VisibilityTimeout=0)) == 1


def test_twelve_hours_out_of_sight_end_when_time_is_advanced(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url)
    message = cloud.receive(url, VisibilityTimeout=43_200)[0]
    handle = message["ReceiptHandle"]
    cloud.advance(43_199)
    assert cloud.receive(url) == []
    with pytest.raises(AwsError, match="beyond the limit"):
        cloud.call("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=2)
    cloud.advance(1)
    assert cloud.bodies(url) == ["hello"]


def test_changing_the_visibility_of_a_visible_message_does_nothing(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url)
    handle = cloud.receive(url, VisibilityTimeout=5)[0]["ReceiptHandle"]
    cloud.advance(5)
    cloud.call("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60)
    assert cloud.bodies(url) == ["hello"]


def test_a_delayed_message_comes_when_its_delay_is_over(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url, "late", DelaySeconds=900)
    cloud.send(url, "now")
    assert cloud.counts(url) == (1, 0, 1)
    assert cloud.bodies(url) == ["now"]
    cloud.advance(899)
    assert cloud.counts(url)[2] == 1
    cloud.advance(1)
    assert cloud.counts(url) == (2, 0, 0)
    assert sorted(cloud.bodies(url)) == ["late", "now"]


def test_a_queue_can_delay_all_its_messages(cloud: Cloud) -> None:
    url = cloud.queue(DelaySeconds="5")
    cloud.send(url, "late")
    cloud.send(url, "now", DelaySeconds=0)
    assert cloud.bodies(url) == ["now"]
    cloud.advance(5)
    assert cloud.bodies(url) == ["late"]


def test_messages_outlive_a_restart(cloud: Cloud) -> None:
    url = cloud.queue()
    for n in range(3):
        cloud.send(url, f"m{n}")
    cloud.send(url, "late", DelaySeconds=60)
    taken = cloud.receive(url, 1)[0]
    cloud.restart()
    assert cloud.counts(url) == (2, 1, 1)
    assert cloud.bodies(url) == ["m1", "m2"]
    cloud.delete(url, taken)
    cloud.advance(60)
    assert sorted(cloud.bodies(url)) == ["late", "m1", "m2"]


def test_messages_expire_by_the_queues_retention(cloud: Cloud) -> None:
    url = cloud.queue(MessageRetentionPeriod="60")
    cloud.send(url, "old")
    cloud.send(url, "held")
    assert len(cloud.receive(url, VisibilityTimeout=0)) == 2
    cloud.advance(30)
    cloud.send(url, "young")
    cloud.advance(29)
    assert sorted(cloud.bodies(url, VisibilityTimeout=0)) == ["held", "old", "young"]
    cloud.advance(1)
    assert cloud.bodies(url, VisibilityTimeout=0) == ["young"]
    cloud.advance(60)
    assert cloud.counts(url) == (0, 0, 0)
    assert cloud.ledger() == {"accepted": 3, "expired": 3}
    assert cloud.rows() == []


def test_a_shorter_retention_takes_effect_on_what_is_there(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url)
    cloud.advance(120)
    cloud.call("SetQueueAttributes", QueueUrl=url, Attributes={"MessageRetentionPeriod": "60"})
    cloud.advance(2)
    assert cloud.counts(url) == (0, 0, 0)
    assert cloud.ledger() == {"accepted": 1, "expired": 1}


def test_purging_removes_every_message_whatever_its_state(cloud: Cloud) -> None:
    url = cloud.queue()
    for n in range(3):
        cloud.send(url, f"m{n}")
    cloud.send(url, "late", DelaySeconds=60)
    held = cloud.receive(url, 1)[0]
    cloud.call("PurgeQueue", QueueUrl=url)
    assert cloud.counts(url) == (0, 0, 0)
    assert cloud.receive(url) == []
    cloud.delete(url, held)
    cloud.advance(61)
    assert cloud.receive(url) == []
    assert cloud.rows() == []
    assert cloud.ledger() == {"accepted": 4, "purged": 4}
    cloud.send(url, "after")
    assert cloud.bodies(url) == ["after"]


def test_a_second_purge_within_a_minute_is_refused(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.call("PurgeQueue", QueueUrl=url)
    with pytest.raises(AwsError, match="Only one PurgeQueue operation on orders is allowed every 60 seconds") as got:
        cloud.call("PurgeQueue", QueueUrl=url)
    assert (got.value.error_code, got.value.error_status) == ("PurgeQueueInProgress", 403)
    cloud.advance(60)
    cloud.call("PurgeQueue", QueueUrl=url)


def _with_dead_letters(cloud: Cloud, attempts: int = 2, **more: str) -> tuple[str, str]:
    dead = cloud.queue("dead")
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
    policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{attempts}"}}'
    return cloud.queue(RedrivePolicy=policy, **more), dead


def test_a_message_received_too_often_goes_to_the_dead_letter_queue_as_it_was(cloud: Cloud) -> None:
    url, dead = _with_dead_letters(cloud)
    colour = {"colour": {"DataType": "String", "StringValue": "blue"}}
    number = cloud.send(url, "poison", MessageAttributes=colour)
    sent_at = cloud.clock.now()
    for _ in range(2):
        assert cloud.bodies(url) == ["poison"]
        cloud.advance(30)
    assert cloud.receive(url) == []
    cloud.quiet()
    (letter,) = cloud.receive(dead, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])
    assert (letter["MessageId"], letter["Body"], letter["MessageAttributes"]) == (number, "poison", colour)
    assert letter["Attributes"]["SentTimestamp"] == str(sent_at)
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders"
    assert cloud.ledger() == {"accepted": 1, "dead-lettered": 1}
    assert cloud.ledger("dead") == {"accepted": 1, "pending": 1}
    cloud.delete(dead, letter)
    assert cloud.ledger("dead") == {"accepted": 1, "delivered": 1}


def test_a_dead_letter_expires_by_when_it_was_first_sent(cloud: Cloud) -> None:
    url, dead = _with_dead_letters(cloud, 1)
    cloud.call("SetQueueAttributes", QueueUrl=dead, Attributes={"MessageRetentionPeriod": "100"})
    cloud.send(url, "poison")
    cloud.receive(url)
    cloud.advance(60)
    cloud.receive(url)
    cloud.quiet()
    assert cloud.counts(dead) == (1, 0, 0)
    cloud.advance(40)
    assert cloud.counts(dead) == (0, 0, 0)
    assert cloud.ledger("dead") == {"accepted": 1, "expired": 1}


def test_a_dead_letter_without_a_dead_letter_queue_stays_in_its_own(cloud: Cloud) -> None:
    url, dead = _with_dead_letters(cloud, 1)
    cloud.send(url, "poison")
    cloud.receive(url)
    cloud.advance(30)
    cloud.call("DeleteQueue", QueueUrl=dead)
    cloud.receive(url)
    cloud.quiet()
    assert cloud.counts(url) == (1, 0, 0)
    assert cloud.ledger() == {"accepted": 1, "pending": 1}


def test_a_long_poll_gets_the_message_that_is_sent_meanwhile(cloud: Cloud) -> None:
    url = cloud.queue()

    async def poll_and_send() -> Any:
        poll = asyncio.ensure_future(cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await until(lambda: len(cloud.owned_now("orders")) == 1)
        await cloud.start("SendMessage", QueueUrl=url, MessageBody="hello")
        return await poll

    (message,) = cloud.run(poll_and_send())["Messages"]
    assert message["Body"] == "hello"


def test_a_long_poll_outlives_a_commit_that_the_disk_refused(cloud: Cloud) -> None:
    url = cloud.queue()

    def refuse() -> None:
        cloud.faults.disarm("store.commit.before")
        raise CommitRefusedError("disk full")

    async def poll_and_send() -> Any:
        poll = asyncio.ensure_future(cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await until(lambda: len(cloud.owned_now("orders")) == 1)
        cloud.faults.arm("store.commit.before", refuse)
        with pytest.raises(AwsError, match="disk full"):
            await cloud.start("SendMessage", QueueUrl=url, MessageBody="lost")
        await until(lambda: len(cloud.owned_now("orders")) == 1)  # waits again, where the next message comes
        await cloud.start("SendMessage", QueueUrl=url, MessageBody="kept")
        return await poll

    (message,) = cloud.run(poll_and_send())["Messages"]
    assert message["Body"] == "kept"


def test_a_receive_is_billed_once_however_long_it_waits(cloud: Cloud) -> None:
    url = cloud.queue()
    context = cloud.context("ReceiveMessage")

    async def poll_and_send() -> None:
        request = {"QueueUrl": url, "WaitTimeSeconds": 20}
        poll = asyncio.ensure_future(receive_message(Context(context, cloud.environment), request))
        await until(lambda: len(cloud.owned_now("orders")) == 1)
        await cloud.start("SendMessage", QueueUrl=url, MessageBody="hello")
        await poll

    cloud.run(poll_and_send())
    assert units(context.usage) == (("sqs.requests", 1),)


def test_ten_long_polls_share_a_batch_of_ten(cloud: Cloud) -> None:
    url = cloud.queue()

    async def poll_and_send() -> Any:
        polls = [
            asyncio.ensure_future(
                cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20, MaxNumberOfMessages=1)
            )
            for _ in range(10)
        ]
        await until(lambda: len(cloud.owned_now("orders")) == 10)
        entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(10)]
        await cloud.start("SendMessageBatch", QueueUrl=url, Entries=entries)
        return await asyncio.gather(*polls)

    answers = cloud.run(poll_and_send())
    assert sorted(answer["Messages"][0]["Body"] for answer in answers) == [f"m{n}" for n in range(10)]


def test_a_long_poll_gets_a_message_whose_time_comes(cloud: Cloud) -> None:
    url = cloud.queue()
    cloud.send(url, "late", DelaySeconds=900)

    async def poll_and_advance() -> Any:
        poll = asyncio.ensure_future(cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await until(lambda: len(cloud.owned_now("orders")) == 1)
        await cloud.store.quiet(5)
        cloud.clock.step_to(cloud.clock.now() + 900_000)
        return await poll

    assert cloud.run(poll_and_advance())["Messages"][0]["Body"] == "late"


def test_a_long_poll_gets_what_another_consumer_lets_go(cloud: Cloud) -> None:
    url = cloud.queue()

    async def poll_while_another_fails() -> Any:
        poll = asyncio.ensure_future(cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await until(lambda: len(cloud.owned_now("orders")) == 1)
        await cloud.store.quiet(5)
        waiting = dict(cloud.owned_now("orders"))
        cloud.owned_now("orders").clear()  # so that the other consumer comes first
        await cloud.start("SendMessage", QueueUrl=url, MessageBody="hello")
        cloud.owned_now("orders").update(waiting)
        await cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=0, VisibilityTimeout=5)
        await cloud.store.quiet(5)
        cloud.clock.step_to(cloud.clock.now() + 5_000)
        return await asyncio.wait_for(poll, 10)

    assert cloud.run(poll_while_another_fails())["Messages"][0]["Body"] == "hello"


def test_a_poller_that_hangs_up_passes_its_turn_on(cloud: Cloud) -> None:
    url = cloud.queue()

    async def hang_up() -> Any:
        first = asyncio.ensure_future(cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await until(lambda: len(cloud.owned_now("orders")) == 1)
        second = asyncio.ensure_future(cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await until(lambda: len(cloud.owned_now("orders")) == 2)
        send = asyncio.ensure_future(cloud.start("SendMessage", QueueUrl=url, MessageBody="hello"))
        await until(lambda: len(cloud.owned_now("orders")) < 2)
        first.cancel()
        await send
        return await second

    assert cloud.run(hang_up())["Messages"][0]["Body"] == "hello"


def test_a_deleted_queue_ends_its_long_polls(cloud: Cloud) -> None:
    url = cloud.queue()

    async def poll_and_delete() -> Any:
        poll = asyncio.ensure_future(cloud.start("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await until(lambda: len(cloud.owned_now("orders")) == 1)
        await cloud.start("DeleteQueue", QueueUrl=url)
        return await poll

    with pytest.raises(AwsError) as refused:
        cloud.run(poll_and_delete())
    assert refused.value.error_code == "QueueDoesNotExist"


def test_more_than_the_limit_in_flight_is_refused(plain: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from tule.services.sqs import limits

    monkeypatch.setattr(limits, "MAX_IN_FLIGHT", 3)
    url = plain.queue()
    for _ in range(5):
        plain.send(url)
    assert len(plain.receive(url, 3)) == 3
    with pytest.raises(AwsError) as refused:
        plain.receive(url)
    assert refused.value.error_code == "OverLimit"
    plain.advance(30)
    assert len(plain.receive(url)) > 0


def test_a_backlog_larger_than_the_window_is_received_whole(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues_window, "MAX_FRESH", 5)
    monkeypatch.setattr(queues_window, "MAX_TIMED", 4)
    monkeypatch.setattr(queues_window, "FILL_TIMED", 3)
    url = cloud.queue()
    for n in range(40):
        cloud.send(url, f"m{n:02}", DelaySeconds=n % 3)
    cloud.advance(5)
    got: list[str] = []
    while batch := cloud.receive(url, 7):
        got += [message["Body"] for message in batch]
    assert sorted(got) == [f"m{n:02}" for n in range(40)]
    assert cloud.counts(url) == (0, 40, 0)
    cloud.advance(31)
    again: list[dict[str, Any]] = []
    while batch := cloud.receive(url):
        again += batch
    assert len(again) == 40
    for message in again:
        cloud.delete(url, message)
    assert cloud.counts(url) == (0, 0, 0)
    assert cloud.ledger() == {"accepted": 40, "delivered": 40}


def test_the_wait_in_the_queue_is_a_span_of_the_senders_trace(plain: Cloud) -> None:
    url = plain.queue()
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}
    plain.send(url, MessageSystemAttributes=trace)
    plain.advance(3)
    (message,) = plain.receive(url, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert message["Attributes"] == {"AWSTraceHeader": header}
    (span,) = plain.spans.spans
    assert (span.name, span.trace.root, span.trace.parent) == (
        "queue wait",
        "1-5759e988-bd862e3fe1be46a994272793",
        "53995c3f42cd8ad8",
    )
    assert span.end_us - span.start_us == 3_000_000
