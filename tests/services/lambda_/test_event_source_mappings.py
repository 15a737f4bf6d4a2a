"""Event source mappings of queues: their life and what AWS refuses."""

import io
import zipfile

import pytest
from botocore.exceptions import ClientError
from patience import eventually

ROLE = "arn:aws:iam::111122223333:role/worker"


def package():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return None\n")
    return buffer.getvalue()


@pytest.fixture
def client(tule, fresh_account):
    client = tule.client("lambda", account=fresh_account)
    client.create_function(
        FunctionName="worker", Runtime="python3.13", Role=ROLE, Handler="app.handler", Code={"ZipFile": package()}
    )
    client.get_waiter("function_active_v2").wait(FunctionName="worker", WaiterConfig={"Delay": 0.02})
    return client


@pytest.fixture
def queue_arn(tule, fresh_account):
    tule.client("sqs", account=fresh_account).create_queue(QueueName="orders")
    return f"arn:aws:sqs:us-east-1:{fresh_account}:orders"


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def until(client, uuid, state):
    """Wait for a state that Tule reaches by itself, without minding how fast."""

    def look():
        found = client.get_event_source_mapping(UUID=uuid)
        return found if found["State"] == state else None

    return eventually(f"the mapping {uuid} to be {state}", look)


def gone(client, uuid):
    def look():
        try:
            client.get_event_source_mapping(UUID=uuid)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return None

    return eventually(f"the mapping {uuid} to be gone", look)


def test_a_mapping_is_created_enabled_disabled_and_deleted(client, queue_arn, fresh_account):
    made = client.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName="worker")

    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (made["State"], made["BatchSize"], made["MaximumBatchingWindowInSeconds"]) == ("Creating", 10, 0)
    assert made["FunctionArn"] == f"arn:aws:lambda:us-east-1:{fresh_account}:function:worker"
    uuid = made["UUID"]
    assert until(client, uuid, "Enabled")["EventSourceArn"] == queue_arn
    assert client.update_event_source_mapping(UUID=uuid, Enabled=False)["State"] == "Disabling"
    until(client, uuid, "Disabled")
    assert client.update_event_source_mapping(UUID=uuid, Enabled=True, BatchSize=5)["State"] == "Enabling"
    assert until(client, uuid, "Enabled")["BatchSize"] == 5
    assert client.delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"
    assert gone(client, uuid) == "ResourceNotFoundException"


def test_mappings_are_listed_by_function_and_source(client, queue_arn):
    uuid = client.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName="worker", Enabled=False)["UUID"]

    for filters in ({}, {"FunctionName": "worker"}, {"EventSourceArn": queue_arn}):
        found = client.list_event_source_mappings(**filters)["EventSourceMappings"]
        assert [mapping["UUID"] for mapping in found] == [uuid]
    assert client.list_event_source_mappings(FunctionName="other")["EventSourceMappings"] == []


def test_a_source_and_function_are_mapped_once(client, queue_arn):
    uuid = client.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName="worker")["UUID"]

    assert refusal(lambda: client.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName="worker")) == (
        "ResourceConflictException",
        409,
        (
            f'An event source mapping with SQS arn (" {queue_arn} ") and function (" worker ") already exists. '
            f"Please update or delete the existing mapping with UUID {uuid}"
        ),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"FunctionName": "nobody"}, "Function does not exist"),
        ({"EventSourceArn": "arn:aws:foo:us-east-1:111122223333:x"}, "Unrecognized event source."),
        (
            {"BatchSize": 11},
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:111122223333:dlq"}}},
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
    ],
)
def test_what_aws_refuses_is_refused_in_its_words(client, queue_arn, changes, message):
    settings = {"EventSourceArn": queue_arn, "FunctionName": "worker", **changes}

    told = refusal(lambda: client.create_event_source_mapping(**settings))

    assert told == ("InvalidParameterValueException", 400, message)


def test_a_queue_must_exist(client, queue_arn):
    told = refusal(lambda: client.create_event_source_mapping(EventSourceArn=f"{queue_arn}x", FunctionName="worker"))

    assert told[0] == "InvalidParameterValueException"
    assert told[2].startswith(
        "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue."
    )


def test_a_queue_must_hide_messages_for_as_long_as_the_function_runs(tule, client, queue_arn, fresh_account):
    sqs = tule.client("sqs", account=fresh_account)
    url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "2"})

    told = refusal(lambda: client.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName="worker"))

    assert told[2] == "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds"


def test_filters_are_refused_by_name(client, queue_arn):
    told = refusal(
        lambda: client.create_event_source_mapping(
            EventSourceArn=queue_arn, FunctionName="worker", FilterCriteria={"Filters": [{"Pattern": "{}"}]}
        )
    )

    assert told[:2] == ("NotImplemented", 501)
    assert "FilterCriteria" in told[2]


def test_unknown_mappings_are_not_found(client):
    uuid = "11111111-2222-3333-4444-555555555555"

    for call in (client.get_event_source_mapping, client.delete_event_source_mapping):
        assert refusal(lambda call=call: call(UUID=uuid)) == (
            "ResourceNotFoundException",
            404,
            "The resource you requested does not exist.",
        )


def test_mappings_have_tags(client, queue_arn):
    arn = client.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName="worker", Tags={"a": "1"})[
        "EventSourceMappingArn"
    ]

    client.tag_resource(Resource=arn, Tags={"b": "2"})

    assert client.list_tags(Resource=arn)["Tags"] == {"a": "1", "b": "2"}
