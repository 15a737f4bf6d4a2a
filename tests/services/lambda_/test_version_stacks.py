"""Versions, aliases and layers as resources of a stack, written by hand and by SAM."""

import json

import pytest
from botocore.exceptions import ClientError
from patience import eventually

from conftest import ROLE, package

HANDLER = """
def handler(event, context):
    return ["{}", context.function_version]
"""


@pytest.fixture
def stacks(tule, fresh_account):
    return tule.client("cloudformation", account=fresh_account)


@pytest.fixture
def client(tule, fresh_account):
    return tule.client("lambda", account=fresh_account)


@pytest.fixture
def bucket(tule, fresh_account):
    """Puts packages where templates can name them."""
    s3 = tule.client("s3", account=fresh_account)
    s3.create_bucket(Bucket=f"code-{fresh_account}")

    def put(key, files):
        s3.put_object(Bucket=f"code-{fresh_account}", Key=key, Body=package(files))
        return f"code-{fresh_account}"

    return put


def settle(stacks, done):
    def look():
        stack = stacks.describe_stacks(StackName="shop")["Stacks"][0]
        return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

    stack = eventually(f"the stack to be {done}", look)
    events = stacks.describe_stack_events(StackName="shop")["StackEvents"]
    assert stack["StackStatus"] == done, [(e["LogicalResourceId"], e.get("ResourceStatusReason")) for e in events]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def called(client, name):
    answer = client.invoke(FunctionName=name)
    return json.loads(answer["Payload"].read())


def by_hand(text, version, alias="First", **changes):
    function = {"Runtime": "python3.13", "Handler": "index.handler", "Role": ROLE,
                "Code": {"ZipFile": HANDLER.format(text)}}  # fmt: skip
    name = {"FunctionName": {"Ref": "Worker"}}
    versions = {logical: {"Type": "AWS::Lambda::Version", "Properties": {**name, **changes}} for logical in version}
    return json.dumps({
        "Resources": {
            "Worker": {"Type": "AWS::Lambda::Function", "Properties": function},
            **versions,
            "Live": {
                "Type": "AWS::Lambda::Alias",
                "Properties": {**name, "Name": "live", "FunctionVersion": {"Fn::GetAtt": [alias, "Version"]}},
            },
        },
        "Outputs": {"Live": {"Value": {"Ref": "Live"}}, "Version": {"Value": {"Ref": alias}}},
    })  # fmt: skip


def test_a_stack_publishes_versions_and_moves_its_alias(stacks, client):
    stacks.create_stack(StackName="shop", TemplateBody=by_hand("one", ["First"]))
    first = settle(stacks, "CREATE_COMPLETE")
    assert first["Live"].endswith(":live")
    assert first["Version"].endswith(":1")
    assert called(client, first["Live"]) == ["one", "1"]

    stacks.update_stack(StackName="shop", TemplateBody=by_hand("two", ["First", "Second"], "Second"))
    second = settle(stacks, "UPDATE_COMPLETE")
    assert second["Version"].endswith(":2")
    assert called(client, second["Live"]) == ["two", "2"]
    assert called(client, first["Version"]) == ["one", "1"]

    stacks.delete_stack(StackName="shop")
    eventually("the functions to be gone", lambda: not client.list_functions()["Functions"] or None)


def test_a_second_version_of_the_same_is_refused_in_aws_words(stacks, client):
    stacks.create_stack(StackName="shop", TemplateBody=by_hand("one", ["First"]))
    settle(stacks, "CREATE_COMPLETE")

    stacks.update_stack(StackName="shop", TemplateBody=by_hand("one", ["First", "Second"], "Second"))

    settle(stacks, "UPDATE_ROLLBACK_COMPLETE")
    reasons = [event.get("ResourceStatusReason", "") for event in stacks.describe_stack_events(StackName="shop")[
        "StackEvents"]]  # fmt: skip
    assert any("A version for this Lambda function exists ( 1 )" in reason for reason in reasons)
    assert called(client, client.list_functions()["Functions"][0]["FunctionName"] + ":live") == ["one", "1"]


def test_a_stack_waits_for_provisioned_instances(stacks, client):
    config = {"ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": "1"}}
    stacks.create_stack(StackName="shop", TemplateBody=by_hand("one", ["First"], **config))
    version = settle(stacks, "CREATE_COMPLETE")["Version"]
    name, _, number = version.rpartition(":")

    found = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=number)
    assert found["Status"] == "READY"

    stacks.update_stack(StackName="shop", TemplateBody=by_hand("one", ["First"]))
    settle(stacks, "UPDATE_COMPLETE")
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []
    assert called(client, version) == ["one", "1"]


def sam(bucket, code, layer, **changes):
    return {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Tools": {
                "Type": "AWS::Serverless::LayerVersion",
                "Properties": {
                    "ContentUri": {"Bucket": bucket, "Key": layer},
                    "CompatibleRuntimes": ["python3.13"],
                    "RetentionPolicy": "Delete",
                },
            },
            "Worker": {
                "Type": "AWS::Serverless::Function",
                "Properties": {
                    "CodeUri": {"Bucket": bucket, "Key": code},
                    "Handler": "app.handler",
                    "Runtime": "python3.13",
                    "AutoPublishAlias": "live",
                    "Layers": [{"Ref": "Tools"}],
                    **changes,
                },
            },
        },
        "Outputs": {"Live": {"Value": {"Ref": "Worker.Alias"}}, "Version": {"Value": {"Ref": "Worker.Version"}}},
    }


def test_sam_publishes_with_each_deployment_and_lays_layers_under(stacks, client, bucket):
    said = "import tool\n\ndef handler(event, context):\n    return [tool.said, '{}', context.function_version]\n"
    name = bucket("a", {"app.py": said.format("one")})
    bucket("b", {"app.py": said.format("two")})
    bucket("l", {"python/tool.py": "said = 'layer'"})
    about = {"StackName": "shop", "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]}

    stacks.create_stack(TemplateBody=json.dumps(sam(name, "a", "l")), **about)
    first = settle(stacks, "CREATE_COMPLETE")
    assert called(client, first["Live"]) == ["layer", "one", "1"]

    stacks.update_stack(TemplateBody=json.dumps(sam(name, "b", "l")), **about)
    second = settle(stacks, "UPDATE_COMPLETE")
    assert second["Live"] == first["Live"]
    assert called(client, second["Live"]) == ["layer", "two", "2"]
    assert called(client, first["Version"]) == ["layer", "one", "1"]  # SAM retains versions

    provisioned = sam(name, "b", "l", ProvisionedConcurrencyConfig={"ProvisionedConcurrentExecutions": 1})
    stacks.update_stack(TemplateBody=json.dumps(provisioned), **about)
    settle(stacks, "UPDATE_COMPLETE")
    function, _, alias = second["Live"].rpartition(":")
    assert client.get_provisioned_concurrency_config(FunctionName=function, Qualifier=alias)["Status"] == "READY"


def test_deployments_that_need_codedeploy_are_refused_by_name(stacks, bucket):
    name = bucket("a", {"app.py": "def handler(event, context):\n    return 1\n"})
    bucket("l", {"python/tool.py": ""})
    template = sam(name, "a", "l", DeploymentPreference={"Type": "Canary10Percent5Minutes"})

    with pytest.raises(ClientError, match="Tule does not honour UpdatePolicy yet"):
        stacks.create_stack(
            StackName="shop",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            TemplateBody=json.dumps(template),
        )
