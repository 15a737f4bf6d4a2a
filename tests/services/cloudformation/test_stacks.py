"""Stacks by boto3 against a running Tule: created, updated, rolled back and deleted as on AWS."""

import json

import pytest
from botocore.exceptions import ClientError

QUICK = {"Delay": 0.05, "MaxAttempts": 600}

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def role(**properties):
    return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST, **properties}}


def bucket(**properties):
    return {"Type": "AWS::S3::Bucket", "Properties": properties}


BAD_POLICY = {
    "Type": "AWS::S3::BucketPolicy",
    "Properties": {"Bucket": "there-is-no-such-bucket-here", "PolicyDocument": {"Version": "2012-10-17"}},
}


def template(resources, **sections):
    return json.dumps({"Resources": resources, **sections})


@pytest.fixture
def cfn(tule, fresh_account):
    return tule.client("cloudformation", account=fresh_account)


@pytest.fixture
def s3(tule, fresh_account):
    return tule.client("s3", account=fresh_account)


def create(cfn, body, name="stack", **arguments):
    stack = cfn.create_stack(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"], **arguments)
    return stack["StackId"]


def update(cfn, body, name="stack", **arguments):
    cfn.update_stack(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"], **arguments)


def wait(cfn, what, name="stack"):
    cfn.get_waiter(what).wait(StackName=name, WaiterConfig=QUICK)
    return None if "delete" in what else cfn.describe_stacks(StackName=name)["Stacks"][0]


def until(cfn, status, name="stack"):
    """Ask until the stack is at rest; it must be in `status` then."""
    while True:
        stack = cfn.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            assert stack["StackStatus"] == status, stack.get("StackStatusReason")
            return stack


def events(cfn, name="stack"):
    pages = cfn.get_paginator("describe_stack_events").paginate(StackName=name)
    found = [event for page in pages for event in page["StackEvents"]]
    return [(event["LogicalResourceId"], event["ResourceStatus"]) for event in reversed(found)]


def physical(cfn, name="stack"):
    found = cfn.describe_stack_resources(StackName=name)["StackResources"]
    return {entry["LogicalResourceId"]: entry.get("PhysicalResourceId", "") for entry in found}


def refusal(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]


def test_a_stack_lives_and_dies(cfn, s3):
    body = template(
        {"Files": bucket(), "Worker": {**role(), "DependsOn": "Files"}},
        Outputs={"Name": {"Value": {"Ref": "Files"}}, "Arn": {"Value": {"Fn::GetAtt": ["Worker", "Arn"]}}},
        Description="two things",
    )
    arn = create(cfn, body, Tags=[{"Key": "team", "Value": "blue"}])
    stack = wait(cfn, "stack_create_complete")
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in stack["Outputs"]}
    assert outputs["Name"] in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    assert outputs["Arn"].startswith("arn:aws:iam::")
    assert stack["Description"] == "two things"
    assert stack["Tags"] == [{"Key": "team", "Value": "blue"}]
    assert events(cfn) == [
        ("stack", "CREATE_IN_PROGRESS"),
        ("Files", "CREATE_IN_PROGRESS"),
        ("Files", "CREATE_IN_PROGRESS"),
        ("Files", "CREATE_COMPLETE"),
        ("Worker", "CREATE_IN_PROGRESS"),
        ("Worker", "CREATE_IN_PROGRESS"),
        ("Worker", "CREATE_COMPLETE"),
        ("stack", "CREATE_COMPLETE"),
    ]
    cfn.delete_stack(StackName="stack")
    wait(cfn, "stack_delete_complete", arn)
    assert s3.list_buckets()["Buckets"] == []
    assert events(cfn, arn)[-3:] == [
        ("Files", "DELETE_IN_PROGRESS"),
        ("Files", "DELETE_COMPLETE"),
        ("stack", "DELETE_COMPLETE"),
    ]
    assert refusal(cfn.describe_stacks, StackName="stack")["Message"] == "Stack with id stack does not exist"
    cfn.delete_stack(StackName="stack")
    assert [entry["StackStatus"] for entry in cfn.list_stacks()["StackSummaries"]] == ["DELETE_COMPLETE"]


def test_an_update_keeps_ids_and_data_unless_aws_replaces(cfn, s3):
    create(cfn, template({"Keep": bucket(), "Renamed": role(RoleName="before")}))
    wait(cfn, "stack_create_complete")
    before = physical(cfn)
    s3.put_object(Bucket=before["Keep"], Key="kept", Body=b"data")
    update(
        cfn,
        template({"Keep": bucket(VersioningConfiguration={"Status": "Enabled"}), "Renamed": role(RoleName="after")}),
    )
    wait(cfn, "stack_update_complete")
    after = physical(cfn)
    assert after == {"Keep": before["Keep"], "Renamed": "after"}
    assert s3.get_object(Bucket=after["Keep"], Key="kept")["Body"].read() == b"data"
    assert s3.get_bucket_versioning(Bucket=after["Keep"])["Status"] == "Enabled"
    assert events(cfn)[-4:] == [
        ("stack", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
        ("Renamed", "DELETE_IN_PROGRESS"),
        ("Renamed", "DELETE_COMPLETE"),
        ("stack", "UPDATE_COMPLETE"),
    ]
    assert refusal(
        cfn.update_stack,
        StackName="stack",
        UsePreviousTemplate=True,
        Capabilities=["CAPABILITY_NAMED_IAM"],
    ) == {"Type": "Sender", "Code": "ValidationError", "Message": "No updates are to be performed."}


def test_a_resource_that_leaves_the_template_is_deleted_or_retained(cfn, s3):
    kept = {**bucket(), "DeletionPolicy": "Retain"}
    create(cfn, template({"Stays": bucket(), "Goes": bucket(), "Kept": kept}))
    wait(cfn, "stack_create_complete")
    names = physical(cfn)
    update(cfn, template({"Stays": bucket()}))
    wait(cfn, "stack_update_complete")
    assert {entry["Name"] for entry in s3.list_buckets()["Buckets"]} == {names["Stays"], names["Kept"]}
    assert ("Kept", "DELETE_SKIPPED") in events(cfn)


def test_a_failed_creation_is_rolled_back(cfn, s3):
    create(cfn, template({"Files": bucket(), "Bad": {**BAD_POLICY, "DependsOn": "Files"}}))
    stack = until(cfn, "ROLLBACK_COMPLETE")
    assert s3.list_buckets()["Buckets"] == []
    told = cfn.describe_stack_events(StackName="stack")["StackEvents"]
    reasons = {(e["LogicalResourceId"], e["ResourceStatus"]): e.get("ResourceStatusReason", "") for e in told}
    assert "bucket does not exist" in reasons["Bad", "CREATE_FAILED"]
    assert reasons["stack", "ROLLBACK_IN_PROGRESS"] == (
        "The following resource(s) failed to create: [Bad]. Rollback requested by user."
    )
    message = f"Stack:{stack['StackId']} is in ROLLBACK_COMPLETE state and can not be updated."
    assert refusal(cfn.update_stack, StackName="stack", TemplateBody=template({"A": bucket()}))["Message"] == message


@pytest.mark.parametrize(("on_failure", "status"), [("DO_NOTHING", "CREATE_FAILED"), ("DELETE", "DELETE_COMPLETE")])
def test_what_a_failure_leads_to_can_be_chosen(cfn, s3, on_failure, status):
    resources = {"Files": bucket(), "Bad": {**BAD_POLICY, "DependsOn": "Files"}}
    arn = create(cfn, template(resources), OnFailure=on_failure)
    until(cfn, status, arn)
    assert len(s3.list_buckets()["Buckets"]) == (1 if on_failure == "DO_NOTHING" else 0)


def test_a_failed_creation_that_was_kept_can_be_gone_on_with(cfn):
    resources = {"Files": bucket(), "Bad": {**BAD_POLICY, "DependsOn": "Files"}}
    create(cfn, template(resources), DisableRollback=True)
    until(cfn, "CREATE_FAILED")
    files = physical(cfn)["Files"]
    policy = {
        **BAD_POLICY,
        "Properties": {
            "Bucket": {"Ref": "Files"},
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": "*",
                        "Action": "s3:GetObject",
                        "Resource": {"Fn::Sub": "${Files.Arn}/*"},
                    }
                ],
            },
        },
    }
    update(cfn, template({"Files": bucket(), "Bad": policy}))
    until(cfn, "UPDATE_COMPLETE")
    assert physical(cfn)["Files"] == files


def test_a_failed_update_is_rolled_back(cfn, s3):
    create(cfn, template({"Files": bucket(), "Named": role(RoleName="old", Description="a")}))
    wait(cfn, "stack_create_complete")
    before = physical(cfn)
    update(
        cfn,
        template(
            {
                "Files": bucket(VersioningConfiguration={"Status": "Enabled"}),
                "Named": role(RoleName="new"),
                "Extra": bucket(),
                "Bad": {**BAD_POLICY, "DependsOn": ["Files", "Named", "Extra"]},
            }
        ),
    )
    until(cfn, "UPDATE_ROLLBACK_COMPLETE")
    assert physical(cfn) == before
    assert [entry["Name"] for entry in s3.list_buckets()["Buckets"]] == [before["Files"]]
    assert s3.get_bucket_versioning(Bucket=before["Files"]).get("Status") != "Enabled"
    update(cfn, template({"Files": bucket()}))
    until(cfn, "UPDATE_COMPLETE")


def test_what_can_not_be_deleted_is_told_and_can_be_retained(cfn, s3):
    create(cfn, template({"Files": bucket(), "Other": bucket()}))
    wait(cfn, "stack_create_complete")
    name = physical(cfn)["Files"]
    s3.put_object(Bucket=name, Key="a", Body=b"b")
    arn = cfn.describe_stacks(StackName="stack")["Stacks"][0]["StackId"]
    cfn.delete_stack(StackName="stack")
    stack = until(cfn, "DELETE_FAILED", arn)
    assert stack["StackStatusReason"] == "The following resource(s) failed to delete: [Files]. "
    assert [entry["Name"] for entry in s3.list_buckets()["Buckets"]] == [name]
    cfn.delete_stack(StackName="stack", RetainResources=["Files"])
    until(cfn, "DELETE_COMPLETE", arn)
    assert [entry["Name"] for entry in s3.list_buckets()["Buckets"]] == [name]


def test_exports_bind_stacks(cfn):
    exporting = template({"Files": bucket()}, Outputs={"N": {"Value": {"Ref": "Files"}, "Export": {"Name": "files"}}})
    importing = template({"Named": role(Description={"Fn::ImportValue": "files"})})
    assert refusal(
        cfn.create_stack, StackName="user", TemplateBody=importing, Capabilities=["CAPABILITY_IAM"]
    )["Message"] == ("No export named files found.")  # fmt: skip
    arn = create(cfn, exporting, "owner")
    wait(cfn, "stack_create_complete", "owner")
    create(cfn, importing, "user")
    wait(cfn, "stack_create_complete", "user")
    (export,) = cfn.list_exports()["Exports"]
    assert (export["Name"], export["ExportingStackId"]) == ("files", arn)
    assert cfn.list_imports(ExportName="files")["Imports"] == ["user"]
    cfn.delete_stack(StackName="owner")
    stack = until(cfn, "DELETE_FAILED", arn)
    assert stack["StackStatusReason"] == "Export files cannot be deleted as it is in use by user"
    cfn.delete_stack(StackName="user")
    wait(cfn, "stack_delete_complete", "user")
    cfn.delete_stack(StackName="owner")
    wait(cfn, "stack_delete_complete", arn)
    assert cfn.list_exports()["Exports"] == []


def test_parameters(cfn):
    body = template(
        {"Named": role(Description={"Ref": "What"}, MaxSessionDuration={"Ref": "Seconds"})},
        Parameters={
            "What": {"Type": "String", "AllowedValues": ["a", "b"], "Default": "a"},
            "Seconds": {"Type": "Number", "Default": 3600},
            "Secret": {"Type": "String", "NoEcho": True, "Default": "hush"},
        },
    )
    create(cfn, body, Parameters=[{"ParameterKey": "What", "ParameterValue": "b"}])
    stack = wait(cfn, "stack_create_complete")
    values = {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack["Parameters"]}
    assert values == {"What": "b", "Seconds": "3600", "Secret": "****"}
    update(
        cfn,
        body,
        Parameters=[
            {"ParameterKey": "What", "UsePreviousValue": True},
            {"ParameterKey": "Seconds", "ParameterValue": "7200"},
        ],
    )
    stack = wait(cfn, "stack_update_complete")
    assert {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack["Parameters"]} == {
        **values,
        "Seconds": "7200",
    }
    wrong = [{"ParameterKey": "What", "ParameterValue": "c"}]
    assert refusal(cfn.update_stack, StackName="stack", UsePreviousTemplate=True, Parameters=wrong)["Message"] == (
        "Parameter 'What' must be one of AllowedValues [a, b]"
    )


def test_termination_protection(cfn):
    create(cfn, template({"A": bucket()}), EnableTerminationProtection=True)
    wait(cfn, "stack_create_complete")
    assert refusal(cfn.delete_stack, StackName="stack")["Message"] == (
        "Stack [stack] cannot be deleted while TerminationProtection is enabled"
    )
    cfn.update_termination_protection(StackName="stack", EnableTerminationProtection=False)
    cfn.delete_stack(StackName="stack")
    wait(cfn, "stack_delete_complete")


def test_the_same_token_is_the_same_stack(cfn):
    arguments = {"StackName": "stack", "TemplateBody": template({"A": bucket()})}
    first = cfn.create_stack(**arguments, ClientRequestToken="once")
    assert cfn.create_stack(**arguments, ClientRequestToken="once")["StackId"] == first["StackId"]
    error = refusal(cfn.create_stack, **arguments, ClientRequestToken="twice")
    assert (error["Code"], error["Message"]) == ("AlreadyExistsException", "Stack [stack] already exists")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (
            template({"T": {"Type": "AWS::Pinpoint::App"}}),
            "ValidationError",
            ["Unrecognized resource types: [AWS::Pinpoint::App]", "T (AWS::Pinpoint::App)"],
        ),
        (
            template({"A": bucket(), "B": bucket(Colour="blue")}),
            "ValidationError",
            ["B (AWS::S3::Bucket)", "property Colour", "line 1"],
        ),
        (
            template({"P": {"Type": "AWS::S3::BucketPolicy", "Properties": {"Bucket": "x"}}}),
            "ValidationError",
            ["required key [PolicyDocument] not found"],
        ),
        (
            template({"A": bucket(BucketName={"Ref": "B"}), "B": {**bucket(), "DependsOn": "A"}}),
            "ValidationError",
            ["Circular dependency between resources: [A, B]"],
        ),
        (
            template({"A": bucket(BucketName={"Fn::Nope": "x"})}),
            "ValidationError",
            ["Encountered unsupported function: Fn::Nope"],
        ),
        (template({"A": role()}), "InsufficientCapabilitiesException", ["Requires capabilities : [CAPABILITY_IAM]"]),
        (
            template({"A": role(RoleName="x")}),
            "InsufficientCapabilitiesException",
            ["Requires capabilities : [CAPABILITY_NAMED_IAM]"],
        ),
        (
            template({"A": bucket()}, Transform="AWS::LanguageExtensions"),
            "ValidationError",
            ["Tule does not implement transform AWS::LanguageExtensions"],
        ),
        ("{", "ValidationError", ["Template format error: JSON not well-formed. (line 1, column 2)"]),
    ],
)
def test_what_is_refused_makes_nothing(tule, cfn, body, code, words):
    before = tule.digest()
    error = refusal(cfn.create_stack, StackName="stack", TemplateBody=body)
    assert error["Code"] == code
    for word in words:
        assert word in error["Message"]
    assert tule.digest() == before
    assert cfn.list_stacks()["StackSummaries"] == []


def test_a_template_from_s3(tule, cfn, s3, fresh_account):
    name = f"templates-{fresh_account}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a/stack.json", Body=template({"A": bucket()}).encode())
    for number, url in enumerate(
        [f"{tule.url}/{name}/a/stack.json", f"https://{name}.s3.eu-west-1.amazonaws.com/a/stack.json"]
    ):
        cfn.create_stack(StackName=f"stack-{number}", TemplateURL=url)
        wait(cfn, "stack_create_complete", f"stack-{number}")
    error = refusal(cfn.create_stack, StackName="x", TemplateURL=f"https://s3.amazonaws.com/{name}/nope")
    assert error["Message"].startswith("S3 error: The specified key does not exist")


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        ("describe_stacks", {"StackName": "nostack"}, "Stack with id nostack does not exist"),
        ("describe_stack_events", {"StackName": "nostack"}, "Stack [nostack] does not exist"),
        ("get_template", {"StackName": "nostack"}, "Stack with id nostack does not exist"),
        ("get_template", {}, "StackName is required if ChangeSetName is not specified."),
        ("list_stack_resources", {"StackName": "nostack"}, "Stack with id nostack does not exist"),
        ("update_stack", {"StackName": "nostack", "UsePreviousTemplate": True}, "Stack [nostack] does not exist"),
        ("create_stack", {"StackName": "a"}, "Either Template URL or Template Body must be specified."),
        ("list_imports", {"ExportName": "none"}, "Export 'none' is not imported by any stack."),
    ],
)
def test_what_is_missing_is_said_in_aws_words(cfn, operation, arguments, message):
    error = refusal(getattr(cfn, operation), **arguments)
    assert (error["Code"], error["Message"]) == ("ValidationError", message)


def test_templates_are_kept_and_summarised(cfn):
    body = "Parameters:\n  P: {Type: String, Default: x}\nResources:\n  A: {Type: AWS::S3::Bucket}\n"
    cfn.create_stack(StackName="stack", TemplateBody=body)
    wait(cfn, "stack_create_complete")
    assert cfn.get_template(StackName="stack")["TemplateBody"] == body
    summary = cfn.get_template_summary(TemplateBody=body)
    assert summary["ResourceTypes"] == ["AWS::S3::Bucket"]
    assert summary["Parameters"][0]["DefaultValue"] == "x"
    assert cfn.validate_template(TemplateBody=template({"A": role()}))["Capabilities"] == ["CAPABILITY_IAM"]


def test_tags_of_a_stack_reach_its_resources(tule, cfn, fresh_account):
    body = template({"Named": role(RoleName="tagged")})
    create(cfn, body, Tags=[{"Key": "team", "Value": "blue"}])
    wait(cfn, "stack_create_complete")
    update(cfn, body, Tags=[{"Key": "team", "Value": "red"}])
    stack = wait(cfn, "stack_update_complete")
    assert stack["Tags"] == [{"Key": "team", "Value": "red"}]
    tags = tule.client("iam", account=fresh_account).list_role_tags(RoleName="tagged")["Tags"]
    assert {"Key": "team", "Value": "red"} in tags
