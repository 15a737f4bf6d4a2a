"""S3 as boto3 sees it."""

import hashlib
import urllib.request

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def s3(tule, fresh_account):
    return tule.client("s3", fresh_account)


@pytest.fixture
def bucket(s3, fresh_account):
    name = f"bucket-{fresh_account}"
    s3.create_bucket(Bucket=name)
    return name


def code_of(caught):
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_an_object_comes_back_as_it_was_put(s3, bucket):
    put = s3.put_object(
        Bucket=bucket, Key="a/b c+ü.txt", Body=b"hello", ContentType="text/plain", Metadata={"owner": "me"}
    )
    assert put["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="a/b c+ü.txt")
    assert got["Body"].read() == b"hello"
    assert (got["ContentType"], got["Metadata"], got["ContentLength"]) == ("text/plain", {"owner": "me"}, 5)
    head = s3.head_object(Bucket=bucket, Key="a/b c+ü.txt")
    assert head["ETag"] == put["ETag"]


@pytest.mark.parametrize("size", [0, 1, 131_071, 131_072, 3_000_000])
def test_every_size_is_kept_whole(s3, bucket, size):
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    s3.put_object(Bucket=bucket, Key="sized", Body=data)
    assert s3.get_object(Bucket=bucket, Key="sized")["Body"].read() == data


@pytest.mark.parametrize("size", [1_000, 300_000])
def test_ranges(s3, bucket, size):
    data = bytes(i % 251 for i in range(size))
    s3.put_object(Bucket=bucket, Key="r", Body=data)
    middle = s3.get_object(Bucket=bucket, Key="r", Range="bytes=100-199")
    assert middle["Body"].read() == data[100:200]
    assert middle["ContentRange"] == f"bytes 100-199/{size}"
    assert middle["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert s3.get_object(Bucket=bucket, Key="r", Range="bytes=-10")["Body"].read() == data[-10:]
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="r", Range=f"bytes={size}-")
    assert code_of(caught) == ("InvalidRange", 416)


def test_what_is_missing_says_so(s3, bucket):
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="none")
    assert code_of(caught) == ("NoSuchKey", 404)
    assert caught.value.response["Error"]["Message"] == "The specified key does not exist."
    with pytest.raises(ClientError) as caught:
        s3.head_object(Bucket=bucket, Key="none")
    assert code_of(caught) == ("404", 404)
    with pytest.raises(ClientError) as caught:
        s3.list_objects_v2(Bucket=bucket + "-missing")
    assert code_of(caught) == ("NoSuchBucket", 404)


def test_listing_with_prefixes_delimiters_and_pages(s3, bucket):
    keys = [f"logs/{day}/{n}" for day in ("mon", "tue") for n in range(3)] + ["top", "zoo"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    listed = s3.list_objects_v2(Bucket=bucket)
    assert [one["Key"] for one in listed["Contents"]] == sorted(keys)
    cut = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [one["Prefix"] for one in cut["CommonPrefixes"]] == ["logs/"]
    assert [one["Key"] for one in cut["Contents"]] == ["top", "zoo"]
    deeper = s3.list_objects_v2(Bucket=bucket, Delimiter="/", Prefix="logs/")
    assert [one["Prefix"] for one in deeper["CommonPrefixes"]] == ["logs/mon/", "logs/tue/"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
    assert [one["Key"] for page in pages for one in page["Contents"]] == sorted(keys)
    small = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1})
    seen = [(page.get("CommonPrefixes"), page.get("Contents")) for page in small]
    assert len(seen) == 3
    assert [one["Key"] for one in s3.list_objects(Bucket=bucket, Prefix="t")["Contents"]] == ["top"]


def test_versions_and_delete_markers(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    first = s3.put_object(Bucket=bucket, Key="v", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="v", Body=b"2")["VersionId"]
    assert first != second
    assert s3.get_object(Bucket=bucket, Key="v", VersionId=first)["Body"].read() == b"1"
    gone = s3.delete_object(Bucket=bucket, Key="v")
    assert gone["DeleteMarker"]
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key="v")
    listed = s3.list_object_versions(Bucket=bucket)
    assert [(one["VersionId"], one["IsLatest"]) for one in listed["Versions"]] == [(second, False), (first, False)]
    assert [one["IsLatest"] for one in listed["DeleteMarkers"]] == [True]
    s3.delete_object(Bucket=bucket, Key="v", VersionId=gone["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="v")["Body"].read() == b"2"
    with pytest.raises(ClientError) as caught:
        s3.delete_bucket(Bucket=bucket)
    assert code_of(caught) == ("BucketNotEmpty", 409)


def test_a_bucket_keeps_its_settings(s3, bucket):
    policy = '{"Version":"2012-10-17","Statement":[]}'
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_policy(Bucket=bucket, Policy="{")
    assert code_of(caught)[0] == "MalformedPolicy"
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}]}'
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    s3.delete_bucket_policy(Bucket=bucket)
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_policy(Bucket=bucket)
    assert code_of(caught) == ("NoSuchBucketPolicy", 404)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "a&b"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "team", "Value": "a&b"}]
    block = {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": False,
        "RestrictPublicBuckets": False,
    }
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block
    assert s3.get_bucket_location(Bucket=bucket).get("LocationConstraint") is None


def test_multipart_upload_through_the_transfer_manager(s3, bucket, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 80_000)  # 20 MB: three parts of the SDK's 8 MiB
    s3.upload_file(str(path), bucket, "large")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ContentLength"] == path.stat().st_size
    assert head["ETag"].endswith('-3"')
    s3.download_file(bucket, "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_copy_delete_many_and_tags(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"data", Tagging="k=v")
    s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from"})
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"data"
    assert s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == [{"Key": "k", "Value": "v"}]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "from"}, {"Key": "never"}]})
    assert [one["Key"] for one in done["Deleted"]] == ["from", "never"]
    s3.delete_object(Bucket=bucket, Key="to")
    s3.delete_bucket(Bucket=bucket)


def test_conditional_writes(s3, bucket):
    s3.put_object(Bucket=bucket, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="once", Body=b"2", IfNoneMatch="*")
    assert code_of(caught) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="once", IfNoneMatch=s3.head_object(Bucket=bucket, Key="once")["ETag"])
    assert code_of(caught)[1] == 304


def test_a_damaged_body_is_refused(s3, bucket):
    with pytest.raises(ClientError) as caught:
        s3.put_object(
            Bucket=bucket, Key="k", Body=b"data", ChecksumSHA256="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        )
    assert code_of(caught) == ("BadDigest", 400)
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="k")


def test_presigned_urls_work_without_an_sdk(s3, bucket):
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "signed"})
    with urllib.request.urlopen(urllib.request.Request(put, b"by url", method="PUT")) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "signed"})
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == b"by url"


def test_bucket_names_are_global(tule, s3, bucket):
    with pytest.raises(ClientError) as caught:
        tule.client("s3", "999999999999").create_bucket(Bucket=bucket)
    assert code_of(caught) == ("BucketAlreadyExists", 409)
    with pytest.raises(ClientError) as caught:
        s3.create_bucket(Bucket="Not_A_Bucket")
    assert code_of(caught) == ("InvalidBucketName", 400)


def test_an_object_larger_than_what_is_held_in_memory_streams_through(s3, bucket, tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        for number in range(100):
            file.write(bytes([number]) * 1_048_576)
    with path.open("rb") as body:
        put = s3.put_object(Bucket=bucket, Key="huge", Body=body)
    assert s3.head_object(Bucket=bucket, Key="huge")["ContentLength"] == 100 * 1_048_576
    assert put["ETag"] == f'"{hashlib.md5(path.read_bytes()).hexdigest()}"'
    tail = s3.get_object(Bucket=bucket, Key="huge", Range="bytes=104857500-")["Body"].read()
    assert tail == bytes([99]) * 100
