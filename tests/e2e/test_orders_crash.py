"""examples/orders deployed while Tule is killed: each resource is made once, and nothing is left behind."""

import json
import os

import pytest
from orders_app import EXAMPLE, run_tule

from tule.testing.server import Tule

ROUNDS = range(13) if os.environ.get("TULE_SOAK") else (0, 2, 5, 8, 11)
"""Kill when so many of the stack's twelve resources are complete."""


def rest(tule, stack):
    """The stack's status when nothing goes on any more."""
    cfn = tule.client("cloudformation")
    while True:
        status = cfn.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        if not status.endswith("_IN_PROGRESS"):
            return status


def complete(tule, stack, status):
    found = tule.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    return sum(entry["ResourceStatus"] == status for entry in found)


def kill_when(tule, stack, status, count):
    """Kill Tule when `count` resources have come to `status`, or when the stack is at rest; start it again."""
    cfn = tule.client("cloudformation")
    while complete(tule, stack, status) < count:
        if not cfn.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"].endswith("_IN_PROGRESS"):
            break
    tule.kill()
    tule.start()


def inventory(tule):
    """How many there are of everything that the example makes."""
    functions = tule.client("lambda")
    return {
        "apis": len(tule.client("apigatewayv2").get_apis()["Items"]),
        "functions": len(functions.list_functions()["Functions"]),
        "mappings": len(functions.list_event_source_mappings()["EventSourceMappings"]),
        "queues": len(tule.client("sqs").list_queues().get("QueueUrls", [])),
        "roles": len(tule.client("iam").list_roles()["Roles"]),
        "tables": len(tule.client("dynamodb").list_tables()["TableNames"]),
    }


@pytest.mark.faults
def test_a_deployment_survives_kills(tmp_path):
    with Tule(tmp_path / "home") as tule:
        run_tule(tule, "deploy", str(EXAMPLE))
        body = tule.client("cloudformation").get_template(StackName="orders")["TemplateBody"]
        text = body if isinstance(body, str) else json.dumps(body)
        one = inventory(tule)
        for count in ROUNDS:
            name = f"orders-{count}"
            made = tule.client("cloudformation").create_stack(
                StackName=name, TemplateBody=text, Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
            )
            kill_when(tule, name, "CREATE_COMPLETE", count)
            assert rest(tule, name) == "CREATE_COMPLETE"
            assert inventory(tule) == {kind: 2 * number for kind, number in one.items()}
            tule.client("cloudformation").delete_stack(StackName=name)
            kill_when(tule, made["StackId"], "DELETE_COMPLETE", count)
            assert rest(tule, made["StackId"]) == "DELETE_COMPLETE"
            assert inventory(tule) == one
