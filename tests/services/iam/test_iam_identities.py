"""IAM as boto3 sees it."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]})


@pytest.fixture
def iam(tule, fresh_account):
    return tule.client("iam", fresh_account)


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def test_a_role_is_kept_as_it_was_made(iam, fresh_account):
    made = iam.create_role(
        RoleName="Worker", Path="/app/", AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "a", "Value": "b"}]
    )["Role"]
    assert made["Arn"] == f"arn:aws:iam::{fresh_account}:role/app/Worker"
    assert made["RoleId"].startswith("AROA")
    got = iam.get_role(RoleName="Worker")["Role"]
    assert got["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert got["Tags"] == [{"Key": "a", "Value": "b"}]
    assert refused(iam.create_role, RoleName="worker", AssumeRolePolicyDocument=TRUST) == (
        "EntityAlreadyExists",
        409,
        "Role with name worker already exists.",
    )
    assert [one["RoleName"] for one in iam.list_roles()["Roles"]] == ["Worker"]


def test_what_is_missing_or_malformed_is_refused(iam):
    assert refused(iam.get_role, RoleName="none") == (
        "NoSuchEntity",
        404,
        "The role with name none cannot be found.",
    )
    assert refused(iam.create_role, RoleName="r", AssumeRolePolicyDocument="nope") == (
        "MalformedPolicyDocument",
        400,
        "This policy contains invalid Json",
    )
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    assert refused(iam.attach_role_policy, RoleName="r", PolicyArn="arn:aws:iam::111111111111:policy/none")[0] == (
        "NoSuchEntity"
    )
    assert refused(iam.attach_role_policy, RoleName="r", PolicyArn="not-an-arn-but-long-enough")[0] == "ValidationError"


def test_policies_inline_and_managed(iam):
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName="r", PolicyName="inline", PolicyDocument=POLICY)
    assert iam.get_role_policy(RoleName="r", PolicyName="inline")["PolicyDocument"] == json.loads(POLICY)
    arn = iam.create_policy(PolicyName="p", PolicyDocument=POLICY)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    iam.attach_role_policy(RoleName="r", PolicyArn=managed)
    attached = iam.list_attached_role_policies(RoleName="r")["AttachedPolicies"]
    assert [one["PolicyName"] for one in attached] == ["p", "AWSLambdaBasicExecutionRole"]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert refused(iam.delete_policy, PolicyArn=arn)[0] == "DeleteConflict"
    assert refused(iam.delete_role, RoleName="r")[0] == "DeleteConflict"
    iam.detach_role_policy(RoleName="r", PolicyArn=arn)
    iam.detach_role_policy(RoleName="r", PolicyArn=managed)
    iam.delete_role_policy(RoleName="r", PolicyName="inline")
    iam.delete_role(RoleName="r")
    version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=POLICY, SetAsDefault=True)["PolicyVersion"]
    assert version["VersionId"] == "v2"
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy(PolicyArn=arn)


def client_with(tule, service, key, secret, token=None):
    return boto3.client(
        service,
        endpoint_url=tule.url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"max_attempts": 1}),
    )


def test_a_minted_key_signs_and_a_wrong_secret_does_not(tule, iam, fresh_account):
    iam.create_user(UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    sts = client_with(tule, "sts", key["AccessKeyId"], key["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{fresh_account}:user/ada"
    forged = client_with(tule, "sts", key["AccessKeyId"], "x" * 40)
    assert refused(forged.get_caller_identity)[0] == "SignatureDoesNotMatch"
    iam.delete_access_key(UserName="ada", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="ada")


def test_an_assumed_role_has_credentials_of_its_own(tule, iam, fresh_account):
    role = iam.create_role(RoleName="Worker", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    sts = tule.client("sts", fresh_account)
    got = sts.assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    assumed = client_with(tule, "sts", got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"])
    assert assumed.get_caller_identity()["Arn"] == f"arn:aws:sts::{fresh_account}:assumed-role/Worker/me"
    denied = refused(sts.assume_role, RoleArn=role + "-none", RoleSessionName="me")
    assert denied[:2] == ("AccessDenied", 403)
    assert refused(sts.assume_role, RoleArn="nothing-valid-in-here", RoleSessionName="me") == (
        "ValidationError",
        400,
        "nothing-valid-in-here is invalid",
    )
