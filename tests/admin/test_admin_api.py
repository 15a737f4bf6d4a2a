"""The admin API over HTTP, against its own description."""

import json
import re
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tule.testing.server import Tule


def page(tule: Tule, path: str) -> tuple[int, str, bytes]:
    with urlopen(tule.url + path, timeout=30) as answer:
        return answer.status, answer.headers["content-type"], answer.read()


def refused(tule: Tule, method: str, path: str, body: bytes | None = None) -> tuple[int, dict]:
    request = Request(f"{tule.url}/_tule/v1/{path}", data=body, method=method)
    request.add_header("Authorization", f"Bearer {tule.token}")
    with pytest.raises(HTTPError) as error:
        urlopen(request, timeout=30)
    return error.value.code, json.loads(error.value.read())


def test_the_description_covers_what_there_is(tule: Tule):
    document = json.loads(page(tule, "/_tule/v1/openapi.json")[2])
    assert document["openapi"].startswith("3.1")
    gets = [path for path, methods in document["paths"].items() if "get" in methods and "{" not in path]
    assert "/_tule/v1/status" in gets
    for path in gets:
        answer = tule.admin(path.removeprefix("/_tule/v1/"))
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        if "$ref" in schema:
            described = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert set(described["required"]) <= set(answer)


def test_every_reference_of_the_description_resolves(tule: Tule):
    text = page(tule, "/_tule/v1/openapi.json")[2].decode()
    names = set(json.loads(text)["components"]["schemas"])
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= names


@pytest.mark.parametrize("path", ["/_tule/health", "/_localstack/health"])
def test_health_has_the_shape_that_scripts_wait_for(tule: Tule, path: str):
    status, content, body = page(tule, path)
    health = json.loads(body)
    assert (status, content) == (200, "application/json")
    assert health["services"]["sqs"] in ("available", "running")
    assert {"edition", "version"} <= set(health)


def test_metrics_are_prometheus_text(tule: Tule, fresh_account: str):
    tule.client("sqs", fresh_account).list_queues()
    _, content, body = page(tule, "/_tule/metrics")
    assert content.startswith("text/plain; version=0.0.4")
    sample = re.compile(r'[a-z_]+(\{([a-z_]+="[^"]*",?)*\})? -?[0-9.e+-]+')
    for line in body.decode().splitlines():
        assert line.startswith("# ") or sample.fullmatch(line), line
    counted = re.search(r'duration_seconds_count\{operation="sqs:ListQueues",status="ok"\} (\d+)', body.decode())
    assert counted is not None
    assert int(counted[1]) >= 1
    buckets = re.findall(r'_bucket\{operation="sqs:ListQueues",status="ok",le="[^"]+"\} (\d+)', body.decode())
    assert [int(count) for count in buckets] == sorted(int(count) for count in buckets)
    assert buckets[-1] == counted[1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "nothing", None, 404, "NotFound"),
        ("DELETE", "status", None, 405, "MethodNotAllowed"),
        ("POST", "clock/advance", b"{", 400, "InvalidBody"),
        ("POST", "clock/advance", b"{}", 400, "InvalidBody"),
        ("POST", "clock/advance", b'{"duration": 5}', 400, "InvalidBody"),
        ("POST", "clock/advance", b'{"duration": "soon"}', 400, "InvalidDuration"),
        ("GET", "traces?limit=0", None, 400, "InvalidParameter"),
        ("GET", "traces?limit=many", None, 400, "InvalidParameter"),
        ("GET", "traces/1-00000000-none", None, 404, "TraceNotFound"),
    ],
)
def test_refusals_say_why(tule: Tule, method: str, path: str, body: bytes | None, status: int, code: str):
    answered, problem = refused(tule, method, path, body)
    assert (answered, problem["code"]) == (status, code)
    assert problem["message"]


def test_a_delayed_message_arrives_when_the_clock_leaps():
    with Tule() as running:
        running.clock_pause()
        client = running.client("sqs")
        url = client.create_queue(QueueName="later", Attributes={"DelaySeconds": "900"})["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody="x")
        running.advance("14m59s")
        assert "Messages" not in client.receive_message(QueueUrl=url)
        answer = running.advance("1s")
        assert answer["settled"]
        assert client.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "x"
        running.advance("12h")


def test_a_long_poll_wakes_up_when_the_clock_leaps():
    from concurrent.futures import ThreadPoolExecutor

    with Tule() as running, ThreadPoolExecutor(1) as pool:
        running.clock_pause()
        client = running.client("sqs")
        url = client.create_queue(QueueName="later", Attributes={"DelaySeconds": "60"})["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody="x")
        waiting = pool.submit(client.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        running.advance("1m")
        assert waiting.result(timeout=15)["Messages"][0]["Body"] == "x"


def test_the_clock_goes_on_where_it_was_after_a_crash(tmp_path):
    with Tule(tmp_path) as running:
        running.clock_pause()
        before = running.advance("3d")
        running.kill()
        running.start()
        after = running.admin("clock")
        assert after["paused"]
        assert after["now_ms"] == before["now_ms"]


def test_the_ledger_counts_and_usage_is_priced_after_a_crash(tmp_path):
    with Tule(tmp_path) as running:
        client = running.client("sqs")
        url = client.create_queue(QueueName="counted")["QueueUrl"]
        for body in "abc":
            client.send_message(QueueUrl=url, MessageBody=body)
        running.kill()
        running.start()
        (hop,) = running.admin("ledger")["hops"]
        assert (hop["hop"], hop["accepted"], hop["pending"]) == ("sqs:counted", 3, 3)
        (line,) = [line for line in running.admin("usage")["meters"] if line["meter"] == "sqs.requests"]
        assert line["units"] >= 3
        assert float(line["usd"]) == pytest.approx(line["units"] * 0.4e-6)


def test_reads_are_billed_too(tmp_path):
    with Tule(tmp_path) as running:
        client = running.client("sqs")
        url = client.create_queue(QueueName="empty")["QueueUrl"]
        before = sum(line["units"] for line in running.admin("usage")["meters"])
        for _ in range(5):
            client.receive_message(QueueUrl=url)
        running.stop()
        running.start()
        assert sum(line["units"] for line in running.admin("usage")["meters"]) >= before + 5


def test_traces_outlive_a_restart(tmp_path):
    with Tule(tmp_path) as running:
        running.client("sqs").create_queue(QueueName="kept")
        (trace,) = running.admin("traces")["traces"]
        running.stop()
        running.start()
        assert running.admin(f"traces/{trace['trace']}")["spans"][0]["name"] == "sqs:CreateQueue kept"


def test_a_long_poll_does_not_hold_up_the_end():
    from concurrent.futures import ThreadPoolExecutor

    from botocore.exceptions import ClientError

    with Tule() as running, ThreadPoolExecutor(1) as pool:
        client = running.client("sqs")
        url = client.create_queue(QueueName="empty")["QueueUrl"]
        waiting = pool.submit(client.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        while running.admin("status")["waiting_calls"] == 0:
            pass
        assert running.stop() == 0
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            waiting.result(timeout=15)
