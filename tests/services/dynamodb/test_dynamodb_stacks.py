"""AWS::DynamoDB::Table in a stack: made, changed in place with its items, replaced, deleted."""

import json

import pytest
from botocore.exceptions import ClientError

from tule.testing.server import Tule

QUICKLY = {"Delay": 0.05, "MaxAttempts": 400}


class Stack:
    """One table by template."""

    def __init__(self, tule: Tule, account: str) -> None:
        self.stacks = tule.client("cloudformation", account)
        self.tables = tule.client("dynamodb", account)
        self.properties = {
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
            "SSESpecification": {"SSEEnabled": True},
        }

    def template(self) -> dict[str, str]:
        resource = {"Type": "AWS::DynamoDB::Table", "Properties": self.properties}
        outputs = {"Name": {"Value": {"Ref": "Orders"}}, "Arn": {"Value": {"Fn::GetAtt": ["Orders", "Arn"]}}}
        return {
            "StackName": "shop",
            "TemplateBody": json.dumps({"Resources": {"Orders": resource}, "Outputs": outputs}),
        }

    def create(self) -> None:
        self.stacks.create_stack(**self.template())
        self.stacks.get_waiter("stack_create_complete").wait(StackName="shop", WaiterConfig=QUICKLY)

    def update(self, **properties) -> None:
        self.properties |= properties
        self.stacks.update_stack(**self.template())
        self.stacks.get_waiter("stack_update_complete").wait(StackName="shop", WaiterConfig=QUICKLY)

    def output(self, name: str) -> str:
        told = self.stacks.describe_stacks(StackName="shop")["Stacks"][0]["Outputs"]
        return next(one["OutputValue"] for one in told if one["OutputKey"] == name)


def test_a_table_lives_with_its_stack(tule: Tule, fresh_account: str) -> None:
    stack = Stack(tule, fresh_account)
    stack.create()
    name = stack.output("Name")
    assert name.startswith("shop-Orders-")
    stack.tables.put_item(TableName=name, Item={"id": {"S": "1"}, "g": {"S": "x"}})
    stack.update(
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("id", "g")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "groups",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        TimeToLiveSpecification={"Enabled": "true", "AttributeName": "until"},
        Tags=[{"Key": "team", "Value": "orders"}],
    )
    assert stack.output("Name") == name
    assert stack.tables.scan(TableName=name, IndexName="groups")["Count"] == 1
    told = stack.tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert told == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
    tags = stack.tables.list_tags_of_resource(ResourceArn=stack.output("Arn"))["Tags"]
    assert {"Key": "team", "Value": "orders"} in tags
    stack.update(
        KeySchema=[{"AttributeName": "g", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "g", "AttributeType": "S"}],
    )
    assert stack.output("Name") != name
    stack.stacks.delete_stack(StackName="shop")
    stack.stacks.get_waiter("stack_delete_complete").wait(StackName="shop", WaiterConfig=QUICKLY)
    assert stack.tables.list_tables()["TableNames"] == []


def test_what_a_table_cannot_do_fails_the_stack_by_name(tule: Tule, fresh_account: str) -> None:
    stack = Stack(tule, fresh_account)
    stack.properties["StreamSpecification"] = {"StreamViewType": "NEW_IMAGE"}
    with pytest.raises(ClientError, match="StreamSpecification"):
        stack.stacks.create_stack(**stack.template())
    assert stack.tables.list_tables()["TableNames"] == []
