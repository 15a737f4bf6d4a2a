"""Service time leaps; whoever lives by machine time (functions, signatures, sessions) notices nothing."""

import io
import json
import threading
import urllib.request
import zipfile

import pytest
from botocore.config import Config

from tule.testing.server import Tule

TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
CODE = """
import boto3

queues = boto3.client("sqs")

def handler(event, context):
    before = context.get_remaining_time_in_millis()
    queues.send_message(QueueUrl=event["entered"], MessageBody="entered")
    while not queues.receive_message(QueueUrl=event["go"], WaitTimeSeconds=20).get("Messages"):
        pass
    return {"before": before, "after": context.get_remaining_time_in_millis()}
"""
TIMEOUT_S = 60


@pytest.fixture
def tule():
    with Tule(verify_signatures=True) as running:
        running.clock_pause()
        yield running


@pytest.fixture
def keys(tule):
    return tule.root_keys()


@pytest.fixture
def queues(tule, keys):
    return tule.client("sqs", **keys)


def bodies(queues, url, **options):
    return [message["Body"] for message in queues.receive_message(QueueUrl=url, **options).get("Messages", [])]


def make_role(tule, keys):
    policy = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
    role = tule.client("iam", **keys).create_role(RoleName="runs", AssumeRolePolicyDocument=policy)
    return role["Role"]["Arn"]


def test_a_delayed_message_arrives_when_its_time_has_come(tule, queues):
    url = queues.create_queue(QueueName="later")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=900)
    tule.advance("14m59s")
    assert bodies(queues, url) == []
    tule.advance("1s")
    assert bodies(queues, url) == ["x"]


def test_whoever_waits_for_a_message_gets_it_when_time_leaps(tule, queues):
    url = queues.create_queue(QueueName="awaited")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=900)
    got = []
    waiting = threading.Thread(target=lambda: got.extend(bodies(queues, url, WaitTimeSeconds=20)))
    waiting.start()
    tule.advance("15m")
    waiting.join()
    assert got == ["x"]


def test_a_hidden_message_comes_back_after_twelve_hours(tule, queues):
    url = queues.create_queue(QueueName="hidden")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="x")
    assert bodies(queues, url, VisibilityTimeout=43_200) == ["x"]
    tule.advance("11h59m59s")
    assert bodies(queues, url) == []
    tule.advance("1s")
    assert bodies(queues, url) == ["x"]


def test_a_running_function_does_not_notice(tule, keys, queues):
    functions = tule.client("lambda", **keys)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", CODE)
    functions.create_function(
        FunctionName="waits",
        Runtime="python3.11",
        Handler="app.handler",
        Role=make_role(tule, keys),
        Code={"ZipFile": buffer.getvalue()},
        Timeout=TIMEOUT_S,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="waits", WaiterConfig={"Delay": 1})
    urls = {name: queues.create_queue(QueueName=name)["QueueUrl"] for name in ("entered", "go")}
    answers = []
    invoking = threading.Thread(
        target=lambda: answers.append(functions.invoke(FunctionName="waits", Payload=json.dumps(urls).encode()))
    )
    invoking.start()
    while not bodies(queues, urls["entered"], WaitTimeSeconds=20):
        pass
    tule.advance("12h")
    # The function hears this with the credentials that it had before the leap.
    queues.send_message(QueueUrl=urls["go"], MessageBody="go")
    invoking.join()
    (answer,) = answers
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    assert TIMEOUT_S * 1000 >= payload["before"] >= payload["after"] > 0


def test_signatures_sessions_and_presigned_urls_outlive_a_leap(tule, keys):
    role = make_role(tule, keys)
    session = tule.client("sts", **keys).assume_role(RoleArn=role, RoleSessionName="leaping", DurationSeconds=900)
    given = session["Credentials"]
    buckets = tule.client("s3", **keys, config=Config(signature_version="s3v4"))
    buckets.create_bucket(Bucket="attic")
    buckets.put_object(Bucket="attic", Key="letter", Body=b"kept")
    url = buckets.generate_presigned_url("get_object", {"Bucket": "attic", "Key": "letter"}, ExpiresIn=600)
    tule.advance("15d")
    assert tule.client("sqs", **keys).list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"kept"
    caller = tule.client(
        "sts",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    ).get_caller_identity()
    assert caller["Arn"].endswith(":assumed-role/runs/leaping")


def test_a_leap_outlives_a_crash(tmp_path):
    with Tule(tmp_path / "home") as tule:
        queues = tule.client("sqs")
        url = queues.create_queue(QueueName="later")["QueueUrl"]
        tule.clock_pause()
        queues.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=900)
        tule.advance("14m")
        before = tule.admin("clock")
        tule.kill()
        tule.start()
        assert tule.admin("clock")["now_ms"] == before["now_ms"]
        queues = tule.client("sqs")
        assert bodies(queues, f"{tule.url}/000000000000/later") == []
        tule.advance("1m")
        assert bodies(queues, f"{tule.url}/000000000000/later") == ["x"]
