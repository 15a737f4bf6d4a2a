"""What a function's result becomes."""

import json

import pytest

from tule.net.messages import HttpRequest, HttpResponse
from tule.services.apigatewayv2 import cors
from tule.services.apigatewayv2.answers import answer
from tule.services.apigatewayv2.models import Cors


def answered(result, version="2.0"):
    return answer(json.dumps(result).encode(), version)


@pytest.mark.parametrize("result", ["hello", {"message": "hi"}, [1, 2], None, 7])
def test_a_result_without_a_status_is_the_body_of_a_200(result):
    response = answered(result)

    assert response.status == 200
    assert json.loads(response.body) == result
    assert ("content-type", "application/json") in response.headers


def test_a_full_result_is_taken_apart():
    response = answered(
        {
            "statusCode": 201,
            "headers": {"Content-Type": "text/html", "X-Count": 3},
            "cookies": ["a=1; Secure", "b=2"],
            "body": "<p>é</p>",
        }
    )

    assert response.status == 201
    assert response.headers == [
        ("content-type", "text/html"),
        ("x-count", "3"),
        ("set-cookie", "a=1; Secure"),
        ("set-cookie", "b=2"),
    ]
    assert response.body == "<p>é</p>".encode()


def test_base64_bodies_arrive_as_bytes():
    assert answered({"statusCode": 200, "isBase64Encoded": True, "body": "AAEC/w=="}).body == b"\0\1\2\xff"


def test_204_has_no_body():
    response = answered({"statusCode": 204, "body": "ignored"})

    assert (response.status, response.body) == (204, b"")


def test_a_status_as_text_counts():
    assert answered({"statusCode": "404", "body": "no"}).status == 404


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "abc"},
        {"statusCode": 99},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "headers": ["x"]},
        {"statusCode": 200, "headers": {"x": {"y": 1}}},
        {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: b"}},
        {"statusCode": 200, "isBase64Encoded": True, "body": "%"},
        {"statusCode": 200, "cookies": [1, None]},
    ],
)
def test_a_malformed_result_is_an_internal_server_error(result):
    response = answered(result)

    assert (response.status, response.body) == (500, b'{"message":"Internal Server Error"}')


def test_format_1_demands_a_status_and_knows_repeated_headers():
    assert answered({"message": "hi"}, "1.0").status == 500
    response = answered({"statusCode": 200, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}, "body": ""}, "1.0")
    assert [pair for pair in response.headers if pair[0] == "set-cookie"] == [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]


RULES = Cors(
    allow_origins=["https://shop.example", "http://*"],
    allow_methods=["GET", "POST"],
    allow_headers=["content-type"],
    expose_headers=["x-total"],
    allow_credentials=True,
    max_age=300,
)


def options(origin):
    headers = {"origin": origin, "access-control-request-method": "POST"}
    return HttpRequest("OPTIONS", "/", "/", "", headers)


def test_a_preflight_from_an_allowed_origin_is_told_what_it_may():
    response = cors.preflight(RULES, options("https://shop.example"))

    assert (response.status, dict(response.headers)) == (
        204,
        {
            "access-control-allow-origin": "https://shop.example",
            "access-control-allow-methods": "GET,POST",
            "access-control-allow-headers": "content-type",
            "access-control-allow-credentials": "true",
            "access-control-max-age": "300",
        },
    )


def test_a_preflight_from_a_stranger_is_told_nothing():
    assert cors.preflight(RULES, options("https://evil.example")).headers == []


def test_the_functions_own_cors_headers_give_way():
    response = HttpResponse(200, [("access-control-allow-origin", "*"), ("x-a", "1")], b"")

    cors.decorate(RULES, options("http://dev.example"), response)

    assert response.headers == [
        ("x-a", "1"),
        ("access-control-allow-origin", "http://dev.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-total"),
    ]
