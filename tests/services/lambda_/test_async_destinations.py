"""Asynchronous invocations: rules of retrying by qualifier, and who is told how an event ended."""

import json
import re
import threading
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError
from patience import eventually, first_message

from conftest import Functions
from tule.testing.server import Tule

WORKER = """
    import boto3, json

    def handler(event, context):
        if event.get("tell"):
            sqs = boto3.client("sqs")
            url = sqs.get_queue_url(QueueName="seen")["QueueUrl"]
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
        if event.get("hold"):
            sqs = boto3.client("sqs")
            url = sqs.get_queue_url(QueueName="release")["QueueUrl"]
            while "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20):
                pass
        if event.get("fail"):
            raise RuntimeError(event["fail"])
        return {"did": event}
"""


@pytest.fixture(scope="module")
def still():
    """A Tule whose clock stands still unless a test moves it."""
    with Tule() as running:
        running.clock_pause()
        yield running


class Cloud:
    """One account of that Tule, with a function and queues."""

    def __init__(self, tule, account):
        self.tule, self.account = tule, account
        self.name = f"worker-{account}"  # the ledger adds accounts up
        self.functions = Functions(tule.client("lambda", account=account))
        self.client = self.functions.client
        self.sqs = tule.client("sqs", account=account)

    def queue(self, name):
        self.sqs.create_queue(QueueName=name)
        return f"arn:aws:sqs:us-east-1:{self.account}:{name}"

    def deploy(self, source=WORKER, name="", **settings):
        self.functions.deploy(source, name or self.name, **{"Timeout": 120, **settings})

    def function_arn(self, name=""):
        return f"arn:aws:lambda:us-east-1:{self.account}:function:{name or self.name}"

    def configure(self, success="", failure="", **settings):
        targets = {"OnSuccess": {"Destination": success}, "OnFailure": {"Destination": failure}}
        return self.client.put_function_event_invoke_config(
            FunctionName=self.name, DestinationConfig=targets, **settings
        )

    def send(self, event, **asked):
        asked = {"FunctionName": self.name, **asked}
        answer = self.client.invoke(InvocationType="Event", Payload=json.dumps(event), **asked)
        assert answer["StatusCode"] == 202
        return answer["ResponseMetadata"]["RequestId"]

    def take(self, queue):
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        return first_message(self.sqs, url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"])

    def is_empty(self, queue):
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        return "Messages" not in self.sqs.receive_message(QueueUrl=url)

    def rest(self):
        """Wait until no instance is at work: what the last attempt came to is known then, its next one arranged."""

        def look():
            mine = [
                one
                for one in self.tule.admin("functions/instances")["instances"]
                if one["function_arn"].endswith(self.name)
            ]
            return True if mine and all(one["state"] == "idle" for one in mine) else None

        eventually("the function to be idle", look)

    def fates(self):
        """The fates of all events, as soon as none is pending."""
        hop = f"lambda:{self.name}/async"

        def look():
            line = next((line for line in self.tule.admin("ledger")["hops"] if line["hop"] == hop), None)
            return None if line is None or line["pending"] else line["fates"]

        return eventually("every event to have its fate", look)


@pytest.fixture
def cloud(still, fresh_account):
    return Cloud(still, fresh_account)


def refusal(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error["Message"]


# -- configurations


def test_a_configuration_is_put_changed_listed_and_deleted(cloud):
    cloud.deploy()
    client, arn = cloud.client, cloud.function_arn()
    version = client.publish_version(FunctionName=cloud.name)["Version"]
    client.create_alias(FunctionName=cloud.name, Name="live", FunctionVersion=version)

    put = client.put_function_event_invoke_config(FunctionName=cloud.name, MaximumRetryAttempts=0)
    assert put["FunctionArn"] == f"{arn}:$LATEST"
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    assert (put["MaximumRetryAttempts"], "MaximumEventAgeInSeconds" in put) == (0, False)
    client.put_function_event_invoke_config(FunctionName=cloud.name, MaximumEventAgeInSeconds=60)
    changed = client.update_function_event_invoke_config(FunctionName=cloud.name, MaximumRetryAttempts=1)
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (1, 60)
    queue = cloud.queue("dead")
    target = {"OnFailure": {"Destination": queue}}
    client.put_function_event_invoke_config(FunctionName=f"{cloud.name}:{version}", DestinationConfig=target)
    client.put_function_event_invoke_config(FunctionName=cloud.name, Qualifier="live", MaximumRetryAttempts=2)

    first = client.list_function_event_invoke_configs(FunctionName=cloud.name, MaxItems=2)
    rest = client.list_function_event_invoke_configs(FunctionName=cloud.name, Marker=first["NextMarker"])
    listed = first["FunctionEventInvokeConfigs"] + rest["FunctionEventInvokeConfigs"]
    assert {config["FunctionArn"] for config in listed} == {f"{arn}:{q}" for q in ("$LATEST", version, "live")}
    got = client.get_function_event_invoke_config(FunctionName=cloud.name, Qualifier=version)
    assert got["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue}}
    client.delete_function_event_invoke_config(FunctionName=cloud.name, Qualifier="live")
    assert refusal(client.get_function_event_invoke_config, FunctionName=cloud.name, Qualifier="live") == (
        404, "ResourceNotFoundException", f"The function {arn}:live doesn't have an EventInvokeConfig",
    )  # fmt: skip


def test_configurations_that_make_no_sense_are_refused_in_awss_words(cloud):
    cloud.deploy()
    put, own = cloud.client.put_function_event_invoke_config, cloud.function_arn()

    def destination(arn, when="OnSuccess", name=cloud.name):
        return refusal(put, FunctionName=name, DestinationConfig={when: {"Destination": arn}})

    invalid = "InvalidParameterValueException"
    assert refusal(put, FunctionName=cloud.name) == (
        400, invalid, "You must specify at least one of error handling or destination setting.",
    )  # fmt: skip
    missing = cloud.function_arn("missing")
    assert destination(missing) == (400, invalid, f"The destination ARN {missing} is invalid.")
    assert destination(own) == (400, invalid, "You can't specify the function as a destination for itself.")
    iam = own.replace(":lambda:", ":iam:")
    printed = f"DestinationConfig(onSuccess=OnSuccess(destination={iam}), onFailure=null)"
    assert destination(iam) == (400, invalid, f"The provided destination config {printed} is invalid.")
    assert destination("arn:aws:s3:::bucket")[:2] == (400, invalid)
    assert destination(own, name="nobody") == (404, "ResourceNotFoundException", "The function doesn't exist.")
    for arn in (
        f"arn:aws:sns:us-east-1:{cloud.account}:topic",
        f"arn:aws:events:us-east-1:{cloud.account}:event-bus/x",
    ):
        status, code, message = destination(arn)
        assert (status, code) == (501, "NotImplemented")
        assert arn.split(":")[2] in message
    update = cloud.client.update_function_event_invoke_config
    assert refusal(update, FunctionName=cloud.name, MaximumRetryAttempts=1)[2].endswith(
        "doesn't have an EventInvokeConfig"
    )


# -- ends


def test_a_success_is_told_with_awss_record(cloud):
    cloud.deploy()
    cloud.configure(success=cloud.queue("good"))

    request_id = cloud.send({"n": 1})

    message = cloud.take("good")
    record = json.loads(message["Body"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("timestamp"))
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{cloud.function_arn()}:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"n": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"did": {"n": 1}},
    }
    assert "MessageAttributes" not in message
    assert "Lineage=" in message["Attributes"]["AWSTraceHeader"]
    assert cloud.fates() == {"delivered": 1}


def test_a_failure_is_tried_again_after_one_and_two_minutes_and_told_to_queue_and_destination(cloud, still):
    dead = cloud.queue("dead")
    cloud.queue("seen")
    cloud.deploy(DeadLetterConfig={"TargetArn": dead})
    cloud.configure(failure=cloud.queue("bad"))

    request_id = cloud.send({"tell": 1, "fail": "as asked"})

    cloud.rest()
    still.advance("59s")
    still.advance("2s")
    cloud.rest()
    still.advance("3m")
    sent = [int(cloud.take("seen")["Attributes"]["SentTimestamp"]) for _ in range(3)]
    assert [later - earlier for earlier, later in pairwise(sent)] == [60_000, 120_000]
    record = json.loads(cloud.take("bad")["Body"])
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{cloud.function_arn()}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert record["responsePayload"]["errorMessage"] == "as asked"
    letter = cloud.take("dead")
    assert json.loads(letter["Body"]) == {"tell": 1, "fail": "as asked"}
    assert letter["MessageAttributes"] == {
        "RequestID": {"DataType": "String", "StringValue": request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "as asked"},
    }
    assert cloud.fates() == {"dead-lettered": 1}


def test_no_retries_means_none(cloud):
    cloud.deploy()
    cloud.configure(failure=cloud.queue("bad"), MaximumRetryAttempts=0)

    cloud.send({"fail": "once"})

    context = json.loads(cloud.take("bad")["Body"])["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("RetriesExhausted", 1)


def test_an_event_that_would_be_too_old_when_tried_again_is_given_up_at_once(cloud, still):
    cloud.queue("seen")
    cloud.deploy()
    cloud.configure(failure=cloud.queue("bad"), MaximumEventAgeInSeconds=60)

    cloud.send({"tell": 1, "fail": "twice"})
    cloud.rest()
    still.advance("60s")

    record = json.loads(cloud.take("bad")["Body"])
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responsePayload"]["errorMessage"] == "twice"
    assert cloud.fates() == {"dead-lettered": 1}


def test_throttled_events_wait_ever_longer_until_they_are_too_old(cloud, still):
    cloud.queue("seen")
    cloud.queue("release")
    cloud.deploy()
    cloud.configure(failure=cloud.queue("bad"), MaximumEventAgeInSeconds=120)
    cloud.client.put_function_concurrency(FunctionName=cloud.name, ReservedConcurrentExecutions=1)
    holder = threading.Thread(
        target=cloud.client.invoke, kwargs={"FunctionName": cloud.name, "Payload": b'{"tell": 1, "hold": true}'}
    )
    holder.start()
    cloud.take("seen")

    cloud.send({"tell": 2})
    for _ in range(6):
        still.advance("10s")
        assert cloud.is_empty("bad")
    still.advance("70s")

    record = json.loads(cloud.take("bad")["Body"])
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert record["responseContext"] == {"statusCode": 429, "functionError": "TooManyRequestsException"}
    assert "responsePayload" not in record
    cloud.sqs.send_message(QueueUrl=cloud.sqs.get_queue_url(QueueName="release")["QueueUrl"], MessageBody="go")
    holder.join()
    assert cloud.is_empty("seen")
    assert cloud.fates() == {"dead-lettered": 1}


def test_throttling_costs_time_and_no_attempt(cloud, still):
    cloud.queue("seen")
    cloud.queue("release")
    cloud.deploy()
    cloud.configure(success=cloud.queue("good"), MaximumRetryAttempts=0)
    cloud.client.put_function_concurrency(FunctionName=cloud.name, ReservedConcurrentExecutions=1)
    holder = threading.Thread(
        target=cloud.client.invoke, kwargs={"FunctionName": cloud.name, "Payload": b'{"tell": 1, "hold": true}'}
    )
    holder.start()
    cloud.take("seen")
    cloud.send({"tell": 2})
    still.advance("40m")
    cloud.sqs.send_message(QueueUrl=cloud.sqs.get_queue_url(QueueName="release")["QueueUrl"], MessageBody="go")
    holder.join()

    still.advance("5m")

    assert json.loads(cloud.take("seen")["Body"]) == {"tell": 2}
    assert json.loads(cloud.take("good")["Body"])["requestContext"]["approximateInvokeCount"] == 1
    assert cloud.fates() == {"delivered": 1}


def test_a_reservation_of_zero_sends_events_straight_to_queue_and_destination(cloud):
    dead = cloud.queue("dead")
    cloud.deploy(DeadLetterConfig={"TargetArn": dead})
    cloud.configure(failure=cloud.queue("bad"))
    cloud.client.put_function_concurrency(FunctionName=cloud.name, ReservedConcurrentExecutions=0)

    request_id = cloud.send({"n": 1})

    record = json.loads(cloud.take("bad")["Body"])
    del record["timestamp"]
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{cloud.function_arn()}:$LATEST",
            "condition": "ZeroReservedConcurrency",
            "approximateInvokeCount": 0,
        },
        "requestPayload": {"n": 1},
    }
    letter = cloud.take("dead")
    assert set(letter["MessageAttributes"]) == {"RequestID", "ErrorMessage"}
    assert cloud.fates() == {"dead-lettered": 1}


def test_a_function_and_a_bucket_may_be_told(cloud, still):
    cloud.queue("seen")
    cloud.deploy()
    cloud.deploy(WORKER.replace('event.get("tell")', "True"), "listener")
    s3 = still.client("s3", account=cloud.account)
    bucket = f"ends-{cloud.account}"
    s3.create_bucket(Bucket=bucket)
    cloud.configure(success=cloud.function_arn("listener"), failure=f"arn:aws:s3:::{bucket}", MaximumRetryAttempts=0)

    cloud.send({"n": 1})
    cloud.send({"fail": "to the bucket"})

    told = json.loads(cloud.take("seen")["Body"])
    assert (told["requestContext"]["condition"], told["responsePayload"]) == ("Success", {"did": {"n": 1}})
    objects = eventually("a record", lambda: s3.list_objects_v2(Bucket=bucket).get("Contents"))
    (key,) = [entry["Key"] for entry in objects]
    assert re.fullmatch(
        r"aws/lambda/async/worker-\d+/\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}", key
    )
    kept = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert kept["responsePayload"]["errorMessage"] == "to the bucket"
    assert cloud.fates() == {"delivered": 1, "dead-lettered": 1}


def test_an_alias_has_rules_of_its_own(cloud):
    cloud.deploy()
    version = cloud.client.publish_version(FunctionName=cloud.name)["Version"]
    cloud.client.create_alias(FunctionName=cloud.name, Name="live", FunctionVersion=version)
    cloud.configure(success=cloud.queue("latest"))
    targets = {"OnSuccess": {"Destination": cloud.queue("live")}}
    cloud.client.put_function_event_invoke_config(FunctionName=f"{cloud.name}:live", DestinationConfig=targets)

    cloud.send({"n": 1}, Qualifier="live")

    record = json.loads(cloud.take("live")["Body"])
    assert record["requestContext"]["functionArn"] == f"{cloud.function_arn()}:live"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": version}
    assert cloud.is_empty("latest")


def test_what_no_destination_takes_is_dropped_with_the_reason(cloud):
    cloud.deploy()
    cloud.configure(failure=cloud.queue("bad"), MaximumRetryAttempts=0)
    cloud.sqs.delete_queue(QueueUrl=cloud.sqs.get_queue_url(QueueName="bad")["QueueUrl"])

    cloud.send({"fail": "into the void"})

    assert cloud.fates() == {"dropped": 1}


def test_the_telling_of_an_end_survives_a_crash(tmp_path, fresh_account):
    with Tule(tmp_path / "tule") as running:
        cloud = Cloud(running, fresh_account)
        cloud.deploy()
        cloud.configure(failure=cloud.queue("bad"))
        running.clock_pause()
        cloud.send({"fail": "after the crash"})
        cloud.send({"fail": "after the crash"})
        running.kill()
        running.start()
        cloud = Cloud(running, fresh_account)
        cloud.rest()

        def told():
            running.advance("1m")
            url = cloud.sqs.get_queue_url(QueueName="bad")["QueueUrl"]
            return cloud.sqs.receive_message(QueueUrl=url, VisibilityTimeout=43_200).get("Messages")

        for _ in range(2):
            (message,) = eventually("an end to be told", told)
            assert json.loads(message["Body"])["requestContext"]["condition"] == "RetriesExhausted"
        assert cloud.fates() == {"dead-lettered": 2}
