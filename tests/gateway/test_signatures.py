"""Signatures, made by boto3 and by hand."""

import datetime as dt

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tule.testing.server import Tule


@pytest.fixture(scope="module")
def strict():
    with Tule(verify_signatures=True) as running:
        yield running


def refused(call) -> tuple[str, int]:
    with pytest.raises(ClientError) as error:
        call()
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("service", "call", "code", "status"),
    [
        ("sqs", lambda client: client.list_queues(), "InvalidSignatureException", 400),
        ("dynamodb", lambda client: client.list_tables(), "InvalidSignatureException", 400),
        ("sts", lambda client: client.get_caller_identity(), "SignatureDoesNotMatch", 403),
        ("lambda", lambda client: client.list_functions(), "InvalidSignatureException", 403),
        ("s3", lambda client: client.list_buckets(), "SignatureDoesNotMatch", 403),
    ],
)
def test_a_wrong_secret_for_a_known_key_is_always_refused(tule: Tule, service: str, call, code: str, status: int):
    keys = tule.root_keys() | {"aws_secret_access_key": "wrong"}
    assert refused(lambda: call(tule.client(service, **keys))) == (code, status)


@pytest.mark.parametrize(
    ("service", "call", "code", "status"),
    [
        ("sqs", lambda client: client.list_queues(), "UnrecognizedClientException", 400),
        ("sts", lambda client: client.get_caller_identity(), "InvalidClientTokenId", 403),
        ("lambda", lambda client: client.list_functions(), "UnrecognizedClientException", 403),
        ("s3", lambda client: client.list_buckets(), "InvalidAccessKeyId", 403),
    ],
)
def test_unknown_keys_are_refused_when_all_are_verified(strict: Tule, service: str, call, code: str, status: int):
    assert refused(lambda: call(strict.client(service))) == (code, status)


def test_unsigned_calls_are_refused_when_all_are_verified(strict: Tule):
    from botocore import UNSIGNED

    client = boto3.client(
        "sts", endpoint_url=strict.url, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
    )
    assert refused(client.get_caller_identity) == ("MissingAuthenticationToken", 403)


@pytest.mark.parametrize("service", ["sqs", "dynamodb", "sts", "s3", "lambda", "cloudformation", "iam"])
def test_the_root_pair_passes_on_every_protocol(strict: Tule, service: str):
    client = strict.client(service, **strict.root_keys())
    name, parameters = {
        "sqs": ("list_queues", {"QueueNamePrefix": "a b/ü"}),
        "dynamodb": ("list_tables", {"Limit": 3}),
        "sts": ("get_caller_identity", {}),
        "s3": ("list_buckets", {"Prefix": "a b+c/ü"}),
        "lambda": ("list_functions", {"MaxItems": 3}),
        "cloudformation": ("list_stacks", {}),
        "iam": ("list_users", {"PathPrefix": "/a/"}),
    }[service]
    assert getattr(client, name)(**parameters)["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(("minutes", "text"), [(-16, "Signature expired"), (16, "Signature not yet current")])
def test_a_signature_of_another_time_is_refused(strict: Tule, monkeypatch: pytest.MonkeyPatch, minutes: int, text: str):
    import botocore.auth

    moment = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: moment)
    with pytest.raises(ClientError, match=text):
        strict.client("sqs", **strict.root_keys()).list_queues()


def test_the_leaping_clock_does_not_touch_signatures():
    with Tule(verify_signatures=True) as running:
        running.advance("30d")
        client = running.client("sqs", **running.root_keys())
        assert client.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_body_that_was_changed_on_the_way_is_refused(strict: Tule):
    import urllib3

    keys = strict.root_keys()
    request = AWSRequest("POST", strict.url + "/", data=b'{"QueueName": "mine"}')
    request.headers["X-Amz-Target"] = "AmazonSQS.CreateQueue"
    request.headers["Content-Type"] = "application/x-amz-json-1.0"
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    SigV4Auth(credentials, "sqs", "us-east-1").add_auth(request)
    before = strict.digest()
    answer = urllib3.PoolManager().request(
        "POST", strict.url + "/", body=b'{"QueueName": "evil"}', headers=dict(request.headers), retries=False
    )
    assert answer.status in (400, 403)
    assert strict.digest() == before


def test_the_root_pair_outlives_a_restart(tmp_path):
    with Tule(tmp_path, verify_signatures=True) as running:
        before = running.root_keys()
        running.kill()
        running.start()
        assert running.root_keys() == before
        assert running.client("sqs", **before).list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_user_key_is_verified_from_the_first_request_after_a_restart(tmp_path):
    with Tule(tmp_path) as running:
        iam = running.client("iam", **running.root_keys())
        iam.create_user(UserName="ann")
        key = iam.create_access_key(UserName="ann")["AccessKey"]
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        running.kill()
        running.start()
        assert running.client("sts", **keys).get_caller_identity()["Arn"].endswith(":user/ann")
        wrong = keys | {"aws_secret_access_key": "wrong"}
        assert refused(running.client("sts", **wrong).get_caller_identity)[0] == "SignatureDoesNotMatch"
