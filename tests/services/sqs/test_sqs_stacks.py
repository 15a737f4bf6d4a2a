"""Queues as CloudFormation makes, changes and deletes them."""

import json
from typing import Any

from tule.testing.server import Tule

WAIT = {"Delay": 1, "MaxAttempts": 60}


def _template(visibility: int | None, *, policy: bool) -> str:
    target = {"Fn::GetAtt": ["Dead", "Arn"]}
    queue: dict[str, Any] = {
        "RedrivePolicy": {"deadLetterTargetArn": target, "maxReceiveCount": 3},
        "Tags": [{"Key": "team", "Value": "orders"}],
    }
    if visibility is not None:
        queue["VisibilityTimeout"] = visibility
    resources: dict[str, Any] = {
        "Dead": {"Type": "AWS::SQS::Queue"},
        "Orders": {"Type": "AWS::SQS::Queue", "Properties": queue},
    }
    if policy:
        document = {"Version": "2012-10-17", "Statement": []}
        properties = {"Queues": [{"Ref": "Orders"}], "PolicyDocument": document}
        resources["Allow"] = {"Type": "AWS::SQS::QueuePolicy", "Properties": properties}
    return json.dumps({"Resources": resources, "Outputs": {"Url": {"Value": {"Ref": "Orders"}}}})


def test_a_stack_makes_changes_and_deletes_its_queues(tule: Tule, fresh_account: str) -> None:
    stacks, sqs = tule.client("cloudformation", fresh_account), tule.client("sqs", fresh_account)
    stacks.create_stack(StackName="shop", TemplateBody=_template(60, policy=True))
    stacks.get_waiter("stack_create_complete").wait(StackName="shop", WaiterConfig=WAIT)
    url = stacks.describe_stacks(StackName="shop")["Stacks"][0]["Outputs"][0]["OutputValue"]
    made = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert made["VisibilityTimeout"] == "60"
    assert json.loads(made["RedrivePolicy"])["deadLetterTargetArn"].startswith("arn:aws:sqs:us-east-1:")
    assert json.loads(made["Policy"])["Version"] == "2012-10-17"
    tags = sqs.list_queue_tags(QueueUrl=url)["Tags"]
    assert (tags["team"], tags["aws:cloudformation:logical-id"]) == ("orders", "Orders")
    sqs.send_message(QueueUrl=url, MessageBody="kept")

    stacks.update_stack(StackName="shop", TemplateBody=_template(None, policy=False))
    stacks.get_waiter("stack_update_complete").wait(StackName="shop", WaiterConfig=WAIT)
    changed = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert changed["VisibilityTimeout"] == "30"
    assert "Policy" not in changed
    assert changed["ApproximateNumberOfMessages"] == "1"

    stacks.delete_stack(StackName="shop")
    stacks.get_waiter("stack_delete_complete").wait(StackName="shop", WaiterConfig=WAIT)
    assert "QueueUrls" not in sqs.list_queues()
