"""Which route a request takes."""

import pytest

from tule.services.apigatewayv2.routing import Router

PETS = ["GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default"]
"""The example by which AWS documents the priority."""


@pytest.mark.parametrize(
    ("method", "path", "expected", "variables"),
    [
        ("GET", "/pets/dog/1", "GET /pets/dog/1", {}),
        ("GET", "/pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
        ("GET", "/pets/cat/1", "GET /pets/{proxy+}", {"proxy": "cat/1"}),
        ("POST", "/pets/dog/1", "ANY /{proxy+}", {"proxy": "pets/dog/1"}),
        ("GET", "/", "$default", {}),
        ("PATCH", "/a%20b/c", "ANY /{proxy+}", {"proxy": "a b/c"}),
    ],
)
def test_the_most_specific_route_wins(method, path, expected, variables):
    match = Router((key, key) for key in PETS).match(method, path)

    assert match is not None
    assert (match.route, match.variables) == (expected, variables)


def test_a_fixed_segment_that_leads_nowhere_gives_way_to_a_variable():
    router = Router((key, key) for key in ["GET /a/b/c", "GET /a/{x}/d"])

    match = router.match("GET", "/a/b/d")

    assert match is not None
    assert (match.route, match.variables) == ("GET /a/{x}/d", {"x": "b"})


def test_variables_keep_their_order():
    match = Router([("GET /{a}/x/{b}/{rest+}", 1)]).match("GET", "/1/x/2/3/4")

    assert match is not None
    assert match.variables == {"a": "1", "b": "2", "rest": "3/4"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nowhere"), ("POST", "/orders"), ("GET", "/orders/"), ("GET", "/")]
)
def test_no_route_is_no_match(method, path):
    assert Router([("GET /orders", 1), ("GET /orders/{id}", 2)]).match(method, path) is None


def test_a_method_of_its_own_wins_over_any():
    router = Router([("ANY /orders", "any"), ("GET /orders", "get")])

    assert [getattr(router.match(method, "/orders"), "route", None) for method in ("GET", "PUT")] == ["get", "any"]
