"""CloudWatch Logs as boto3 sees it."""

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def logs(tule, fresh_account):
    return tule.client("logs", fresh_account)


@pytest.fixture
def stream(logs):
    logs.create_log_group(logGroupName="/app", tags={"team": "a"})
    logs.create_log_stream(logGroupName="/app", logStreamName="one")
    return {"logGroupName": "/app", "logStreamName": "one"}


def now_ms(tule):
    return tule.admin("clock")["now_ms"]


def put(logs, stream, messages, at):
    return logs.put_log_events(
        **stream, logEvents=[{"timestamp": at + n, "message": message} for n, message in enumerate(messages)]
    )


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_events_come_back_in_order_page_by_page(tule, logs, stream):
    at = now_ms(tule)
    put(logs, stream, ["a", "b", "c"], at)
    put(logs, stream, ["d", "e"], at + 10)
    whole = logs.get_log_events(**stream, startFromHead=True)
    assert [one["message"] for one in whole["events"]] == ["a", "b", "c", "d", "e"]
    first = logs.get_log_events(**stream, startFromHead=True, limit=2)
    second = logs.get_log_events(**stream, nextToken=first["nextForwardToken"], limit=2)
    third = logs.get_log_events(**stream, nextToken=second["nextForwardToken"], limit=2)
    end = logs.get_log_events(**stream, nextToken=third["nextForwardToken"], limit=2)
    assert [[one["message"] for one in page["events"]] for page in (first, second, third, end)] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
        [],
    ]
    assert end["nextForwardToken"] == third["nextForwardToken"]
    latest = logs.get_log_events(**stream, limit=2)
    assert [one["message"] for one in latest["events"]] == ["d", "e"]
    before = logs.get_log_events(**stream, nextToken=latest["nextBackwardToken"], limit=2)
    assert [one["message"] for one in before["events"]] == ["b", "c"]


def test_searching_a_group(tule, logs, stream):
    at = now_ms(tule)
    put(logs, stream, ["ERROR disk full", "all fine", "ERROR net down"], at)
    logs.create_log_stream(logGroupName="/app", logStreamName="two")
    put(logs, {**stream, "logStreamName": "two"}, ["ERROR in two"], at + 1)

    def found(**arguments):
        return [one["message"] for one in logs.filter_log_events(logGroupName="/app", **arguments)["events"]]

    assert found(filterPattern="ERROR") == ["ERROR disk full", "ERROR in two", "ERROR net down"]
    assert found(filterPattern="ERROR -net", logStreamNames=["one"]) == ["ERROR disk full"]
    assert found(filterPattern='"all fine"') == ["all fine"]
    assert found(filterPattern="?fine ?disk") == ["ERROR disk full", "all fine"]
    assert found(startTime=at + 2) == ["ERROR net down"]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/app", PaginationConfig={"PageSize": 1})
    assert len([one for page in pages for one in page["events"]]) == 4
    assert refused(logs.filter_log_events, logGroupName="/app", filterPattern="{$.a = 1}")[0] == "NotImplemented"


def test_what_aws_refuses(tule, logs, stream):
    assert refused(logs.create_log_group, logGroupName="/app") == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    assert refused(logs.get_log_events, logGroupName="/none", logStreamName="x") == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    assert refused(put, logs=logs, stream={**stream, "logStreamName": "x"}, messages=["m"], at=now_ms(tule)) == (
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    )
    events = [{"timestamp": now_ms(tule), "message": "b"}, {"timestamp": now_ms(tule) - 5_000, "message": "a"}]
    assert refused(logs.put_log_events, **stream, logEvents=events) == (
        "InvalidParameterException",
        "Log events in a single PutLogEvents request must be in chronological order.",
    )
    old = put(logs, stream, ["ancient"], now_ms(tule) - 15 * 24 * 3_600_000)
    assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}


def test_groups_streams_and_tags(logs, stream):
    group = logs.describe_log_groups(logGroupNamePrefix="/a")["logGroups"][0]
    assert group["logGroupName"] == "/app"
    logs.put_retention_policy(logGroupName="/app", retentionInDays=7)
    assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 7
    arn = group["logGroupArn"]
    logs.tag_resource(resourceArn=arn, tags={"x": "y"})
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "a", "x": "y"}
    assert [one["logStreamName"] for one in logs.describe_log_streams(logGroupName="/app")["logStreams"]] == ["one"]
    logs.delete_log_stream(**stream)
    logs.delete_log_group(logGroupName="/app")
    assert logs.describe_log_groups()["logGroups"] == []
