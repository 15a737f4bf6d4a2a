"""Queues that feed functions."""

import json

import pytest
from patience import eventually, first_message

WORKER = """
    import boto3, json

    def handler(event, context):
        sqs = boto3.client("sqs")
        url = sqs.get_queue_url(QueueName="seen")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
        if any(record["body"] == "poison" for record in event["Records"]):
            raise RuntimeError("poison")
"""
PARTIAL = """
    def handler(event, context):
        failed = [{"itemIdentifier": r["messageId"]} for r in event["Records"] if r["body"] == "bad"]
        return {"batchItemFailures": failed}
"""


@pytest.fixture
def sqs(tule, fresh_account):
    return tule.client("sqs", account=fresh_account)


@pytest.fixture
def queue(sqs):
    sqs.create_queue(QueueName="seen")
    return sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]


def arn(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def connect(functions, sqs, queue, **settings):
    made = functions.client.create_event_source_mapping(
        EventSourceArn=arn(sqs, queue), FunctionName="worker", **settings
    )
    return until_state(functions, made["UUID"], "Enabled")


def until_state(functions, uuid, state):
    def look():
        return uuid if functions.client.get_event_source_mapping(UUID=uuid)["State"] == state else None

    return eventually(f"the mapping to be {state}", look)


def seen(sqs):
    """The next event the function told of."""
    url = sqs.get_queue_url(QueueName="seen")["QueueUrl"]
    return json.loads(first_message(sqs, url)["Body"])


def counts(sqs, queue):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return tuple(int(found[name]) for name in names)


def until_counts(sqs, queue, expected):
    eventually(f"{expected} messages", lambda: True if counts(sqs, queue) == expected else None)


def test_a_message_reaches_its_function_and_is_deleted(functions, sqs, queue, fresh_account):
    functions.deploy(WORKER, Timeout=30)
    connect(functions, sqs, queue)

    sent = sqs.send_message(
        QueueUrl=queue, MessageBody="hello", MessageAttributes={"k": {"DataType": "String", "StringValue": "v"}}
    )

    record = seen(sqs)["Records"][0]
    assert (record["messageId"], record["body"], record["md5OfBody"]) == (
        sent["MessageId"],
        "hello",
        sent["MD5OfMessageBody"],
    )
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == arn(sqs, queue)
    assert record["awsRegion"] == "us-east-1"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["k"]["stringValue"] == "v"
    until_counts(sqs, queue, (0, 0))


def test_messages_of_a_failed_batch_stay_in_the_queue(functions, sqs, queue):
    functions.deploy(WORKER, Timeout=30)
    connect(functions, sqs, queue)

    sqs.send_message(QueueUrl=queue, MessageBody="poison")

    seen(sqs)
    until_counts(sqs, queue, (0, 1))


def test_only_the_reported_messages_of_a_batch_stay(functions, sqs, queue):
    functions.deploy(PARTIAL)
    entries = [{"Id": body, "MessageBody": body} for body in ("good", "bad", "fine")]
    sqs.send_message_batch(QueueUrl=queue, Entries=entries)

    connect(functions, sqs, queue, FunctionResponseTypes=["ReportBatchItemFailures"])

    until_counts(sqs, queue, (0, 1))


def test_a_poison_message_reaches_the_dead_letter_queue_after_three_attempts(functions, sqs):
    sqs.create_queue(QueueName="seen")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 3})
    queue = sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "1", "RedrivePolicy": policy})[
        "QueueUrl"
    ]
    functions.deploy(WORKER, Timeout=1)
    functions.client.invoke(FunctionName="worker", Payload=b'{"Records": []}')
    seen(sqs)
    connect(functions, sqs, queue)

    sqs.send_message(QueueUrl=queue, MessageBody="poison")

    receives = [seen(sqs)["Records"][0]["attributes"]["ApproximateReceiveCount"] for _ in range(3)]
    assert receives == ["1", "2", "3"]
    until_counts(sqs, dead, (1, 0))


def test_a_window_gathers_a_batch(functions, sqs, queue):
    functions.deploy(WORKER, Timeout=30)
    connect(functions, sqs, queue, BatchSize=20, MaximumBatchingWindowInSeconds=2)

    for number in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))

    assert sorted(record["body"] for record in seen(sqs)["Records"]) == ["0", "1", "2"]


def test_a_disabled_mapping_takes_nothing(functions, sqs, queue):
    functions.deploy(WORKER, Timeout=30)
    uuid = connect(functions, sqs, queue)
    functions.client.update_event_source_mapping(UUID=uuid, Enabled=False)
    until_state(functions, uuid, "Disabled")

    sqs.send_message(QueueUrl=queue, MessageBody="later")

    assert counts(sqs, queue) == (1, 0)
    functions.client.update_event_source_mapping(UUID=uuid, Enabled=True)
    assert seen(sqs)["Records"][0]["body"] == "later"


def test_a_throttled_batch_keeps_its_receive_count(functions, sqs, queue):
    functions.deploy(WORKER, Timeout=30)
    functions.client.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=0)
    connect(functions, sqs, queue)
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    until_counts(sqs, queue, (0, 1))

    functions.client.delete_function_concurrency(FunctionName="worker")

    assert seen(sqs)["Records"][0]["attributes"]["ApproximateReceiveCount"] == "1"
