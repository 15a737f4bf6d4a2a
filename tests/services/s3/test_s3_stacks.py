"""Buckets that stacks make."""

import json

import pytest
from botocore.exceptions import ClientError


def template(**properties):
    return json.dumps({"Resources": {"Files": {"Type": "AWS::S3::Bucket", "Properties": properties}}})


@pytest.fixture
def cloudformation(tule, fresh_account):
    return tule.client("cloudformation", fresh_account)


@pytest.fixture
def s3(tule, fresh_account):
    return tule.client("s3", fresh_account)


def test_a_bucket_is_made_changed_and_deleted(cloudformation, s3, fresh_account):
    name = f"files-{fresh_account}"
    cloudformation.create_stack(
        StackName="s", TemplateBody=template(BucketName=name, Tags=[{"Key": "a", "Value": "b"}])
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=name)["TagSet"]}
    assert tags["a"] == "b"
    assert tags["aws:cloudformation:logical-id"] == "Files"
    changed = template(BucketName=name, VersioningConfiguration={"Status": "Enabled"})
    cloudformation.update_stack(StackName="s", TemplateBody=changed)
    cloudformation.get_waiter("stack_update_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    cloudformation.delete_stack(StackName="s")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket=name)


def test_a_bucket_of_somebody_else_is_not_taken_over(cloudformation, s3, fresh_account):
    name = f"mine-{fresh_account}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"precious")
    cloudformation.create_stack(StackName="s", TemplateBody=template(BucketName=name))
    events = None
    with pytest.raises(Exception, match="Waiter"):
        cloudformation.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
    events = cloudformation.describe_stack_events(StackName="s")["StackEvents"]
    assert any("already exists" in event.get("ResourceStatusReason", "") for event in events)
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"precious"


def test_system_tags_are_not_for_users(s3, fresh_account):
    name = f"tags-{fresh_account}"
    s3.create_bucket(Bucket=name)
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "aws:x", "Value": "y"}]})
    assert caught.value.response["Error"]["Code"] == "InvalidTag"
