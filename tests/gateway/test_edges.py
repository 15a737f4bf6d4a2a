"""Application endpoints are found by host and by path, and follow their own rules."""

import json

import pytest
from test_front_door import exchange

from tule.testing.server import Tule


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("nobody.execute-api.localhost", "/orders"),
        ("nobody.execute-api.us-east-1.amazonaws.com", "/orders"),
        ("localhost", "/_aws/execute-api/nobody/$default/orders"),
    ],
)
@pytest.mark.parametrize("origin", ["", "https://shop.example"])
def test_an_api_answers_pages_of_any_origin_itself(tule: Tule, host: str, path: str, origin: str):
    head = [f"GET {path} HTTP/1.1", f"Host: {host}:{tule.port}"]
    if origin:
        head += [f"Origin: {origin}", "Sec-Fetch-Site: cross-site"]
    status, _, body = exchange(tule.port, head)
    assert status == 404
    assert json.loads(body) == {"message": "Not Found"}


@pytest.mark.parametrize("path", ["/_aws/execute-api/nobody/$default/orders", "/orders"])
def test_a_rebound_name_reaches_no_application_either(tule: Tule, path: str):
    status, _, body = exchange(tule.port, [f"GET {path} HTTP/1.1", "Host: nobody.execute-api.localhost.evil.example"])
    assert status == 403
    assert b"allowed_hosts" in body


@pytest.mark.parametrize(
    ("host", "path", "root"),
    [
        ("nobody.execute-api.localhost", "/traced/path", "1-5759e988-ed9e1234e1be46a994272793"),
        ("localhost", "/_aws/execute-api/nobody/traced/path", "1-5759e988-ed9e1234e1be46a994272794"),
    ],
)
def test_a_request_to_an_application_is_the_first_hop_of_its_trace(tule: Tule, host: str, path: str, root: str):
    head = [f"GET {path} HTTP/1.1", f"Host: {host}", f"X-Amzn-Trace-Id: Root={root}"]
    assert exchange(tule.port, head)[0] == 404
    (hop,) = tule.admin(f"traces/{root}")["spans"]
    assert "GET /traced/path" in hop["name"]
    assert hop["request_id"]
