"""Code signing configurations through boto3: kept, attached, and held against packages, none of which is signed."""

import json

import pytest
from botocore.exceptions import ClientError
from patience import eventually

from conftest import PATIENT, ROLE, package

HANDLER = "def handler(event, context):\n    return 1\n"


@pytest.fixture
def client(functions):
    return functions.client


@pytest.fixture
def profile(fresh_account):
    return f"arn:aws:signer:us-east-1:{fresh_account}:/signing-profiles/test"


def configure(client, profile, policy="Warn", **members):
    made = client.create_code_signing_config(
        AllowedPublishers={"SigningProfileVersionArns": [profile]},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": policy},
        **members,
    )
    return made["CodeSigningConfig"]


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def test_a_configuration_is_kept_changed_listed_and_deleted(client, profile):
    made = configure(client, profile, Description="d")
    arn = made["CodeSigningConfigArn"]
    assert arn.endswith(f":code-signing-config:{made['CodeSigningConfigId']}")

    changed = client.update_code_signing_config(
        CodeSigningConfigArn=arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"}
    )["CodeSigningConfig"]
    assert (changed["Description"], changed["AllowedPublishers"]) == ("d", {"SigningProfileVersionArns": [profile]})
    assert client.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"] == changed
    other = configure(client, profile)["CodeSigningConfigArn"]
    first = client.list_code_signing_configs(MaxItems=1)
    rest = client.list_code_signing_configs(Marker=first["NextMarker"])
    listed = {config["CodeSigningConfigArn"] for config in first["CodeSigningConfigs"] + rest["CodeSigningConfigs"]}
    assert listed == {arn, other}

    client.delete_code_signing_config(CodeSigningConfigArn=arn)
    for operation in (client.get_code_signing_config, client.delete_code_signing_config):
        told = refusal(lambda operation=operation: operation(CodeSigningConfigArn=arn))
        assert told == (
            "ResourceNotFoundException",
            404,
            f"The Lambda code signing configuration {arn} can not be found.",
        )


def test_where_signatures_are_enforced_nothing_unsigned_is_deployed(functions, client, profile):
    warning, enforcing = (configure(client, profile, policy)["CodeSigningConfigArn"] for policy in ("Warn", "Enforce"))
    functions.deploy(HANDLER, CodeSigningConfigArn=warning)
    named = {"FunctionName": "worker"}

    assert client.get_function_code_signing_config(**named)["CodeSigningConfigArn"] == warning
    functions.replace(HANDLER + "\n")
    client.put_function_code_signing_config(**named, CodeSigningConfigArn=enforcing)
    refused = refusal(lambda: client.update_function_code(**named, ZipFile=package({"app.py": HANDLER})))
    created = refusal(lambda: functions.create(HANDLER, "other", CodeSigningConfigArn=enforcing))
    used = refusal(lambda: client.delete_code_signing_config(CodeSigningConfigArn=enforcing))

    assert refused[:2] == created[:2] == ("CodeVerificationFailedException", 400)
    assert used[0] == "ResourceConflictException"
    assert len(client.list_functions_by_code_signing_config(CodeSigningConfigArn=enforcing)["FunctionArns"]) == 1
    client.delete_function_code_signing_config(**named)
    assert client.get_function_code_signing_config(**named)["CodeSigningConfigArn"] == ""
    functions.replace(HANDLER)


def test_what_is_not_there_is_said_in_aws_words(functions, client, fresh_account, profile):
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:code-signing-config:csc-abcdefghijklmnopq"
    functions.deploy(HANDLER)

    told = refusal(lambda: client.put_function_code_signing_config(FunctionName="worker", CodeSigningConfigArn=arn))
    assert told == (
        "CodeSigningConfigNotFoundException",
        404,
        f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}.",
    )
    real = configure(client, profile)["CodeSigningConfigArn"]
    told = refusal(lambda: client.put_function_code_signing_config(FunctionName="nobody", CodeSigningConfigArn=real))
    assert told[2].endswith(":function:nobody")


def test_a_stack_signs_its_function(tule, client, fresh_account, profile):
    function = {"Runtime": "python3.13", "Handler": "index.handler", "Role": ROLE, "Code": {"ZipFile": HANDLER},
                "CodeSigningConfigArn": {"Ref": "Signing"}}  # fmt: skip
    template = {
        "Resources": {
            "Signing": {
                "Type": "AWS::Lambda::CodeSigningConfig",
                "Properties": {"AllowedPublishers": {"SigningProfileVersionArns": [profile]}},
            },
            "Worker": {"Type": "AWS::Lambda::Function", "Properties": function},
        }
    }
    stacks = tule.client("cloudformation", account=fresh_account)
    stacks.create_stack(StackName="signed", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName="signed", WaiterConfig=PATIENT)
    (config,) = client.list_code_signing_configs()["CodeSigningConfigs"]
    arn = {"CodeSigningConfigArn": config["CodeSigningConfigArn"]}
    assert len(client.list_functions_by_code_signing_config(**arn)["FunctionArns"]) == 1

    del function["CodeSigningConfigArn"]
    stacks.update_stack(StackName="signed", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName="signed", WaiterConfig=PATIENT)
    assert client.list_functions_by_code_signing_config(**arn)["FunctionArns"] == []
    stacks.delete_stack(StackName="signed")
    eventually("it to be gone", lambda: not client.list_code_signing_configs()["CodeSigningConfigs"] or None)
