"""Calls through the whole chain: identity, tracing, refusals by name."""

import json
import re
import socket

import boto3
import pytest
from botocore.exceptions import ClientError

from tule.testing.server import Tule

ROOT = "Root=1-5759e988-aaaa1234e1be46a994272793"
TRACE = "1-5759e988-bd862e3fe1be46a994272793"


def test_accounts_and_regions_are_clouds_of_their_own(tule: Tule, fresh_account: str):
    tule.client("sqs", fresh_account).create_queue(QueueName="mine")
    assert "QueueUrls" in tule.client("sqs", fresh_account).list_queues()
    assert "QueueUrls" not in tule.client("sqs", fresh_account, region="eu-west-1").list_queues()
    assert "QueueUrls" not in tule.client("sqs", "999999999999").list_queues()


def test_any_other_key_is_the_default_account(tule: Tule):
    assert tule.client("sts", "test").get_caller_identity()["Account"] == "000000000000"


def test_the_root_pair_is_its_accounts_root(tule: Tule):
    identity = tule.client("sts", **tule.root_keys()).get_caller_identity()
    assert identity["Account"] == "000000000000"
    assert identity["Arn"] == "arn:aws:iam::000000000000:root"


@pytest.mark.parametrize(
    ("service", "call", "name"),
    [
        ("sns", lambda client: client.list_topics(), "sns:ListTopics"),
        ("sqs", lambda client: client.list_message_move_tasks(SourceArn="arn:aws:sqs:x:y:z"), "ListMessageMoveTasks"),
        ("rds", lambda client: client.describe_db_instances(), "rds:DescribeDBInstances"),
        ("ec2", lambda client: client.describe_vpcs(), "ec2:DescribeVpcs"),
        ("batch", lambda client: client.describe_job_queues(), "batch:DescribeJobQueues"),
        ("route53", lambda client: client.list_hosted_zones(), "route53:ListHostedZones"),
    ],
)
def test_what_is_not_implemented_says_so_by_name(tule: Tule, service: str, call, name: str):
    with pytest.raises(ClientError) as refused:
        call(tule.client(service))
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert name in refused.value.response["Error"]["Message"]


def test_every_answer_has_a_request_id_refusals_too(tule: Tule):
    client = tule.client("sqs")
    answer = client.list_queues()["ResponseMetadata"]
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["RequestId"])
    with pytest.raises(ClientError) as refused:
        client.get_queue_url(QueueName="nowhere")
    assert re.fullmatch(r"[0-9a-f-]{36}", refused.value.response["ResponseMetadata"]["RequestId"])


def test_a_call_is_a_hop_of_its_callers_trace(tule: Tule, fresh_account: str):
    client = tule.client("sqs", fresh_account)

    def add_trace(request, **_):
        request.headers["X-Amzn-Trace-Id"] = f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1"

    client.meta.events.register("before-send.sqs.CreateQueue", add_trace)
    client.create_queue(QueueName="traced")
    hops = tule.admin(f"traces/{TRACE}")["spans"]
    assert hops[-1]["name"] == "sqs:CreateQueue traced"
    assert hops[-1]["parent"] == "53995c3f42cd8ad8"
    assert hops[-1]["account"] == fresh_account


def test_a_refused_call_is_a_hop_with_its_error(tule: Tule, fresh_account: str):
    with pytest.raises(ClientError):
        tule.client("sqs", fresh_account).get_queue_url(QueueName="missing")
    named = [trace for trace in tule.admin("traces?limit=200")["traces"] if trace["account"] == fresh_account]
    assert [trace["status"] for trace in named] == ["QueueDoesNotExist"]


def test_a_request_for_nothing_leaves_a_span_too(tule: Tule):
    import urllib3

    headers = {"X-Amz-Target": "Nothing.AtAll", "Content-Type": "application/x-amz-json-1.0", "X-Amzn-Trace-Id": ROOT}
    answer = urllib3.PoolManager().request("POST", tule.url + "/void", body=b"{}", headers=headers, retries=False)
    assert answer.status in (400, 404)
    (hop,) = tule.admin(f"traces/{ROOT.removeprefix('Root=')}")["spans"]
    assert hop["name"] == "unrouted POST /void"
    assert hop["status"] == "UnknownOperationException"


def test_a_long_poll_ends_when_its_caller_leaves(fresh_account: str):
    with Tule() as running:
        client = running.client("sqs")
        url = client.create_queue(QueueName="left")["QueueUrl"]
        body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
        head = (
            f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"X-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(head.encode() + body)
            while running.admin("status")["waiting_calls"] == 0:
                pass
        while running.admin("status")["waiting_calls"] > 0:
            pass
        client.send_message(QueueUrl=url, MessageBody="for somebody else")
        assert client.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "for somebody else"


def test_a_trace_that_does_not_exist(tule: Tule):
    with pytest.raises(Exception, match="404"):
        tule.admin("traces/1-00000000-nothing")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"QueueName": 5}', b'{"QueueName": "\xff"}', b"\x00" * 100, b"{}" * 50]
)
def test_nonsense_is_refused_and_leaves_nothing(tule: Tule, body: bytes):
    import urllib3

    before = tule.digest()
    answer = urllib3.PoolManager().request(
        "POST",
        tule.url,
        body=body,
        headers={"X-Amz-Target": "AmazonSQS.CreateQueue", "Content-Type": "application/x-amz-json-1.0"},
        retries=False,
    )
    assert 400 <= answer.status < 500
    assert tule.digest() == before


def test_a_wrong_region_in_the_scope_is_refused(tule: Tule):
    client = boto3.client(
        "sqs", endpoint_url=tule.url, region_name="nowhere", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with pytest.raises(ClientError, match="valid region"):
        client.list_queues()


def test_prices_stand_beside_what_a_call_used(tule: Tule, fresh_account: str):
    client = tule.client("sqs", fresh_account)
    url = client.create_queue(QueueName="priced")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="x")
    newest = next(trace for trace in tule.admin("traces?limit=50")["traces"] if trace["name"].endswith("priced"))
    assert newest["name"] == "sqs:SendMessage priced"
    hop = tule.admin(f"traces/{newest['trace']}")["spans"][0]
    assert hop["units"] == [{"meter": "sqs.requests", "units": 1.0, "usd": "0.0000004"}]
