"""Change sets and the SAM transform, by boto3 against a running Tule."""

import json

import pytest
from botocore.exceptions import ClientError, WaiterError

QUICK = {"Delay": 0.05, "MaxAttempts": 600}


def bucket(**properties):
    return {"Type": "AWS::S3::Bucket", "Properties": properties}


def template(resources, **sections):
    return json.dumps({"Resources": resources, **sections})


@pytest.fixture
def cfn(tule, fresh_account):
    return tule.client("cloudformation", account=fresh_account)


def change_set(cfn, body, kind="UPDATE", name="change", **arguments):
    made = cfn.create_change_set(
        StackName="stack", ChangeSetName=name, ChangeSetType=kind, TemplateBody=body, **arguments
    )
    return made["Id"]


def complete(cfn, body, kind="UPDATE", name="change", **arguments):
    found = change_set(cfn, body, kind, name, **arguments)
    cfn.get_waiter("change_set_create_complete").wait(ChangeSetName=found, WaiterConfig=QUICK)
    return cfn.describe_change_set(ChangeSetName=found)


def execute(cfn, found, waiter):
    cfn.execute_change_set(ChangeSetName=found["ChangeSetId"])
    cfn.get_waiter(waiter).wait(StackName="stack", WaiterConfig=QUICK)


def refusal(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Message"]


def test_a_stack_begins_in_review(cfn):
    found = complete(cfn, template({"A": bucket()}), "CREATE", Description="first")
    (stack,) = cfn.describe_stacks(StackName="stack")["Stacks"]
    assert stack["StackStatus"] == "REVIEW_IN_PROGRESS"
    assert (found["Status"], found["ExecutionStatus"], found["Description"]) == (
        "CREATE_COMPLETE",
        "AVAILABLE",
        "first",
    )
    (change,) = found["Changes"]
    assert change == {
        "Type": "Resource",
        "ResourceChange": {
            "Action": "Add",
            "LogicalResourceId": "A",
            "ResourceType": "AWS::S3::Bucket",
            "Scope": [],
            "Details": [],
        },
    }
    execute(cfn, found, "stack_create_complete")
    after = cfn.describe_change_set(ChangeSetName=found["ChangeSetId"])
    assert after["ExecutionStatus"] == "EXECUTE_COMPLETE"
    assert refusal(cfn.execute_change_set, ChangeSetName=found["ChangeSetId"]) == (
        f"ChangeSet [{found['ChangeSetId']}] cannot be executed in its current execution status of [EXECUTE_COMPLETE]"
    )


def test_what_an_update_would_do_is_told(cfn):
    execute(
        cfn, complete(cfn, template({"A": bucket(BucketName="one-of-two"), "B": bucket()}), "CREATE"),
        "stack_create_complete",
    )  # fmt: skip
    versioned = bucket(BucketName="two-of-two", VersioningConfiguration={"Status": "Enabled"})
    found = complete(cfn, template({"A": versioned, "C": bucket()}), name="second")
    told = {
        entry["ResourceChange"]["LogicalResourceId"]: (
            entry["ResourceChange"]["Action"],
            entry["ResourceChange"].get("Replacement"),
            [detail["Target"].get("Name") for detail in entry["ResourceChange"]["Details"]],
        )
        for entry in found["Changes"]
    }
    assert told == {
        "A": ("Modify", "True", ["BucketName", "VersioningConfiguration"]),
        "B": ("Remove", None, []),
        "C": ("Add", None, []),
    }
    other = change_set(cfn, template({"A": versioned}), name="other")
    execute(cfn, found, "stack_update_complete")
    assert refusal(cfn.describe_change_set, ChangeSetName=other) == f"ChangeSet [{other}] does not exist"
    names = [entry["ChangeSetName"] for entry in cfn.list_change_sets(StackName="stack")["Summaries"]]
    assert names == ["second"]


def test_a_change_set_without_changes_fails(cfn):
    body = template({"A": bucket()})
    execute(cfn, complete(cfn, body, "CREATE"), "stack_create_complete")
    found = change_set(cfn, body, name="same")
    with pytest.raises(WaiterError):
        cfn.get_waiter("change_set_create_complete").wait(ChangeSetName=found, WaiterConfig=QUICK)
    described = cfn.describe_change_set(ChangeSetName=found)
    assert (described["Status"], described["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert described["StatusReason"] == (
        "The submitted information didn't contain changes. Submit different information to create a change set."
    )
    assert refusal(cfn.execute_change_set, ChangeSetName=found) == (
        f"ChangeSet [{found}] cannot be executed in its current status of [FAILED]"
    )
    cfn.delete_change_set(ChangeSetName=found)
    cfn.delete_change_set(ChangeSetName=found)
    assert refusal(cfn.describe_change_set, ChangeSetName=found) == f"ChangeSet [{found}] does not exist"


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"T": {"Type": "AWS::Pinpoint::App"}}, ["T (AWS::Pinpoint::App)", "(line 1)"]),
        ({"B": bucket(Colour="blue")}, ["B (AWS::S3::Bucket)", "property Colour"]),
    ],
)
def test_what_tule_does_not_offer_fails_the_change_set_by_name(cfn, resources, words):
    found = change_set(cfn, template({"Fine": bucket(), **resources}), "CREATE")
    described = cfn.describe_change_set(ChangeSetName=found)
    assert described["Status"] == "FAILED"
    for word in words:
        assert word in described["StatusReason"]
    assert cfn.list_stack_resources(StackName="stack")["StackResourceSummaries"] == []


def test_names_that_do_not_fit(cfn):
    body = template({"A": bucket()})
    execute(cfn, complete(cfn, body, "CREATE"), "stack_create_complete")
    assert refusal(change_set, cfn=cfn, body=body, kind="CREATE", name="again") == (
        "Stack [stack] already exists and cannot be created again with the changeSet [again]."
    )
    assert refusal(
        cfn.create_change_set, StackName="nostack", ChangeSetName="x", TemplateBody=body
    ) == "Stack [nostack] does not exist"  # fmt: skip
    assert refusal(cfn.describe_change_set, ChangeSetName="x") == (
        "StackName must be specified if ChangeSetName is not specified as an ARN."
    )
    assert refusal(cfn.describe_change_set, ChangeSetName="x", StackName="nostack") == "Stack [nostack] does not exist"
    assert refusal(cfn.describe_change_set, ChangeSetName="x", StackName="stack") == "ChangeSet [x] does not exist"


def test_a_change_set_is_obsolete_when_the_stack_has_moved_on(cfn):
    execute(cfn, complete(cfn, template({"A": bucket()}), "CREATE"), "stack_create_complete")
    found = complete(cfn, template({"A": bucket(), "B": bucket()}), name="late")
    cfn.update_stack(StackName="stack", TemplateBody=template({"A": bucket(), "C": bucket()}))
    cfn.get_waiter("stack_update_complete").wait(StackName="stack", WaiterConfig=QUICK)
    assert refusal(cfn.execute_change_set, ChangeSetName=found["ChangeSetId"]) == (
        f"ChangeSet [{found['ChangeSetId']}] cannot be executed in its current execution status of [OBSOLETE]"
    )


SAM = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {"Things": {"Type": "AWS::Serverless::SimpleTable"}},
    "Outputs": {"Name": {"Value": {"Ref": "Things"}}},
}


def test_a_sam_template_is_transformed(cfn):
    found = complete(cfn, json.dumps(SAM), "CREATE")
    assert [entry["ResourceChange"]["ResourceType"] for entry in found["Changes"]] == ["AWS::DynamoDB::Table"]
    assert cfn.get_template(ChangeSetName=found["ChangeSetId"])["TemplateBody"] == SAM
    processed = cfn.get_template(ChangeSetName=found["ChangeSetId"], TemplateStage="Processed")["TemplateBody"]
    assert processed["Resources"]["Things"]["Type"] == "AWS::DynamoDB::Table"
    execute(cfn, found, "stack_create_complete")
    with pytest.raises(ClientError) as caught:
        cfn.create_stack(StackName="direct", TemplateBody=json.dumps(SAM))
    assert caught.value.response["Error"]["Message"] == "Requires capabilities : [CAPABILITY_AUTO_EXPAND]"


def test_what_the_transform_refuses_fails_the_change_set_in_its_words(cfn):
    wrong = {**SAM, "Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": {"Handler": "a.b"}}}}
    described = cfn.describe_change_set(ChangeSetName=change_set(cfn, json.dumps(wrong), "CREATE"))
    assert described["Status"] == "FAILED"
    assert described["StatusReason"].startswith(
        "Transform AWS::Serverless-2016-10-31 failed with: Invalid Serverless Application Specification document. "
        "Number of errors found: 1. Resource with id [F] is invalid."
    )


def test_a_pattern_that_runs_away_is_ended(cfn):
    body = template(
        {"A": bucket()}, Parameters={"P": {"Type": "String", "AllowedPattern": "[a-z]+"}}
    )  # fmt: skip
    message = refusal(
        cfn.create_stack,
        StackName="stack",
        TemplateBody=body,
        Parameters=[{"ParameterKey": "P", "ParameterValue": "A1"}],
    )
    assert message == "Parameter 'P' must match pattern [a-z]+"
    runaway = template({"A": bucket()}, Parameters={"P": {"Type": "String", "AllowedPattern": "(a+)+b"}})
    message = refusal(
        cfn.create_stack,
        StackName="stack",
        TemplateBody=runaway,
        Parameters=[{"ParameterKey": "P", "ParameterValue": "a" * 60}],
    )
    assert "The AllowedPattern of [P] could not be matched" in message
