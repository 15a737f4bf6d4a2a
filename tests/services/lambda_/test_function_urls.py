"""Function URLs: their configuration, who may call them, and what callers get."""

import http.client
import json
import re

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from conftest import Functions
from tule.kernel.randomness import SystemRandom
from tule.testing.server import Tule

ECHO = """
    def handler(event, context):
        if event["rawPath"] == "/event":
            return event
        if event["rawPath"] == "/fail":
            raise RuntimeError("as asked")
        if event["rawPath"] == "/text":
            return "just text"
        if event["rawPath"] == "/list":
            return ["hello", 3, True]
        if event["rawPath"] == "/teapot":
            return {"statusCode": "418", "headers": {"My-Header": "x"}, "cookies": ["a=1", "b=2"], "body": "short"}
        if event["rawPath"] == "/bytes":
            return {"statusCode": 200, "isBase64Encoded": True, "body": "AAEC",
                    "headers": {"content-type": "image/png"}}
        if event["rawPath"] == "/bad":
            return {"statusCode": "nonsense"}
        return {"request_id": context.aws_request_id, "arn": context.invoked_function_arn}
"""

STREAMER = """
    import { setTimeout } from "node:timers/promises";

    export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
        if (event.rawPath === "/plain") stream.setContentType("text/plain");
        else if (event.rawPath !== "/bare") stream = awslambda.HttpResponseStream.from(stream, {
            statusCode: 201, headers: { "Content-Type": "text/html", "X-Own": "yes" }, cookies: ["c=1"],
        });
        for (let n = 0; n < 3; n++) {
            stream.write(`part ${n};`);
            await setTimeout(200);
            if (event.rawPath === "/broken" && n === 1) throw new Error("in the middle");
        }
        stream.end();
    });
"""


class Answer:
    def __init__(self, response, body):
        self.status, self.body = response.status, body
        self.headers = [(name.lower(), value) for name, value in response.getheaders()]

    def header(self, name):
        return next((value for key, value in self.headers if key == name), None)

    def json(self):
        return json.loads(self.body)


def call(tule, url, method="GET", path="/", body=None, **headers):
    """Ask a URL as its own host."""
    host = url.split("//")[1].rstrip("/")
    connection = http.client.HTTPConnection("127.0.0.1", tule.port, timeout=60)
    try:
        sent = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return Answer(response, response.read())
    finally:
        connection.close()


def let_everybody(client, **named):
    client.add_permission(
        FunctionName="worker", StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*",
        FunctionUrlAuthType="NONE", **named,
    )  # fmt: skip


def open_url(functions, source=ECHO, *, runtime="python3.13", **settings):
    functions.deploy(source, runtime=runtime, MemorySize=1769, Timeout=60)
    settings = {"AuthType": "NONE", **settings}
    url = functions.client.create_function_url_config(FunctionName="worker", **settings)["FunctionUrl"]
    let_everybody(functions.client)
    return url


def _shared(tule, source, **settings):
    account = f"{200_000_000_000 + SystemRandom().below(700_000_000_000):012d}"
    return open_url(Functions(tule.client("lambda", account=account)), source, **settings)


@pytest.fixture(scope="module")
def echo_url(tule):
    """A URL for tests that change nothing about it."""
    return _shared(tule, ECHO)


@pytest.fixture(scope="module")
def stream_url(tule):
    return _shared(tule, STREAMER, runtime="nodejs22.x", InvokeMode="RESPONSE_STREAM")


def refusal(action, **parameters):
    with pytest.raises(ClientError) as caught:
        action(**parameters)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


# -- configuration


def test_a_url_is_made_read_changed_listed_and_deleted(functions, tule):
    arn = functions.deploy(ECHO, Timeout=60)
    client = functions.client
    version = client.publish_version(FunctionName="worker")["Version"]
    client.create_alias(FunctionName="worker", Name="live", FunctionVersion=version)

    made = client.create_function_url_config(FunctionName="worker", AuthType="NONE")
    assert re.fullmatch(rf"http://[a-z2-7]{{32}}\.lambda-url\.us-east-1\.localhost:{tule.port}/", made["FunctionUrl"])
    assert made["FunctionArn"] == arn
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["CreationTime"])
    assert "InvokeMode" not in made
    cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET"], "MaxAge": 300, "AllowCredentials": True}
    aliased = client.create_function_url_config(FunctionName="worker", Qualifier="live", AuthType="AWS_IAM", Cors=cors)
    assert (aliased["FunctionArn"], aliased["Cors"]) == (f"{arn}:live", cors)

    changed = client.update_function_url_config(FunctionName="worker", InvokeMode="RESPONSE_STREAM")
    assert (changed["InvokeMode"], changed["AuthType"]) == ("RESPONSE_STREAM", "NONE")
    client.update_function_url_config(FunctionName="worker", AuthType="AWS_IAM")
    got = client.get_function_url_config(FunctionName="worker")
    assert (got["InvokeMode"], got["AuthType"], got["FunctionUrl"]) == (
        "RESPONSE_STREAM", "AWS_IAM", made["FunctionUrl"],
    )  # fmt: skip

    first = client.list_function_url_configs(FunctionName="worker", MaxItems=1)
    rest = client.list_function_url_configs(FunctionName="worker", Marker=first["NextMarker"])
    listed = first["FunctionUrlConfigs"] + rest["FunctionUrlConfigs"]
    assert [url["FunctionArn"] for url in listed] == [arn, f"{arn}:live"]
    client.delete_function_url_config(FunctionName="worker")
    missing = (404, "ResourceNotFoundException", "The resource you requested does not exist.")
    assert refusal(client.get_function_url_config, FunctionName="worker") == missing
    assert refusal(client.delete_function_url_config, FunctionName="worker") == missing


def test_urls_that_can_not_be_are_refused_in_awss_words(functions):
    arn = functions.deploy(ECHO, Timeout=60)
    create = functions.client.create_function_url_config

    assert refusal(create, FunctionName="nobody", AuthType="NONE") == (
        404, "ResourceNotFoundException", "Function does not exist",
    )  # fmt: skip
    constraint = r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
    for qualifier in ("1", "$LATEST"):
        text = f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: "
        named = {"FunctionName": "worker", "Qualifier": qualifier}
        assert refusal(create, AuthType="NONE", **named) == (400, "ValidationException", text + constraint)
        named = {"FunctionName": f"worker:{qualifier}"}
        assert refusal(create, AuthType="NONE", **named) == (400, "ValidationException", text + constraint)
    create(FunctionName="worker", AuthType="NONE")
    status, code, message = refusal(create, FunctionName="worker", AuthType="NONE")
    assert (status, code) == (409, "ResourceConflictException")
    assert message == (
        f"Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists for "
        "this Lambda function"
    )


# -- calls


def test_a_function_gets_the_request_in_format_2(echo_url, tule):
    url = echo_url

    answer = call(
        tule, url, "POST", "/event?a=1&a=2&b=x%20y", b"hello", content_type="text/plain", cookie="k=v; l=w", x_own="yes"
    )

    event = answer.json()
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "$default", "/event")
    assert event["rawQueryString"] == "a=1&a=2&b=x%20y"
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x y"}
    assert event["cookies"] == ["k=v", "l=w"]
    assert (event["body"], event["isBase64Encoded"]) == ("hello", False)
    assert event["headers"]["x-own"] == "yes"
    context = event["requestContext"]
    assert (context["accountId"], context["stage"], context["http"]["method"]) == ("anonymous", "$default", "POST")
    assert context["apiId"] == context["domainPrefix"] == url.split("//")[1].partition(".")[0]
    assert "authorizer" not in context
    assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize(
    ("path", "status", "content_type", "body"),
    [
        ("/text", 200, "application/json", b"just text"),
        ("/list", 200, "application/json", b'["hello", 3, true]'),
        ("/teapot", 418, "application/json", b"short"),
        ("/bytes", 200, "image/png", b"\0\1\2"),
        ("/bad", 502, "application/json", b"Internal Server Error"),
        ("/fail", 502, "application/json", b"Internal Server Error"),
    ],
)
def test_results_become_answers(echo_url, tule, path, status, content_type, body):
    answer = call(tule, echo_url, path=path)

    assert (answer.status, answer.header("content-type"), answer.body) == (status, content_type, body)
    if path == "/teapot":
        assert answer.header("my-header") == "x"
        assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2"]


def test_the_path_form_and_the_request_id(echo_url, tule):
    url_id = echo_url.split("//")[1].partition(".")[0]

    answer = call(tule, tule.url, path=f"/_aws/lambda-url/{url_id}/somewhere?x=1")
    event = call(tule, tule.url, path=f"/_aws/lambda-url/{url_id}/event?x=1").json()

    assert answer.header("x-amzn-requestid") == answer.json()["request_id"]
    assert (event["rawPath"], event["rawQueryString"]) == ("/event", "x=1")


def test_an_aliass_url_leads_to_the_alias(functions, tule):
    arn = functions.deploy(ECHO, Timeout=60)
    client = functions.client
    version = client.publish_version(FunctionName="worker")["Version"]
    client.create_alias(FunctionName="worker", Name="live", FunctionVersion=version)
    named = {"FunctionName": "worker", "Qualifier": "live"}
    url = client.create_function_url_config(AuthType="NONE", **named)["FunctionUrl"]
    let_everybody(client, Qualifier="live")

    assert call(tule, url).json()["arn"] == f"{arn}:live"


def test_what_leads_nowhere_is_forbidden_as_on_aws(tule):
    answer = call(tule, f"http://{'a' * 32}.lambda-url.us-east-1.localhost:{tule.port}/")

    assert (answer.status, answer.body) == (403, b'{"Message":null}')
    assert answer.header("x-amzn-errortype") == "AccessDeniedException"


def test_throttles_are_told(functions, tule):
    url = open_url(functions)
    functions.client.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=0)

    answer = call(tule, url)

    assert (answer.status, answer.header("x-amzn-errortype")) == (429, "TooManyRequestsException")


def test_a_deleted_url_leads_nowhere(functions, tule):
    url = open_url(functions)
    functions.client.delete_function_url_config(FunctionName="worker")
    assert call(tule, url).status == 403

    again = functions.client.create_function_url_config(FunctionName="worker", AuthType="NONE")["FunctionUrl"]
    assert (again != url, call(tule, again).status) == (True, 200)
    functions.client.delete_function(FunctionName="worker")
    assert call(tule, again).status == 403


# -- callers


def test_without_a_permission_nobody_may_call(functions, tule):
    functions.deploy(ECHO, Timeout=60)
    url = functions.client.create_function_url_config(FunctionName="worker", AuthType="NONE")["FunctionUrl"]

    answer = call(tule, url)

    assert answer.status == 403
    assert answer.json()["Message"].startswith("Forbidden. For troubleshooting Function URL authorization issues, see:")
    let_everybody(functions.client)
    assert call(tule, url).status == 200
    functions.client.remove_permission(FunctionName="worker", StatementId="url")
    assert call(tule, url).status == 403


def signed(tule, url, keys, path="/event", *, service="lambda", secret="", body=b"{}"):
    credentials = Credentials(keys["aws_access_key_id"], secret or keys["aws_secret_access_key"], keys.get("token"))
    target = url.rstrip("/") + path
    request = AWSRequest("POST", target, data=body, headers={"content-type": "application/json"})
    SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
    return call(tule, url, "POST", path, body, **headers)


@pytest.fixture
def user(tule, fresh_account):
    """A user with a key that Tule minted."""
    iam = tule.client("iam", account=fresh_account)
    iam.create_user(UserName="caller")
    key = iam.create_access_key(UserName="caller")["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def test_with_aws_iam_the_signature_is_verified_and_the_caller_told(functions, tule, user, fresh_account):
    functions.deploy(ECHO, Timeout=60)
    url = functions.client.create_function_url_config(FunctionName="worker", AuthType="AWS_IAM")["FunctionUrl"]

    event = signed(tule, url, user).json()

    assert event["requestContext"]["accountId"] == fresh_account
    iam = event["requestContext"]["authorizer"]["iam"]
    assert iam["userArn"] == f"arn:aws:iam::{fresh_account}:user/caller"
    assert (iam["accessKey"], iam["accountId"]) == (user["aws_access_key_id"], fresh_account)
    assert (call(tule, url).status, call(tule, url).json()) == (403, {"Message": "Forbidden"})
    forged = signed(tule, url, user, secret="wrong")
    assert forged.status == 403
    assert "signature we calculated does not match" in forged.json()["Message"]
    assert signed(tule, url, user, service="execute-api").status == 403


def test_a_caller_of_another_account_needs_a_statement(functions, tule, fresh_account):
    functions.deploy(ECHO, Timeout=60)
    url = functions.client.create_function_url_config(FunctionName="worker", AuthType="AWS_IAM")["FunctionUrl"]
    other = {"aws_access_key_id": f"{(int(fresh_account) + 7) % 10**12:012d}", "aws_secret_access_key": "any"}

    assert signed(tule, url, other).status == 403
    functions.client.add_permission(
        FunctionName="worker", StatementId="other", Action="lambda:InvokeFunctionUrl",
        Principal=other["aws_access_key_id"], FunctionUrlAuthType="AWS_IAM",
    )  # fmt: skip
    assert signed(tule, url, other).status == 200


def test_where_every_signature_is_verified_unknown_keys_are_refused(functions_of):
    with Tule(verify_signatures=True) as running:
        functions = functions_of(running)
        functions.client = running.client("lambda", **running.root_keys())
        functions.deploy(ECHO, Timeout=60)
        url = functions.client.create_function_url_config(FunctionName="worker", AuthType="AWS_IAM")["FunctionUrl"]

        stranger = {"aws_access_key_id": "111122223333", "aws_secret_access_key": "any"}
        assert signed(running, url, stranger).status == 403
        assert signed(running, url, running.root_keys()).status == 200


# -- CORS


CORS = {
    "AllowOrigins": ["https://page.example"],
    "AllowMethods": ["GET", "POST"],
    "AllowHeaders": ["x-own"],
    "ExposeHeaders": ["my-header"],
    "MaxAge": 600,
    "AllowCredentials": True,
}


def test_preflights_are_answered_by_the_url(functions, tule):
    url = open_url(functions, Cors=CORS)

    answer = call(tule, url, "OPTIONS", origin="https://page.example", access_control_request_method="POST")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("access-control-allow-origin") == "https://page.example"
    assert answer.header("access-control-allow-methods") == "GET,POST"
    assert answer.header("access-control-allow-headers") == "x-own"
    assert answer.header("access-control-max-age") == "600"
    assert answer.header("access-control-allow-credentials") == "true"
    stranger = call(tule, url, "OPTIONS", origin="https://evil.example", access_control_request_method="POST")
    assert stranger.header("access-control-allow-origin") is None


def test_answers_say_which_pages_may_read_them(functions, tule):
    url = open_url(functions, Cors=CORS)

    answer = call(tule, url, origin="https://page.example")

    assert answer.header("access-control-allow-origin") == "https://page.example"
    assert answer.header("access-control-expose-headers") == "my-header"
    assert answer.header("vary") == "Origin"
    assert call(tule, url, origin="https://evil.example").header("access-control-allow-origin") is None
    functions.client.update_function_url_config(FunctionName="worker", Cors={"AllowOrigins": ["*"]})
    assert call(tule, url, origin="https://any.example").header("access-control-allow-origin") == "*"


# -- streams


def chunks(tule, url, path):
    """The answer's head and its chunks, one by one as they are received."""
    connection = http.client.HTTPConnection("127.0.0.1", tule.port, timeout=60)
    connection.request("GET", path, headers={"Host": url.split("//")[1].rstrip("/")})
    response = connection.getresponse()
    received = []
    try:
        while piece := response.read1(65_536):
            received.append(piece)
    finally:
        connection.close()
    return Answer(response, b"".join(received)), received


def test_a_stream_begins_with_status_headers_and_cookies_and_comes_piece_by_piece(stream_url, tule):
    answer, received = chunks(tule, stream_url, "/")

    assert answer.status == 201
    assert (answer.header("content-type"), answer.header("x-own")) == ("text/html", "yes")
    assert answer.header("set-cookie") == "c=1"
    assert answer.body == b"part 0;part 1;part 2;"
    assert received[0] == b"part 0;"


@pytest.mark.parametrize(("path", "kind"), [("/plain", "text/plain"), ("/bare", "application/octet-stream")])
def test_a_stream_without_a_prelude_is_the_body(stream_url, tule, path, kind):
    answer, _ = chunks(tule, stream_url, path)

    assert (answer.status, answer.header("content-type")) == (200, kind)
    assert answer.body == b"part 0;part 1;part 2;"


def test_a_function_that_breaks_off_breaks_off_its_answer(stream_url, tule):
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        chunks(tule, stream_url, "/broken")


def test_a_stream_is_gathered_where_the_url_is_buffered(functions, tule):
    url = open_url(functions, STREAMER, runtime="nodejs22.x")

    answer = call(tule, url)

    assert (answer.status, answer.header("x-own"), answer.body) == (201, "yes", b"part 0;part 1;part 2;")


def test_a_function_that_does_not_stream_answers_a_streaming_url_as_it_is(functions, tule):
    url = open_url(functions, InvokeMode="RESPONSE_STREAM")

    answer = call(tule, url, path="/teapot")

    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.json()["statusCode"] == "418"
    assert call(tule, url, path="/fail").status == 502


# -- stacks


def test_a_stack_has_urls_and_rules_for_events(functions, tule, fresh_account):
    template = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Dead": {"Type": "AWS::SQS::Queue"},
            "Worker": {
                "Type": "AWS::Serverless::Function",
                "Properties": {
                    "Runtime": "python3.13",
                    "Handler": "index.handler",
                    "InlineCode": "def handler(event, context):\n    return {'path': event['rawPath']}\n",
                    "FunctionUrlConfig": {"AuthType": "NONE", "Cors": {"AllowOrigins": ["*"], "MaxAge": 60}},
                    "EventInvokeConfig": {
                        "MaximumRetryAttempts": 1,
                        "MaximumEventAgeInSeconds": 600,
                        "DestinationConfig": {
                            "OnFailure": {"Type": "SQS", "Destination": {"Fn::GetAtt": ["Dead", "Arn"]}}
                        },
                    },
                },
            },
        },
        "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["WorkerUrl", "FunctionUrl"]}}},
    }
    stacks = tule.client("cloudformation", account=fresh_account)
    stacks.create_stack(
        StackName="urls", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    )
    stacks.get_waiter("stack_create_complete").wait(StackName="urls", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})

    (stack,) = stacks.describe_stacks(StackName="urls")["Stacks"]
    (output,) = stack["Outputs"]
    assert call(tule, output["OutputValue"], path="/from/a/stack").json() == {"path": "/from/a/stack"}
    resources = stacks.describe_stack_resources(StackName="urls")["StackResources"]
    name = next(one["PhysicalResourceId"] for one in resources if one["LogicalResourceId"] == "Worker")
    config = functions.client.get_function_event_invoke_config(FunctionName=name)
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (1, 600)
    assert config["DestinationConfig"]["OnFailure"]["Destination"].startswith("arn:aws:sqs:")
    assert functions.client.get_function_url_config(FunctionName=name)["Cors"]["MaxAge"] == 60
    stacks.delete_stack(StackName="urls")
    stacks.get_waiter("stack_delete_complete").wait(StackName="urls", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    assert call(tule, output["OutputValue"]).status == 403
