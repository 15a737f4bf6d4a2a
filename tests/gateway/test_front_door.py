"""What strangers can't do, with their headers sent raw."""

import json
import socket

import pytest

from tule.testing.server import Tule

CREATE = b'{"QueueName": "stranger"}'
FORM = b"Action=CreateQueue&QueueName=stranger&Version=2012-11-05"


def exchange(port: int, head: list[str], body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """One request as it is written, one answer as it comes."""
    lines = [*head, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        raw = b""
        while piece := connection.recv(65536):
            raw += piece
    top, _, content = raw.partition(b"\r\n\r\n")
    status, *fields = top.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return int(status.split()[1]), headers, content


def queues(tule: Tule, account: str) -> list[str]:
    return tule.client("sqs", account).list_queues().get("QueueUrls", [])


def credential(account: str) -> str:
    scope = f"{account}/20260101/us-east-1/sqs/aws4_request"
    return f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(["Origin: https://evil.example"], id="fetch"),
        pytest.param(["Origin: null"], id="sandboxed frame"),
        pytest.param(["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], id="no-cors without origin"),
        pytest.param(["Origin: http://localhost.evil.example:4566"], id="name that looks local"),
    ],
)
@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("application/x-www-form-urlencoded", FORM),
        ("text/plain", FORM),
        ("text/plain", CREATE),
        ("multipart/form-data; boundary=x", FORM),
    ],
)
def test_a_page_of_a_stranger_creates_nothing(
    tule: Tule, fresh_account: str, headers: list[str], content: str, body: bytes
):
    before = tule.digest()
    status, answered, _ = exchange(
        tule.port,
        [
            "POST /?Action=CreateQueue&QueueName=stranger HTTP/1.1",
            f"Host: localhost:{tule.port}",
            f"Content-Type: {content}",
            credential(fresh_account),
            *headers,
        ],
        body,
    )
    assert status == 403
    assert not any(name.startswith("access-control") for name in answered)
    assert tule.digest() == before


@pytest.mark.parametrize("host", ["evil.example", "evil.example:4566", "127.0.0.1.nip.io", "10.1.2.3", ""])
def test_a_rebound_name_is_not_answered(tule: Tule, host: str):
    head = ["POST / HTTP/1.1", f"Host: {host}", "X-Amz-Target: AmazonSQS.CreateQueue"]
    before = tule.digest()
    status, _, body = exchange(tule.port, [*head, "Content-Type: application/x-amz-json-1.0"], CREATE)
    assert status in (400, 403)
    assert host == "" or b"allowed_hosts" in body
    assert tule.digest() == before


@pytest.mark.parametrize("path", ["/_tule/v1/status", "/_tule/v1/credentials", "/_tule/health", "/_localstack/health"])
def test_a_rebound_name_learns_nothing_of_tule_itself(tule: Tule, path: str):
    status, _, _ = exchange(tule.port, [f"GET {path} HTTP/1.1", "Host: evil.example"])
    assert status == 403


def test_no_preflight_is_answered_for_a_stranger(tule: Tule):
    status, answered, _ = exchange(
        tule.port,
        [
            "OPTIONS / HTTP/1.1",
            f"Host: localhost:{tule.port}",
            "Origin: https://evil.example",
            "Access-Control-Request-Method: POST",
        ],
    )
    assert status == 403
    assert not any(name.startswith("access-control") for name in answered)


def test_a_page_on_this_machine_may_call_and_read_the_answer(tule: Tule, fresh_account: str):
    preflight = [
        "OPTIONS / HTTP/1.1",
        f"Host: localhost:{tule.port}",
        "Origin: http://localhost:3000",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,x-amz-target",
    ]
    status, answered, _ = exchange(tule.port, preflight)
    assert status == 204
    assert answered["access-control-allow-origin"] == "http://localhost:3000"
    assert answered["access-control-allow-headers"] == "authorization,x-amz-target"
    status, answered, _ = exchange(
        tule.port,
        [
            "POST / HTTP/1.1",
            f"Host: localhost:{tule.port}",
            "Origin: http://localhost:3000",
            "Content-Type: application/x-amz-json-1.0",
            "X-Amz-Target: AmazonSQS.CreateQueue",
            credential(fresh_account),
        ],
        CREATE,
    )
    assert status == 200
    assert answered["access-control-allow-origin"] == "http://localhost:3000"
    assert [url.rpartition("/")[2] for url in queues(tule, fresh_account)] == ["stranger"]


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", "Basic {token}", "{token}"])
def test_the_admin_api_needs_the_token(tule: Tule, token: str):
    head = ["GET /_tule/v1/credentials HTTP/1.1", f"Host: localhost:{tule.port}"]
    if token:
        head.append("Authorization: " + token.format(token=tule.token))
    status, answered, body = exchange(tule.port, head)
    assert status == 401
    assert answered["www-authenticate"].startswith("Bearer")
    assert json.loads(body)["code"] == "TokenRequired"


def test_a_page_of_a_stranger_with_the_token_is_still_a_stranger(tule: Tule):
    head = ["GET /_tule/v1/status HTTP/1.1", f"Host: localhost:{tule.port}", "Origin: https://evil.example"]
    status, _, _ = exchange(tule.port, [*head, f"Authorization: Bearer {tule.token}"])
    assert status == 403


@pytest.mark.parametrize(
    "path", ["/_tule/v1/status", "/_tule/v1/credentials", "/_tule/v1/openapi.json", "/_tule/metrics", "/_tule/health"]
)
def test_functions_see_no_admin_api_even_with_the_token(tule: Tule, path: str):
    port = int(tule.status["functions_url"].rpartition(":")[2])
    head = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {tule.token}"]
    status, _, _ = exchange(port, head)
    assert status == 404


def test_functions_reach_aws_through_their_own_listener(tule: Tule, fresh_account: str):
    port = int(tule.status["functions_url"].rpartition(":")[2])
    status, _, _ = exchange(
        port,
        [
            "POST / HTTP/1.1",
            "Host: sqs.us-east-1.amazonaws.com",
            "Content-Type: application/x-amz-json-1.0",
            "X-Amz-Target: AmazonSQS.CreateQueue",
            credential(fresh_account),
        ],
        CREATE,
    )
    assert status == 200
    assert len(queues(tule, fresh_account)) == 1


def test_the_token_and_the_home_are_their_owners_alone(tule: Tule):
    assert (tule.directory / "admin-token").stat().st_mode & 0o777 == 0o600
    assert tule.directory.stat().st_mode & 0o777 == 0o700


def test_the_configuration_can_allow_a_name_and_an_origin():
    allowed = {"TULE_ALLOWED_HOSTS": "tule.internal", "TULE_ALLOWED_ORIGINS": "https://console.example"}
    with Tule(environment=allowed) as running:
        head = ["GET /_tule/health HTTP/1.1", "Host: tule.internal:4566", "Origin: https://console.example"]
        assert exchange(running.port, head)[0] == 200
