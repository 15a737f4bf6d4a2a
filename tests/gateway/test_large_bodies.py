"""Objects beyond a megabyte come as streams; refusals of them are still answers."""

import os

import pytest
from botocore.exceptions import ClientError

from tule.testing.server import Tule

BODY = os.urandom(3 * 1024 * 1024)


def test_a_streamed_object_comes_back_whole(tule: Tule):
    for keys in ({}, tule.root_keys()):
        client = tule.client("s3", **keys)
        bucket = f"streamed-{len(keys)}"
        client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="k", Body=BODY)
        assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


def test_a_streamed_object_with_a_wrong_secret_is_refused(tule: Tule):
    client = tule.client("s3", **(tule.root_keys() | {"aws_secret_access_key": "wrong"}))
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.put_object(Bucket="nowhere", Key="k", Body=BODY)
    assert tule.client("s3").list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_streamed_object_of_a_strangers_page_is_refused(tule: Tule):
    import urllib3

    answer = urllib3.PoolManager().request(
        "PUT", f"{tule.url}/bucket/key", body=BODY, headers={"Origin": "https://evil.example"}, retries=False
    )
    assert answer.status == 403
