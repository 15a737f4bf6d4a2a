"""A stack whose Tule is killed in the middle goes on after the restart, and makes nothing twice."""

import json

import pytest

from tule.testing.server import Tule

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
LENGTH = 60


def chain(description):
    """Resources that come into being one after the other."""
    resources = {}
    for number in range(LENGTH):
        properties = {"AssumeRolePolicyDocument": TRUST, "Description": description}
        resources[f"R{number}"] = {"Type": "AWS::IAM::Role", "Properties": properties}
        if number:
            resources[f"R{number}"]["DependsOn"] = f"R{number - 1}"
    return json.dumps({"Resources": resources})


def done(cfn, status):
    found = cfn.describe_stack_resources(StackName="stack")["StackResources"]
    return sum(entry["ResourceStatus"] == status for entry in found)


def kill_when(tule, status, count):
    """Kill Tule as soon as `count` resources have come to `status`, and start it again."""
    cfn = tule.client("cloudformation")
    while done(cfn, status) < count:
        assert cfn.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"].endswith("_IN_PROGRESS")
    tule.kill()
    tule.start()


def rest(tule):
    cfn = tule.client("cloudformation")
    while True:
        stack = cfn.describe_stacks(StackName="stack")["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return stack["StackStatus"]


@pytest.mark.faults
def test_operations_survive_kills(tmp_path):
    with Tule(tmp_path / "home") as tule:
        tule.client("cloudformation").create_stack(
            StackName="stack", TemplateBody=chain("first"), Capabilities=["CAPABILITY_IAM"]
        )
        for count in (1, 10, 25):
            kill_when(tule, "CREATE_COMPLETE", count)
        assert rest(tule) == "CREATE_COMPLETE"
        roles = {entry["RoleName"] for entry in roles_of(tule)}
        assert len(roles) == LENGTH

        cfn = tule.client("cloudformation")
        cfn.update_stack(StackName="stack", TemplateBody=chain("second"), Capabilities=["CAPABILITY_IAM"])
        for count in (1, 20):
            kill_when(tule, "UPDATE_COMPLETE", count)
        assert rest(tule) == "UPDATE_COMPLETE"
        found = roles_of(tule)
        assert {entry["RoleName"] for entry in found} == roles
        assert {entry["Description"] for entry in found} == {"second"}

        arn = tule.client("cloudformation").describe_stacks(StackName="stack")["Stacks"][0]["StackId"]
        tule.client("cloudformation").delete_stack(StackName="stack")
        tule.kill()
        tule.start()
        cfn = tule.client("cloudformation")
        cfn.get_waiter("stack_delete_complete").wait(StackName=arn, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600})
        assert roles_of(tule) == []
        assert [entry["StackId"] for entry in cfn.list_stacks()["StackSummaries"]] == [arn]
        tule.advance("91d")
        assert cfn.list_stacks()["StackSummaries"] == []


def roles_of(tule):
    pages = tule.client("iam").get_paginator("list_roles").paginate()
    return [entry for page in pages for entry in page["Roles"]]
