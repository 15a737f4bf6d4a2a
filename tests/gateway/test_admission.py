"""Who may speak to Tule, decided on headers alone."""

import pytest

from tule.gateway.admission import Admission, host_name
from tule.net.messages import HttpRequest


def request(**headers: str) -> HttpRequest:
    return HttpRequest("POST", "/", "/", "", {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("localhost:4566", "localhost"),
        ("LOCALHOST", "localhost"),
        ("localhost.:4566", "localhost"),
        ("[::1]:4566", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("a.b.example", "a.b.example"),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(authority: str, name: str):
    assert host_name(authority) == name


@pytest.mark.parametrize(
    "host",
    [
        "localhost:4566",
        "127.0.0.1:4566",
        "127.9.9.9",
        "[::1]:4566",
        "abc.execute-api.localhost:4566",
        "sqs.us-east-1.amazonaws.com",
        "abc.lambda-url.us-east-1.on.aws",
        "tule.internal:4566",
        "deep.below.corp",
    ],
)
def test_hosts_that_are_answered(host: str):
    admission = Admission(["tule.internal", "*.below.corp"])
    assert admission.refuse_host(request(host=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4566",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "amazonaws.com.evil.example",
        "evilamazonaws.com",
        "10.0.0.7",
        "[2001:db8::1]",
        "",
        "localhost@evil.example",
    ],
)
def test_hosts_that_dns_could_have_been_made_to_point_here(host: str):
    refusal = Admission(["tule.internal"]).refuse_host(request(host=host))
    assert refusal is not None
    assert refusal.status == 403
    assert b"allowed_hosts" in refusal.body


def test_an_address_is_a_fine_host_for_a_tule_that_listens_beyond_loopback():
    admission = Admission(any_address=True)
    assert admission.refuse_host(request(host="10.0.0.7:4566")) is None
    assert admission.refuse_host(request(host="evil.example")) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:3000"},
        {"origin": "https://127.0.0.1"},
        {"origin": "http://[::1]:8080"},
        {"origin": "http://shop.localhost:4566"},
        {"origin": "https://console.example"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
    ],
)
def test_pages_that_may_call(headers: dict[str, str]):
    admission = Admission(origins=["https://console.example"])
    assert admission.refuse_page(request(host="localhost", **headers)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost.evil.example"},
        {"origin": "file://"},
        {"origin": "http://["},
        {"sec_fetch_site": "cross-site"},
        {"origin": "https://evil.example", "sec_fetch_site": "cross-site"},
    ],
)
def test_pages_that_may_not(headers: dict[str, str]):
    refusal = Admission().refuse_page(request(host="localhost", **headers))
    assert refusal is not None
    assert refusal.status == 403
    assert not any(name.startswith("access-control") for name, _ in refusal.headers)


def test_a_flood_of_names_does_not_grow_memory():
    admission = Admission()
    for number in range(5000):
        admission.host_allowed(f"h{number}.example")
        admission.origin_allowed(f"http://h{number}.example")
    assert len(admission._hosts_seen) <= 1024
    assert len(admission._origins_seen) <= 1024
