"""Signature Version 2: what boto3 makes presigned URLs with unless it is told otherwise."""

import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from botocore.config import Config


@pytest.fixture
def s3(tule):
    return tule.client("s3", **tule.root_keys())


@pytest.fixture
def bucket(s3, fresh_account):
    name = f"old-{fresh_account}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a b/ü", Body=b"hello")
    return name


def fetch(url, method="GET", body=None, **headers):
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_presigned_url_of_a_minted_key_reads_and_writes(s3, bucket):
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü"})
    assert "AWSAccessKeyId=" in url, "boto3's default has changed"
    assert fetch(url) == (200, b"hello")
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "new", "ContentType": "text/plain"})
    assert fetch(put, "PUT", b"written", **{"Content-Type": "text/plain"})[0] == 200
    assert s3.get_object(Bucket=bucket, Key="new")["Body"].read() == b"written"
    asked = {"Bucket": bucket, "Key": "new", "ResponseContentType": "text/html"}
    assert fetch(s3.generate_presigned_url("get_object", asked)) == (200, b"written")


def test_another_request_than_the_signed_one_is_refused(s3, bucket):
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü"})
    for changed in (url.replace("a%20b", "a%20c"), url.replace("Signature=", "Signature=x")):
        status, text = fetch(changed)
        assert (status, b"SignatureDoesNotMatch" in text) == (403, True)
    assert fetch(url, "DELETE")[0] == 403


def test_an_expired_url_is_refused(s3, bucket, monkeypatch):
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    monkeypatch.setattr("botocore.auth.time.time", long_ago.timestamp)
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60)
    status, text = fetch(url)
    assert (status, b"Request has expired" in text) == (403, True)


def test_requests_signed_by_header_are_verified_too(tule, bucket):
    old = tule.client("s3", config=Config(signature_version="s3", s3={"addressing_style": "path"}), **tule.root_keys())
    assert old.get_object(Bucket=bucket, Key="a b/ü")["Body"].read() == b"hello"
    assert [one["Key"] for one in old.list_objects_v2(Bucket=bucket)["Contents"]] == ["a b/ü"]
