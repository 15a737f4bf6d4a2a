"""HTTP APIs in front of real functions."""

import http.client
import io
import json
import textwrap
import zipfile
from urllib.parse import urlsplit

import pytest

SOURCE = """
    import base64, json

    def handler(event, context):
        path = event.get("rawPath", event.get("path"))
        if path.endswith("/echo"):
            return {"statusCode": 200, "body": json.dumps(event), "headers": {"content-type": "application/json"}}
        if path.endswith("/plain"):
            return {"hello": event["pathParameters"]["id"]}
        if path.endswith("/empty"):
            return {"statusCode": 204}
        if path.endswith("/cookies"):
            return {"statusCode": 200, "cookies": ["a=1", "b=2"], "body": "ok"}
        if path.endswith("/binary"):
            return {"statusCode": 200, "isBase64Encoded": True, "body": base64.b64encode(b"\\0\\1\\2").decode()}
        if path.endswith("/malformed"):
            return {"statusCode": "what"}
        if path.endswith("/slow"):
            import time
            time.sleep(3)
        raise RuntimeError("no such page")
"""


def package():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", textwrap.dedent(SOURCE))
    return buffer.getvalue()


class Site:
    """An API by its host name, whatever the resolver thinks of it."""

    def __init__(self, tule, client, function):
        self.client, self.function = client, function
        self.address = urlsplit(tule.url)
        self.api_id = client.create_api(Name="site", ProtocolType="HTTP")["ApiId"]
        self.integration = client.create_integration(
            ApiId=self.api_id, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
        )["IntegrationId"]
        client.create_stage(ApiId=self.api_id, StageName="$default", AutoDeploy=True)

    def route(self, key, integration=None):
        self.client.create_route(
            ApiId=self.api_id, RouteKey=key, Target=f"integrations/{integration or self.integration}"
        )

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.address.port, timeout=60)
        host = f"{self.api_id}.execute-api.localhost:{self.address.port}"
        try:
            connection.request(method, path, body, {"Host": host, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()


@pytest.fixture
def site(tule, fresh_account):
    functions = tule.client("lambda", account=fresh_account)
    functions.create_function(
        FunctionName="site",
        Runtime="python3.13",
        Role="arn:aws:iam::111122223333:role/site",
        Handler="app.handler",
        Code={"ZipFile": package()},
        Timeout=10,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="site", WaiterConfig={"Delay": 0.05})
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:function:site"
    return Site(tule, tule.client("apigatewayv2", account=fresh_account), arn)


def test_the_function_sees_the_request(site, fresh_account):
    site.route("POST /items/{id}/echo")

    status, body, headers = site.ask(
        "POST", "/items/a%20b/echo?x=1&x=2", '{"n": 1}', Cookie="c=1", **{"Content-Type": "application/json"}
    )

    event = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert headers["apigw-requestid"] == event["requestContext"]["requestId"]
    assert event["version"] == "2.0"
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "POST /items/{id}/echo"
    assert (event["rawPath"], event["rawQueryString"]) == ("/items/a b/echo", "x=1&x=2")
    assert event["pathParameters"] == {"id": "a b"}
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert event["cookies"] == ["c=1"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"n": 1}', False)
    context = event["requestContext"]
    assert (context["accountId"], context["apiId"], context["stage"]) == (fresh_account, site.api_id, "$default")
    assert context["domainName"] == f"{site.api_id}.execute-api.localhost"
    assert context["http"]["method"] == "POST"


def test_results_become_answers(site):
    site.route("ANY /{id}/{proxy+}")

    assert site.ask("GET", "/7/plain")[:2] == (200, b'{"hello": "7"}')
    status, body, headers = site.ask("GET", "/7/empty")
    assert (status, body) == (204, b"")
    status, body, headers = site.ask("GET", "/7/cookies")
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert site.ask("GET", "/7/binary")[1] == b"\0\1\2"
    for path in ("/7/malformed", "/7/nowhere"):
        assert site.ask("GET", path)[:2] == (500, b'{"message":"Internal Server Error"}')


def test_what_has_no_route_is_not_found(site):
    site.route("GET /orders")

    assert site.ask("GET", "/nowhere")[:2] == (404, b'{"message":"Not Found"}')
    assert site.ask("DELETE", "/orders")[:2] == (404, b'{"message":"Not Found"}')


def test_a_function_that_takes_longer_than_its_integration_is_unavailable(site):
    slow = site.client.create_integration(
        ApiId=site.api_id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=site.function,
        PayloadFormatVersion="2.0",
        TimeoutInMillis=100,
    )["IntegrationId"]
    site.route("GET /slow", slow)

    assert site.ask("GET", "/slow")[:2] == (503, b'{"message":"Service Unavailable"}')


def test_a_named_stage_is_part_of_the_path(site):
    site.route("GET /{id}/echo")
    site.client.create_stage(ApiId=site.api_id, StageName="dev", AutoDeploy=True, StageVariables={"colour": "red"})

    event = json.loads(site.ask("GET", "/dev/7/echo")[1])

    assert (event["rawPath"], event["requestContext"]["stage"]) == ("/dev/7/echo", "dev")
    assert event["stageVariables"] == {"colour": "red"}


def test_a_change_serves_at_once_where_it_deploys_itself_and_not_where_it_does_not(site):
    site.route("GET /a/echo")
    site.client.create_stage(ApiId=site.api_id, StageName="fixed")
    site.client.create_deployment(ApiId=site.api_id, StageName="fixed")

    site.route("GET /b/echo")

    assert [site.ask("GET", path)[0] for path in ("/b/echo", "/fixed/a/echo", "/fixed/b/echo")] == [200, 200, 404]


def test_format_1_is_there_for_who_asks(site):
    old = site.client.create_integration(
        ApiId=site.api_id, IntegrationType="AWS_PROXY", IntegrationUri=site.function, PayloadFormatVersion="1.0"
    )["IntegrationId"]
    site.route("GET /{id}/echo", old)

    event = json.loads(site.ask("GET", "/7/echo?a=1&a=2")[1])

    assert (event["version"], event["resource"], event["path"]) == ("1.0", "/{id}/echo", "/7/echo")
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}


def test_a_missing_function_is_an_internal_server_error(tule, site, fresh_account):
    site.route("GET /7/plain")
    tule.client("lambda", account=fresh_account).delete_function(FunctionName="site")

    assert site.ask("GET", "/7/plain")[:2] == (500, b'{"message":"Internal Server Error"}')
