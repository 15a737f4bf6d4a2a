"""HTTP APIs through boto3: their parts, and what becomes of wrong requests."""

import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def client(tule, fresh_account):
    return tule.client("apigatewayv2", account=fresh_account)


@pytest.fixture
def function(fresh_account):
    return f"arn:aws:lambda:us-east-1:{fresh_account}:function:orders"


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def fetch(url, method="GET", **headers):
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def test_an_api_can_be_created_read_changed_and_deleted(client):
    made = client.create_api(Name="shop", ProtocolType="HTTP", Tags={"a": "1"}, Description="d")
    api_id = made["ApiId"]

    assert made["ApiEndpoint"].startswith(f"http://{api_id}.execute-api.localhost:")
    assert (made["RouteSelectionExpression"], made["Tags"]) == ("${request.method} ${request.path}", {"a": "1"})
    client.update_api(ApiId=api_id, Name="store")
    assert client.get_api(ApiId=api_id)["Name"] == "store"
    assert [api["ApiId"] for api in client.get_apis()["Items"]] == [api_id]
    client.delete_api(ApiId=api_id)
    assert client.get_apis()["Items"] == []
    assert refusal(lambda: client.get_api(ApiId=api_id))[:2] == ("NotFoundException", 404)


def test_another_accounts_api_does_not_exist(tule, client):
    api_id = client.create_api(Name="shop", ProtocolType="HTTP")["ApiId"]
    stranger = tule.client("apigatewayv2", account="999999999999")

    assert refusal(lambda: stranger.get_api(ApiId=api_id)) == (
        "NotFoundException",
        404,
        f"Invalid API identifier specified 999999999999:{api_id}",
    )


def test_quick_create_makes_a_working_default_stage(client, function):
    api_id = client.create_api(Name="shop", ProtocolType="HTTP", Target=function)["ApiId"]

    stage = client.get_stages(ApiId=api_id)["Items"][0]
    assert (stage["StageName"], stage["AutoDeploy"], stage["ApiGatewayManaged"]) == ("$default", True, True)
    route = client.get_routes(ApiId=api_id)["Items"][0]
    integration = client.get_integrations(ApiId=api_id)["Items"][0]
    assert (route["RouteKey"], route["Target"]) == ("$default", f"integrations/{integration['IntegrationId']}")
    assert (integration["IntegrationUri"], integration["PayloadFormatVersion"]) == (function, "2.0")


def test_routes_and_integrations_live_and_die(client, function):
    api_id = client.create_api(Name="shop", ProtocolType="HTTP")["ApiId"]
    integration = client.create_integration(
        ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    route = client.create_route(ApiId=api_id, RouteKey="GET /orders/{id}", Target=f"integrations/{integration}")

    assert refusal(
        lambda: client.create_route(ApiId=api_id, RouteKey="GET /orders/{id}", Target=f"integrations/{integration}")
    ) == ("ConflictException", 409, "Route with key GET /orders/{id} already exists for this API")
    client.update_route(ApiId=api_id, RouteId=route["RouteId"], RouteKey="GET /items/{id}")
    assert client.get_route(ApiId=api_id, RouteId=route["RouteId"])["RouteKey"] == "GET /items/{id}"
    told = refusal(lambda: client.delete_integration(ApiId=api_id, IntegrationId=integration))
    assert told[0] == "ConflictException"
    client.delete_route(ApiId=api_id, RouteId=route["RouteId"])
    client.delete_integration(ApiId=api_id, IntegrationId=integration)
    assert client.get_integrations(ApiId=api_id)["Items"] == []


@pytest.mark.parametrize("key", ["GET orders", "FETCH /orders", "/orders", "GET /{a+}/b", "GET /x{a}"])
def test_malformed_route_keys_are_refused(client, key):
    api_id = client.create_api(Name="shop", ProtocolType="HTTP")["ApiId"]

    assert refusal(lambda: client.create_route(ApiId=api_id, RouteKey=key))[:2] == ("BadRequestException", 400)


@pytest.mark.parametrize(
    "call",
    [
        lambda client, _: client.create_api(Name="x", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request"),
        lambda client, api: client.create_integration(
            ApiId=api, IntegrationType="HTTP_PROXY", IntegrationUri="http://x"
        ),
        lambda client, api: client.create_integration(
            ApiId=api, IntegrationType="AWS_PROXY", IntegrationSubtype="SQS-SendMessage", PayloadFormatVersion="1.0"
        ),
        lambda client, api: client.create_route(ApiId=api, RouteKey="GET /x", AuthorizationType="JWT"),
        lambda client, api: client.create_authorizer(
            ApiId=api, AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"], Name="a"
        ),
        lambda client, api: client.create_domain_name(DomainName="example.com"),
    ],
)
def test_what_is_not_built_says_so(client, call):
    api_id = client.create_api(Name="shop", ProtocolType="HTTP")["ApiId"]

    assert refusal(lambda: call(client, api_id))[:2] == ("NotImplemented", 501)


def test_stages_deploy_themselves_or_wait_for_a_deployment(client, function):
    api_id = client.create_api(Name="shop", ProtocolType="HTTP", Target=function)["ApiId"]
    first = client.get_stage(ApiId=api_id, StageName="$default")["DeploymentId"]

    integration = client.get_integrations(ApiId=api_id)["Items"][0]["IntegrationId"]
    client.create_route(ApiId=api_id, RouteKey="GET /x", Target=f"integrations/{integration}")
    assert client.get_stage(ApiId=api_id, StageName="$default")["DeploymentId"] != first
    client.create_stage(ApiId=api_id, StageName="dev", StageVariables={"a": "1"})
    made = client.create_deployment(ApiId=api_id, StageName="dev")
    stage = client.get_stage(ApiId=api_id, StageName="dev")
    assert (stage["DeploymentId"], stage["AutoDeploy"]) == (made["DeploymentId"], False)
    told = refusal(lambda: client.delete_deployment(ApiId=api_id, DeploymentId=made["DeploymentId"]))
    assert told[0] == "BadRequestException"


def test_tags_of_apis_and_stages(client):
    api_id = client.create_api(Name="shop", ProtocolType="HTTP", Tags={"a": "1"})["ApiId"]
    client.create_stage(ApiId=api_id, StageName="dev")
    arn = f"arn:aws:apigateway:us-east-1::/apis/{api_id}"

    client.tag_resource(ResourceArn=arn, Tags={"b": "2"})
    client.untag_resource(ResourceArn=arn, TagKeys=["a"])
    client.tag_resource(ResourceArn=f"{arn}/stages/dev", Tags={"s": "3"})

    assert client.get_tags(ResourceArn=arn)["Tags"] == {"b": "2"}
    assert client.get_stage(ApiId=api_id, StageName="dev")["Tags"] == {"s": "3"}


def sam_body(function):
    """The document SAM's transform writes for an implicit HTTP API."""
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "payloadFormatVersion": "2.0", "uri": uri}
    return {
        "openapi": "3.0.1",
        "info": {"title": "orders", "version": "1.0"},
        "paths": {
            "/orders": {"post": {"x-amazon-apigateway-integration": integration, "responses": {}}},
            "/orders/{id}": {"get": {"x-amazon-apigateway-integration": integration, "responses": {}}},
            "/any": {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": integration}},
            "/$default": {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": integration}},
        },
        "tags": [{"name": "httpapi:createdBy", "x-amazon-apigateway-tag-value": "SAM"}],
        "x-amazon-apigateway-cors": {"allowOrigins": ["https://shop.example"], "allowMethods": ["GET"]},
    }


def test_an_openapi_body_becomes_routes(client, function):
    made = client.import_api(Body=json.dumps(sam_body(function)))
    api_id = made["ApiId"]

    assert (made["Name"], made["Tags"]) == ("orders", {"httpapi:createdBy": "SAM"})
    assert made["CorsConfiguration"] == {"AllowOrigins": ["https://shop.example"], "AllowMethods": ["GET"]}
    routes = {route["RouteKey"]: route for route in client.get_routes(ApiId=api_id)["Items"]}
    assert set(routes) == {"POST /orders", "GET /orders/{id}", "ANY /any", "$default"}
    assert len(client.get_integrations(ApiId=api_id)["Items"]) == 1

    body = sam_body(function)
    del body["paths"]["/any"]
    client.reimport_api(ApiId=api_id, Body=json.dumps(body))

    again = {route["RouteKey"]: route["RouteId"] for route in client.get_routes(ApiId=api_id)["Items"]}
    assert set(again) == {"POST /orders", "GET /orders/{id}", "$default"}
    assert again["POST /orders"] == routes["POST /orders"]["RouteId"]


@pytest.mark.parametrize(
    "body",
    ["no document: [", "[]", '{"swagger":"2.0"}', '{"openapi":"3.0.1","info":{},"paths":{"x":{"get":{}}}}'],
)
def test_bodies_that_make_no_sense_are_refused(client, body):
    assert refusal(lambda: client.import_api(Body=body))[:2] == ("BadRequestException", 400)
    assert client.get_apis()["Items"] == []


def test_authorizers_in_a_body_are_refused_by_name(client, function):
    body = sam_body(function)
    body["paths"]["/orders"]["post"]["security"] = [{"MyAuthorizer": []}]

    code, status, message = refusal(lambda: client.import_api(Body=json.dumps(body)))

    assert (code, status) == ("NotImplemented", 501)
    assert "MyAuthorizer" in message


def test_the_endpoint_answers_preflights_and_knows_what_it_lacks(tule, client, function):
    api_id = client.import_api(Body=json.dumps(sam_body(function)))["ApiId"]
    base = f"{tule.url}/_aws/execute-api/{api_id}/%24default"
    assert fetch(f"{base}/orders")[:2] == (404, b'{"message":"Not Found"}')
    client.create_stage(ApiId=api_id, StageName="$default", AutoDeploy=True)

    status, _, headers = fetch(
        f"{base}/orders", "OPTIONS", Origin="https://shop.example", **{"Access-Control-Request-Method": "GET"}
    )

    assert status == 204
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert fetch(f"{tule.url}/_aws/execute-api/nosuchapi/x/orders")[:2] == (404, b'{"message":"Not Found"}')
