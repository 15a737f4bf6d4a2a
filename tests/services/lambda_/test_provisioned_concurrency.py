"""Provisioned concurrency through boto3: instances that are there before anybody calls."""

import json

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from patience import eventually

from conftest import PATIENT
from tule.services.lambda_.models import Alias, Provisioned
from tule.testing.server import Tule

ASKED = """
    import os

    def handler(event, context):
        return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""


@pytest.fixture
def client(tule, fresh_account):
    return tule.client("lambda", account=fresh_account, config=Config(parameter_validation=False))


@pytest.fixture
def published(functions):
    """A function with versions 1 and 2."""
    client = functions.client
    functions.deploy(ASKED)
    client.publish_version(FunctionName="worker")
    client.update_function_configuration(FunctionName="worker", Description="second")
    client.get_waiter("function_updated_v2").wait(FunctionName="worker", WaiterConfig=PATIENT)
    client.publish_version(FunctionName="worker")
    return client


def put(client, qualifier, n=1, name="worker"):
    return client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=n
    )


def ready(client, qualifier, name="worker"):
    def look():
        found = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        assert found["Status"] != "FAILED", found["StatusReason"]
        return found if found["Status"] == "READY" else None

    return eventually(f"{name}:{qualifier} to be ready", look)


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def how(client, qualifier):
    return json.loads(client.invoke(FunctionName="worker", Qualifier=qualifier)["Payload"].read())


def test_a_version_becomes_ready_and_serves_from_what_is_ready(published):
    made = put(published, "1", 2)

    assert (made["Status"], made["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)
    found = ready(published, "1")
    assert found["AvailableProvisionedConcurrentExecutions"] == 2
    assert found["AllocatedProvisionedConcurrentExecutions"] == 2
    assert how(published, "1") == "provisioned-concurrency"
    assert how(published, "2") == "on-demand"

    published.delete_provisioned_concurrency_config(FunctionName="worker", Qualifier="1")
    published.delete_provisioned_concurrency_config(FunctionName="worker", Qualifier="1")
    assert refusal(lambda: published.get_provisioned_concurrency_config(FunctionName="worker", Qualifier="1")) == (
        "ProvisionedConcurrencyConfigNotFoundException",
        404,
        "No Provisioned Concurrency Config found for this function",
    )


def test_an_aliass_instances_follow_it_to_another_version(published):
    published.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")
    put(published, "live")
    ready(published, "live")
    assert how(published, "live") == "provisioned-concurrency"

    published.update_alias(FunctionName="worker", Name="live", FunctionVersion="2")

    ready(published, "live")
    assert how(published, "2") == "provisioned-concurrency"


def test_configurations_are_listed_in_pages(published, fresh_account):
    for qualifier in ("2", "1"):
        put(published, qualifier)

    first = published.list_provisioned_concurrency_configs(FunctionName="worker", MaxItems=1)
    rest = published.list_provisioned_concurrency_configs(FunctionName="worker", Marker=first["NextMarker"])

    configs = first["ProvisionedConcurrencyConfigs"] + rest["ProvisionedConcurrencyConfigs"]
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:function:worker"
    assert [config["FunctionArn"] for config in configs] == [f"{arn}:1", f"{arn}:2"]
    settings = published.get_account_settings()["AccountLimit"]
    assert settings["UnreservedConcurrentExecutions"] == 998


def test_a_version_gets_its_instances_by_one_way(published):
    published.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")
    published.create_alias(FunctionName="worker", Name="next", FunctionVersion="2")
    put(published, "1")
    put(published, "next")

    assert refusal(lambda: put(published, "live")) == (
        "ResourceConflictException",
        409,
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    )
    assert refusal(lambda: put(published, "2")) == (
        "ResourceConflictException",
        409,
        "Version is pointed by a Provisioned Concurrency alias",
    )
    moved = refusal(lambda: published.update_alias(FunctionName="worker", Name="next", FunctionVersion="1"))
    assert moved[0] == "ResourceConflictException"


def test_what_can_have_none_is_said_in_aws_words(published, client, fresh_account):
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:function:"
    published.create_alias(FunctionName="worker", Name="head", FunctionVersion="$LATEST")
    unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."

    assert refusal(lambda: put(client, "$LATEST"))[2] == unpublished
    assert refusal(lambda: put(client, "head"))[2] == unpublished
    assert refusal(lambda: put(client, "9"))[2] == f"Function not found: {arn}worker:9"
    assert refusal(lambda: put(client, "1", name="nobody"))[2] == f"Function not found: {arn}nobody:1"
    assert refusal(lambda: put(client, "noalias"))[2] == f"Cannot find alias arn: {arn}worker:noalias"
    assert refusal(lambda: put(client, "1", 0))[2] == (
        "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1"
    )
    latest = refusal(lambda: client.get_provisioned_concurrency_config(FunctionName="worker", Qualifier="$LATEST"))
    assert latest[2] == "The function resource provided must be an alias or a published version."


def test_reserved_and_provisioned_concurrency_bound_each_other(published):
    published.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=2)
    assert refusal(lambda: put(published, "1", 3))[2] == (
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )
    put(published, "1", 2)
    told = refusal(lambda: published.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=1))
    assert told[2] == (
        " ReservedConcurrentExecutions 1 should not be lower than function's total provisioned concurrency [2]."
    )
    published.delete_provisioned_concurrency_config(FunctionName="worker", Qualifier="1")
    published.delete_function_concurrency(FunctionName="worker")
    assert refusal(lambda: put(published, "1", 1001))[2] == (
        "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000]."
    )
    assert refusal(lambda: put(published, "1", 901))[2] == (
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [100]."
    )


def test_snap_start_and_provisioned_concurrency_exclude_each_other(functions):
    client = functions.client
    functions.deploy(ASKED, SnapStart={"ApplyOn": "PublishedVersions"})
    client.publish_version(FunctionName="worker")

    told = refusal(lambda: put(client, "1"))

    assert told[0] == "InvalidParameterValueException"
    assert "SnapStart" in told[2]


def test_provisioned_instances_come_back_after_a_crash(functions_of, tmp_path):
    with Tule(directory=tmp_path) as first:
        functions = functions_of(first)
        functions.deploy(ASKED)
        functions.client.publish_version(FunctionName="worker")
        put(functions.client, "1")
        ready(functions.client, "1")
        first.kill()
    with Tule(directory=tmp_path) as again:
        client = functions_of(again).client
        ready(client, "1")
        assert how(client, "1") == "provisioned-concurrency"


def test_instances_that_can_not_be_initialised_are_told_of(functions):
    client = functions.client
    functions.deploy("raise ValueError('no')")
    client.publish_version(FunctionName="worker")
    put(client, "1")

    def look():
        found = client.get_provisioned_concurrency_config(FunctionName="worker", Qualifier="1")
        return found if found["Status"] == "FAILED" else None

    found = eventually("the instances to fail", look)
    assert found["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"


@given(st.integers(1, 1000), st.floats(0, 1))
def test_an_aliass_instances_are_shared_without_remainder(requested, weight):
    config = Provisioned("live", requested, 0)
    alias = Alias(name="live", version="1", revision="r", weights={"2": weight})

    shares = [config.share(alias, version) for version in ("1", "2", "3")]

    assert sum(shares) == requested
    assert shares[2] == 0
    assert abs(shares[1] - requested * weight) <= 0.5
