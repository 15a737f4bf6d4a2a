"""Services call each other through the chain: same operations, same traces, same refusals."""

import json

import pytest
from botocore.exceptions import WaiterError

from tule.testing.server import Tule


def template(**queues: dict) -> str:
    resources = {name: {"Type": "AWS::SQS::Queue", "Properties": properties} for name, properties in queues.items()}
    return json.dumps({"Resources": resources})


def test_what_a_service_makes_of_another_is_there_and_in_one_trace(tule: Tule, fresh_account: str):
    stacks = tule.client("cloudformation", fresh_account)
    stacks.create_stack(StackName="inside", TemplateBody=template(Orders={"QueueName": "from-stack"}))
    stacks.get_waiter("stack_create_complete").wait(StackName="inside", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert tule.client("sqs", fresh_account).get_queue_url(QueueName="from-stack")["QueueUrl"]
    traces = [trace for trace in tule.admin("traces?limit=500")["traces"] if trace["account"] == fresh_account]
    hops = [hop for trace in traces for hop in tule.admin(f"traces/{trace['trace']}")["spans"]]
    (made,) = [hop for hop in hops if hop["name"] == "sqs:CreateQueue from-stack"]
    assert made["parent"]


def test_a_refusal_inside_is_told_outside(tule: Tule, fresh_account: str):
    stacks = tule.client("cloudformation", fresh_account)
    wrong = template(Orders={"QueueName": "no spaces please"})
    stacks.create_stack(StackName="refused", TemplateBody=wrong)
    waiter = stacks.get_waiter("stack_create_complete")
    with pytest.raises(WaiterError):
        waiter.wait(StackName="refused", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    events = stacks.describe_stack_events(StackName="refused")["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert any("alphanumeric" in reason for reason in reasons), reasons
