"""What a function is handed."""

import pytest

from tule.net.messages import HttpRequest
from tule.services.http_payloads import Call, payload_1, payload_2

HOST = "abc123.execute-api.localhost:4566"


def call(request, **changes):
    values = {
        "request": request,
        "account": "111122223333",
        "api_id": "abc123",
        "stage": "$default",
        "route_key": "POST /my/{id}",
        "path": request.path,
        "variables": {"id": "path"},
        "stage_variables": {},
        "request_id": "JKJaXmPLvHcESHA=",
        "now_ms": 1583348638390,
        "trace": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e;Parent=1;Sampled=1",
    }
    return Call(**{**values, **changes})


def test_format_2_is_awss_own_to_the_member():
    headers = {
        "host": HOST,
        "user-agent": "agent",
        "content-type": "application/json",
        "content-length": "7",
        "cookie": "cookie1=a; cookie2=b",
        "header1": "value1",
    }
    request = HttpRequest("POST", "", "/my/path", "p1=v1&p1=v2&p2=a%20b", headers, b'{"a":1}', peer="192.0.2.1")

    assert payload_2(call(request, stage_variables={"v": "1"})) == {
        "version": "2.0",
        "routeKey": "POST /my/{id}",
        "rawPath": "/my/path",
        "rawQueryString": "p1=v1&p1=v2&p2=a%20b",
        "cookies": ["cookie1=a", "cookie2=b"],
        "headers": {
            "host": HOST,
            "user-agent": "agent",
            "content-type": "application/json",
            "content-length": "7",
            "header1": "value1",
            "x-amzn-trace-id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e;Parent=1;Sampled=1",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "4566",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"p1": "v1,v2", "p2": "a b"},
        "requestContext": {
            "accountId": "111122223333",
            "apiId": "abc123",
            "domainName": "abc123.execute-api.localhost",
            "domainPrefix": "abc123",
            "http": {
                "method": "POST",
                "path": "/my/path",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "agent",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /my/{id}",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1583348638390,
        },
        "body": '{"a":1}',
        "pathParameters": {"id": "path"},
        "isBase64Encoded": False,
        "stageVariables": {"v": "1"},
    }


def test_what_is_absent_is_left_out_of_format_2():
    event = payload_2(call(HttpRequest("GET", "", "/", "", {"host": HOST}), variables={}))

    assert {"cookies", "queryStringParameters", "body", "pathParameters", "stageVariables"}.isdisjoint(event)
    assert (event["rawQueryString"], event["isBase64Encoded"]) == ("", False)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/csv; charset=utf-8", b"a,b", ("a,b", False)),
        ("application/vnd.api+json", b"{}", ("{}", False)),
        ("application/x-www-form-urlencoded", b"a=1", ("YT0x", True)),
        ("image/png", b"\x89PNG", ("iVBORw==", True)),
        ("application/json", b"\xff\xfe", ("//4=", True)),
        ("", b"plain", ("plain", False)),
    ],
)
def test_bodies_that_are_no_text_arrive_as_base64(content_type, body, expected):
    headers = {"host": HOST, **({"content-type": content_type} if content_type else {})}
    event = payload_2(call(HttpRequest("POST", "", "/", "", headers, body)))

    assert (event["body"], event["isBase64Encoded"]) == expected


def test_raw_path_is_decoded_and_the_raw_query_is_not():
    event = payload_2(call(HttpRequest("GET", "", "/a%20b", "q=%20", {"host": HOST})))

    assert (event["rawPath"], event["rawQueryString"]) == ("/a b", "q=%20")


def test_format_1_gives_repeated_values_twice():
    event = payload_1(call(HttpRequest("GET", "", "/my/path", "a=1&a=2", {"host": HOST, "accept": "*/*"})))

    assert event["queryStringParameters"] == {"a": "2"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["multiValueHeaders"]["accept"] == ["*/*"]
    assert (event["version"], event["resource"], event["path"], event["body"]) == ("1.0", "/my/{id}", "/my/path", None)
