"""Asynchronous invocations: accepted durably, retried on AWS's schedule, each with one fate."""

import json

import pytest
from patience import eventually, first_message

from tule.testing.server import Tule


@pytest.fixture
def cloud(tmp_path):
    """A durable Tule of its own, whose clock and life a test may play with."""
    with Tule(tmp_path / "tule") as running:
        yield running


@pytest.fixture
def workers(cloud, functions_of):
    return functions_of(cloud)


RECORD = """
    import boto3, json, os

    def handler(event, context):
        sqs = boto3.client("sqs")
        url = sqs.get_queue_url(QueueName="seen")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
        if event.get("fail"):
            raise RuntimeError("as asked")
"""


def take(cloud, queue="seen"):
    """The next message, however long it takes to come."""
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    return first_message(sqs, url, MessageAttributeNames=["All"])


def hop(cloud, name="lambda:worker/async"):
    for line in cloud.admin("ledger")["hops"]:
        if line["hop"] == name:
            return line
    return None


def until_settled(cloud):
    eventually("no event to be pending", lambda: None if hop(cloud)["pending"] else True)


def test_an_event_runs_once_and_is_accounted_for(cloud, workers):
    cloud.client("sqs").create_queue(QueueName="seen")
    workers.deploy(RECORD, Timeout=30)

    response = workers.client.invoke(FunctionName="worker", InvocationType="Event", Payload=b'{"n": 1}')

    assert (response["StatusCode"], response["Payload"].read()) == (202, b"")
    assert json.loads(take(cloud)["Body"]) == {"n": 1}
    until_settled(cloud)
    assert hop(cloud)["fates"] == {"delivered": 1}


def test_an_event_survives_a_crash(cloud, workers):
    cloud.client("sqs").create_queue(QueueName="seen")
    workers.deploy(RECORD, Timeout=30)
    cloud.clock_pause()
    workers.client.invoke(FunctionName="worker", InvocationType="Event", Payload=b'{"fail": true}')
    take(cloud)

    cloud.kill()
    cloud.start()

    cloud.advance("4m")
    assert json.loads(take(cloud)["Body"]) == {"fail": True}


def test_a_trigger_goes_on_after_a_crash(cloud, workers):
    sqs = cloud.client("sqs")
    sqs.create_queue(QueueName="seen")
    sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "60"})
    workers.deploy(RECORD, Timeout=30)
    workers.client.create_event_source_mapping(
        EventSourceArn="arn:aws:sqs:us-east-1:000000000000:orders", FunctionName="worker"
    )

    cloud.kill()
    cloud.start()

    sqs = cloud.client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="orders")["QueueUrl"], MessageBody="after the crash")
    assert json.loads(take(cloud)["Body"])["Records"][0]["body"] == "after the crash"
