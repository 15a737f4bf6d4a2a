"""Versions and aliases through boto3: what is published stays as it was, and aliases lead to it."""

import json

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from patience import eventually, first_message

from conftest import PATIENT, package
from tule.testing.server import Tule

TELLING = """
    import os

    def handler(event, context):
        return [os.environ.get("STAGE", ""), context.function_version, context.invoked_function_arn.rpartition(":")[2]]
"""


@pytest.fixture
def client(tule, fresh_account):
    return tule.client("lambda", account=fresh_account, config=Config(parameter_validation=False))


@pytest.fixture
def staged(functions):
    """Version 1 says "one", version 2 "two", $LATEST "three"."""
    client = functions.client
    functions.deploy(TELLING, Environment={"Variables": {"STAGE": "one"}})
    client.publish_version(FunctionName="worker")
    stage(client, "two")
    client.publish_version(FunctionName="worker")
    stage(client, "three")
    return client


def stage(client, text):
    client.update_function_configuration(FunctionName="worker", Environment={"Variables": {"STAGE": text}})
    client.get_waiter("function_updated_v2").wait(FunctionName="worker", WaiterConfig=PATIENT)


def called(client, **names):
    answer = client.invoke(**{"FunctionName": "worker", **names})
    return json.loads(answer["Payload"].read()), answer["ExecutedVersion"]


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def test_a_version_keeps_code_and_configuration_as_they_were(functions):
    client = functions.client
    functions.deploy("def handler(event, context):\n    return 'old'\n", Description="first", MemorySize=256)

    version = client.publish_version(FunctionName="worker", Description="kept")
    functions.replace("def handler(event, context):\n    return 'new'\n")
    client.update_function_configuration(FunctionName="worker", MemorySize=128)

    assert (version["Version"], version["State"], version["LastUpdateStatus"]) == ("1", "Active", "Successful")
    assert version["FunctionArn"].endswith(":function:worker:1")
    kept = client.get_function_configuration(FunctionName="worker", Qualifier="1")
    assert (kept["Description"], kept["MemorySize"], kept["CodeSha256"]) == ("kept", 256, version["CodeSha256"])
    assert kept["RevisionId"] == version["RevisionId"]
    assert called(client, Qualifier="1") == ("old", "1")
    assert called(client) == ("new", "$LATEST")


def test_nothing_new_is_published_where_nothing_changed(staged):
    stage(staged, "two")
    assert staged.publish_version(FunctionName="worker")["Version"] == "2"

    stage(staged, "four")
    assert staged.publish_version(FunctionName="worker", Description="other")["Version"] == "3"
    assert staged.publish_version(FunctionName="worker", Description="ignored")["Description"] == "other"


def test_publish_is_guarded_by_code_and_revision(functions):
    client = functions.client
    functions.deploy(TELLING)
    latest = client.get_function_configuration(FunctionName="worker")

    wrong = refusal(lambda: client.publish_version(FunctionName="worker", CodeSha256="nope"))
    stale = refusal(lambda: client.publish_version(FunctionName="worker", RevisionId="nope"))
    missing = refusal(lambda: client.publish_version(FunctionName="nobody"))
    made = client.publish_version(
        FunctionName="worker", CodeSha256=latest["CodeSha256"], RevisionId=latest["RevisionId"]
    )

    assert wrong == (
        "InvalidParameterValueException",
        400,
        (
            f"CodeSHA256 (nope) is different from current CodeSHA256 in $LATEST ({latest['CodeSha256']}). "
            "Please try again with the CodeSHA256 in $LATEST."
        ),
    )
    assert stale[:2] == ("PreconditionFailedException", 412)
    assert missing[2].startswith("Function not found: arn:aws:lambda:us-east-1:")
    assert made["Version"] == "1"


def test_create_and_update_may_publish_at_once(functions):
    client = functions.client

    made = functions.create(TELLING, Publish=True)
    client.get_waiter("function_active_v2").wait(FunctionName="worker", Qualifier="1", WaiterConfig=PATIENT)
    client.get_waiter("function_active_v2").wait(FunctionName="worker", WaiterConfig=PATIENT)
    code = package({"app.py": "def handler(event, context):\n    return 'second'\n"})
    second = client.update_function_code(FunctionName="worker", ZipFile=code, Publish=True)

    assert (made["Version"], made["State"]) == ("1", "Pending")
    assert made["FunctionArn"].endswith(":function:worker")
    assert (second["Version"], second["FunctionArn"].rpartition(":")[2]) == ("2", "2")
    assert called(client, FunctionName="worker:2") == ("second", "2")


def test_versions_are_listed_in_pages(staged, fresh_account):
    first = staged.list_versions_by_function(FunctionName="worker", MaxItems=2)
    rest = staged.list_versions_by_function(FunctionName="worker", Marker=first["NextMarker"])

    assert [version["Version"] for version in first["Versions"]] == ["$LATEST", "1"]
    assert [version["FunctionArn"].rpartition(":")[2] for version in rest["Versions"]] == ["2"]
    assert "NextMarker" not in rest
    assert "State" not in rest["Versions"][0]


def test_all_versions_of_all_functions_are_listed_in_pages(functions):
    client = functions.client
    for name in ("b", "a", "a-b"):
        functions.deploy(TELLING, name)
        client.publish_version(FunctionName=name)

    seen, marker = [], {}
    while True:
        answer = client.list_functions(FunctionVersion="ALL", MaxItems=1, **marker)
        seen += [function["FunctionArn"].partition(":function:")[2] for function in answer["Functions"]]
        if "NextMarker" not in answer:
            break
        marker = {"Marker": answer["NextMarker"]}

    assert seen == ["a:$LATEST", "a:1", "a-b:$LATEST", "a-b:1", "b:$LATEST", "b:1"]
    assert [function["Version"] for function in client.list_functions()["Functions"]] == ["$LATEST"] * 3


def test_a_version_is_deleted_by_itself_unless_an_alias_needs_it(staged):
    staged.create_alias(FunctionName="worker", Name="live", FunctionVersion="1", RoutingConfig={
        "AdditionalVersionWeights": {"2": 0.5}})  # fmt: skip

    for version in ("1", "2"):
        assert refusal(lambda version=version: staged.delete_function(FunctionName="worker", Qualifier=version)) == (
            "ResourceConflictException",
            409,
            "Unable to delete version because the following aliases reference it: [live]",
        )
    told = refusal(lambda: staged.delete_function(FunctionName="worker", Qualifier="live"))
    assert told[2] == "Deletion of functions by alias is not currently supported."
    told = refusal(lambda: staged.delete_function(FunctionName="worker:$LATEST"))
    assert told[2] == "$LATEST version cannot be deleted without deleting the function."

    staged.delete_alias(FunctionName="worker", Name="live")
    staged.delete_function(FunctionName="worker", Qualifier="1")
    staged.delete_function(FunctionName="worker", Qualifier="1")  # not an error on AWS either
    gone = refusal(lambda: staged.invoke(FunctionName="worker", Qualifier="1"))
    assert gone[0] == "ResourceNotFoundException"
    assert gone[2].endswith(":function:worker:1")
    assert called(staged, Qualifier="2")[1] == "2"


def test_version_numbers_are_never_used_again(functions):
    client = functions.client
    functions.deploy(TELLING)
    client.publish_version(FunctionName="worker")
    client.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")
    client.delete_function(FunctionName="worker")

    functions.deploy(TELLING)

    assert client.list_aliases(FunctionName="worker")["Aliases"] == []
    assert refusal(lambda: client.get_function(FunctionName="worker", Qualifier="1"))[1] == 404
    assert client.publish_version(FunctionName="worker")["Version"] == "2"


def test_calls_reach_the_version_they_name(staged, fresh_account):
    staged.create_alias(FunctionName="worker", Name="live", FunctionVersion="2")
    staged.create_alias(FunctionName="worker", Name="head", FunctionVersion="$LATEST")
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:function:worker"

    assert called(staged, Qualifier="1") == (["one", "1", "1"], "1")
    assert called(staged, FunctionName="worker:live") == (["two", "2", "live"], "2")
    assert called(staged, FunctionName=f"{arn}:live") == (["two", "2", "live"], "2")
    assert called(staged, FunctionName=f"{fresh_account}:function:worker:1") == (["one", "1", "1"], "1")
    assert called(staged, FunctionName=f"{arn}:head") == (["three", "$LATEST", "head"], "$LATEST")
    assert called(staged) == (["three", "$LATEST", "worker"], "$LATEST")
    for nothing in ("9", "01", "99999999999999999999", "nowhere"):
        told = refusal(lambda nothing=nothing: staged.invoke(FunctionName="worker", Qualifier=nothing))
        assert told == ("ResourceNotFoundException", 404, f"Function not found: {arn}:{nothing}")


def test_reads_by_alias_tell_of_its_version(staged, fresh_account):
    staged.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")

    found = staged.get_function(FunctionName="worker", Qualifier="live")["Configuration"]

    assert found["FunctionArn"] == f"arn:aws:lambda:us-east-1:{fresh_account}:function:worker:live"
    assert (found["Version"], found["Environment"]["Variables"]["STAGE"]) == ("1", "one")


def test_an_alias_moves(staged):
    made = staged.create_alias(FunctionName="worker", Name="live", FunctionVersion="1", Description="here")
    assert called(staged, Qualifier="live") == (["one", "1", "live"], "1")

    moved = staged.update_alias(FunctionName="worker", Name="live", FunctionVersion="2")
    stale = refusal(lambda: staged.update_alias(FunctionName="worker", Name="live", RevisionId=made["RevisionId"]))
    missing = refusal(lambda: staged.update_alias(FunctionName="worker", Name="nobody"))

    assert called(staged, Qualifier="live") == (["two", "2", "live"], "2")
    assert (moved["FunctionVersion"], moved["Description"]) == ("2", "here")
    assert staged.get_alias(FunctionName="worker", Name="live")["RevisionId"] == moved["RevisionId"]
    assert stale[:2] == ("PreconditionFailedException", 412)
    assert missing[0] == "ResourceNotFoundException"
    assert missing[2].startswith("Alias not found: arn:aws:lambda")


def test_an_alias_shares_traffic_between_two_versions(staged):
    staged.create_alias(
        FunctionName="worker", Name="live", FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}},
    )  # fmt: skip

    seen = {called(staged, Qualifier="live")[1] for _ in range(60)}

    assert seen == {"1", "2"}  # one alone in 60 has a chance of 2 in 2**60
    only = staged.update_alias(FunctionName="worker", Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    assert "RoutingConfig" not in only
    assert {called(staged, Qualifier="live")[1] for _ in range(10)} == {"1"}


def test_a_weight_of_one_or_none_leaves_nothing_to_chance(staged):
    weights = {"AdditionalVersionWeights": {"2": 1.0}}
    staged.create_alias(FunctionName="worker", Name="all", FunctionVersion="1", RoutingConfig=weights)
    weights = {"AdditionalVersionWeights": {"2": 0.0}}
    staged.create_alias(FunctionName="worker", Name="none", FunctionVersion="1", RoutingConfig=weights)

    assert {called(staged, Qualifier="all")[1] for _ in range(10)} == {"2"}
    assert {called(staged, Qualifier="none")[1] for _ in range(10)} == {"1"}


def test_aliases_are_listed_by_name_in_pages_and_by_version(staged):
    for name, version in (("b", "1"), ("a", "2"), ("c", "1")):
        staged.create_alias(FunctionName="worker", Name=name, FunctionVersion=version)

    first = staged.list_aliases(FunctionName="worker", MaxItems=2)
    rest = staged.list_aliases(FunctionName="worker", Marker=first["NextMarker"])
    ones = staged.list_aliases(FunctionName="worker", FunctionVersion="1")

    assert [alias["Name"] for alias in first["Aliases"] + rest["Aliases"]] == ["a", "b", "c"]
    assert [alias["Name"] for alias in ones["Aliases"]] == ["b", "c"]


def routed(version, **weights):
    return {"FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": {k[1:]: w for k, w in
            weights.items()}}}  # fmt: skip


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        (
            routed("1", v1=0.1, v2=0.1),
            "InvalidParameterValueException",
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            routed("1", v1=0.5),
            "InvalidParameterValueException",
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
        (routed("1", v10=0.5), "ResourceNotFoundException", "Function not found: {arn}:10"),
        ({"FunctionVersion": "10"}, "ResourceNotFoundException", "Function not found: {arn}:10"),
        (
            routed("$LATEST", v1=0.5),
            "InvalidParameterValueException",
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        (
            routed("1", v2=2.0),
            "ValidationException",
            (
                "1 validation error detected: Value '{{2=2.0}}' at 'routingConfig.additionalVersionWeights' failed to "
                "satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to "
                "1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
            ),
        ),
        (
            {"Name": "2024"},
            "ValidationException",
            (
                "1 validation error detected: Value '2024' at 'name' failed to satisfy constraint: Member must satisfy "
                "regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
            ),
        ),
        ({"Name": "taken"}, "ResourceConflictException", "Alias already exists: {arn}:taken"),
        (
            {"FunctionName": "nobody"},
            "ResourceNotFoundException",
            "Function not found: {nobody}:1",
        ),
    ],
)
def test_what_an_alias_may_not_be_is_said_in_aws_words(functions, client, fresh_account, members, code, message):
    functions.deploy(TELLING)
    client.publish_version(FunctionName="worker")
    client.create_alias(FunctionName="worker", Name="taken", FunctionVersion="1")
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:function:"
    asked = {"FunctionName": "worker", "Name": "live", "FunctionVersion": "1", **members}

    told = refusal(lambda: client.create_alias(**asked))

    assert (told[0], told[2]) == (code, message.format(arn=arn + "worker", nobody=arn + "nobody"))


def test_aliases_that_are_not_there(staged, fresh_account):
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:function:worker"

    assert refusal(lambda: staged.get_alias(FunctionName="worker", Name="nobody")) == (
        "ResourceNotFoundException",
        404,
        f"Cannot find alias arn: {arn}:nobody",
    )
    staged.delete_alias(FunctionName="worker", Name="nobody")  # not an error on AWS either


def test_each_qualifier_has_a_policy_of_its_own(staged, fresh_account):
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:function:worker"
    staged.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")
    told = {"FunctionName": "worker", "StatementId": "s", "Action": "lambda:InvokeFunction",
            "Principal": "s3.amazonaws.com"}  # fmt: skip

    for qualifier in ("live", "1"):
        staged.add_permission(**told, Qualifier=qualifier)
        policy = json.loads(staged.get_policy(FunctionName="worker", Qualifier=qualifier)["Policy"])
        assert [statement["Resource"] for statement in policy["Statement"]] == [f"{arn}:{qualifier}"]

    assert refusal(lambda: staged.get_policy(FunctionName="worker"))[0] == "ResourceNotFoundException"
    assert refusal(lambda: staged.add_permission(**told, Qualifier="nobody"))[2] == (
        f"Cannot find alias arn: {arn}:nobody"
    )
    assert refusal(lambda: staged.add_permission(**told, Qualifier="42"))[2] == f"Function not found: {arn}:42"
    staged.remove_permission(FunctionName="worker", StatementId="s", Qualifier="live")
    assert staged.get_policy(FunctionName="worker", Qualifier="1")["Policy"]


def test_queued_events_run_the_version_they_were_sent_to(tule, functions, staged, fresh_account):
    sqs = tule.client("sqs", account=fresh_account)
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    functions.deploy(
        f"""
        import boto3

        def handler(event, context):
            boto3.client("sqs").send_message(QueueUrl="{url}", MessageBody=context.invoked_function_arn)
        """,
        "sender",
        MemorySize=1769,
        Timeout=30,
    )
    functions.client.publish_version(FunctionName="sender")
    functions.client.create_alias(FunctionName="sender", Name="live", FunctionVersion="1")

    functions.client.invoke(FunctionName="sender:live", InvocationType="Event")

    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert message["Body"].endswith(":function:sender:live")


def test_versions_and_aliases_outlive_a_crash(functions_of, tmp_path):
    with Tule(directory=tmp_path) as first:
        functions = functions_of(first)
        functions.deploy(TELLING, Environment={"Variables": {"STAGE": "one"}})
        functions.client.publish_version(FunctionName="worker")
        functions.client.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")
        stage(functions.client, "two")
        first.kill()
    with Tule(directory=tmp_path) as again:
        client = functions_of(again).client
        assert called(client, Qualifier="live") == (["one", "1", "live"], "1")
        assert client.publish_version(FunctionName="worker")["Version"] == "2"


def test_a_queues_mapping_may_lead_to_an_alias_or_a_version(tule, functions, staged, fresh_account):
    sqs = tule.client("sqs", account=fresh_account)
    source, told = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("source", "told"))
    functions.deploy(
        f"""
        import boto3

        def handler(event, context):
            boto3.client("sqs").send_message(QueueUrl="{told}", MessageBody=context.invoked_function_arn)
        """,
        "sender",
        MemorySize=1769,
        Timeout=30,
    )
    client = functions.client
    client.publish_version(FunctionName="sender")
    client.create_alias(FunctionName="sender", Name="live", FunctionVersion="1")
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:function:sender:live"
    asked = {"EventSourceArn": f"arn:aws:sqs:us-east-1:{fresh_account}:source"}

    made = client.create_event_source_mapping(FunctionName="sender:live", **asked)
    missing = refusal(lambda: client.create_event_source_mapping(FunctionName="sender:nobody", **asked))
    sqs.send_message(QueueUrl=source, MessageBody="x")

    assert made["FunctionArn"] == arn
    assert missing == ("InvalidParameterValueException", 400, "Function does not exist")
    assert first_message(sqs, told)["Body"] == arn
    assert (
        client.list_event_source_mappings(FunctionName="sender:live")["EventSourceMappings"][0]["UUID"] == made["UUID"]
    )


def test_a_version_with_snap_start_is_active_when_its_snapshot_is_taken(functions):
    client = functions.client
    functions.deploy(TELLING, SnapStart={"ApplyOn": "PublishedVersions"})

    made = client.publish_version(FunctionName="worker")
    client.get_waiter("function_active_v2").wait(FunctionName="worker", Qualifier="1", WaiterConfig=PATIENT)

    assert made["State"] == "Pending"
    latest = client.get_function_configuration(FunctionName="worker")["SnapStart"]
    version = client.get_function_configuration(FunctionName="worker", Qualifier="1")["SnapStart"]
    assert latest == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    assert version == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert called(client, Qualifier="1")[1] == "1"


def test_a_version_whose_init_fails_under_snap_start_is_failed(functions):
    client = functions.client
    functions.deploy("raise ValueError('no')", SnapStart={"ApplyOn": "PublishedVersions"})

    client.publish_version(FunctionName="worker")

    def look():
        found = client.get_function_configuration(FunctionName="worker", Qualifier="1")
        return None if found["State"] == "Pending" else found

    found = eventually("the version to be settled", look)
    assert (found["State"], found["SnapStart"]["OptimizationStatus"]) == ("Failed", "Off")
    assert found["StateReasonCode"].startswith("FunctionError")


def test_runtimes_without_snap_start_are_told_so(functions):
    told = refusal(lambda: functions.create(TELLING, runtime="nodejs22.x", SnapStart={"ApplyOn": "PublishedVersions"}))

    assert told[2] == "nodejs22.x is not supported for SnapStart enabled functions."


def test_an_instance_is_made_anew_when_a_tag_changes_how(functions):
    client = functions.client
    arn = functions.deploy("import uuid\nID = str(uuid.uuid4())\ndef handler(event, context):\n    return ID\n")
    first = called(client)[0]

    client.tag_resource(Resource=arn, Tags={"team": "a"})
    assert called(client)[0] == first
    client.tag_resource(Resource=arn, Tags={"tule:egress": "none"})

    assert called(client)[0] != first
    told = refusal(lambda: client.tag_resource(Resource=arn, Tags={"tule:egress": "somewhere"}))
    assert "it has to be one of all, tule-only, none" in told[2]


def test_what_an_alias_had_does_not_come_back_with_its_name(staged):
    staged.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")
    staged.put_function_event_invoke_config(FunctionName="worker", Qualifier="live", MaximumRetryAttempts=0)
    staged.create_function_url_config(FunctionName="worker", Qualifier="live", AuthType="NONE")
    staged.add_permission(FunctionName="worker", Qualifier="live", StatementId="s", Action="lambda:InvokeFunction",
                          Principal="s3.amazonaws.com")  # fmt: skip

    staged.delete_alias(FunctionName="worker", Name="live")
    staged.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")

    named = {"FunctionName": "worker", "Qualifier": "live"}
    assert refusal(lambda: staged.get_function_event_invoke_config(**named))[1] == 404
    assert refusal(lambda: staged.get_function_url_config(**named))[1] == 404
    assert refusal(lambda: staged.get_policy(**named))[1] == 404
