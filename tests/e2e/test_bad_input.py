"""Whatever strangers send: AWS's own error, and a store that is as it was."""

import gzip
import http.client
import io
import json
import urllib.error
import urllib.request
import zipfile
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tule.testing.server import Tule

ACCOUNT = "000000000000"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def house():
    """A Tule of its own, so that its digest changes only by what is sent here."""
    with Tule() as running:
        running.client("sqs").create_queue(QueueName="q")
        running.client("s3").create_bucket(Bucket="bucket")
        # A service's first call is noted in the store, so that the next process resumes it.
        running.client("lambda").list_functions()
        running.client("cloudformation").list_stacks()
        running.client("iam").list_roles()
        yield running


@pytest.fixture
def unchanged(house):
    """Fails when the test changed anything that is stored."""
    before = house.digest()
    yield
    assert house.digest() == before


def scope(service):
    credential = f"{ACCOUNT}/20260101/us-east-1/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=00"


def send(house, body, headers, method="POST", path="/"):
    """The bytes as they are, with what a client would say of itself."""
    parts = urlsplit(house.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, dict(answer.getheaders()), text


def json_call(house, body, target, version="1.0", service="sqs"):
    headers = {
        "X-Amz-Target": target,
        "Content-Type": f"application/x-amz-json-{version}",
        "Authorization": scope(service),
    }
    return send(house, body, headers)


def code_of(text):
    return json.loads(text)["__type"].rpartition("#")[2]


QUEUE = f'"QueueUrl":"http://localhost/{ACCOUNT}/q"'

JSON_CASES = {
    "no JSON": (b"{", "SerializationException"),
    "a list": (b"[1]", "SerializationException"),
    "text": (b'"x"', "SerializationException"),
    "bad UTF-8": (b'{"QueueUrl":"\xff\xfe"}', "SerializationException"),
    "a number for a text": (b'{"QueueUrl":5,"MessageBody":"x"}', "SerializationException"),
    "a list for a text": (b'{"QueueUrl":["x"],"MessageBody":"x"}', "SerializationException"),
    "a text for a number": (f'{{{QUEUE},"MessageBody":"x","DelaySeconds":"soon"}}'.encode(), "SerializationException"),
    "a text for a map": (f'{{{QUEUE},"MessageBody":"x","MessageAttributes":"a"}}'.encode(), "SerializationException"),
    "deep nesting": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "SerializationException"),
}


@pytest.mark.parametrize("name", JSON_CASES)
@pytest.mark.usefixtures("unchanged")
def test_json_that_is_none_or_of_the_wrong_shape(house, name):
    body, code = JSON_CASES[name]
    status, _, text = json_call(house, body, "AmazonSQS.SendMessage")
    assert (status, code_of(text)) == (400, code)


@pytest.mark.usefixtures("unchanged")
def test_a_missing_member_is_named(house):
    status, _, text = json_call(house, f"{{{QUEUE}}}", "AmazonSQS.SendMessage")
    assert (status, code_of(text)) == (400, "MissingParameter")
    assert "The request must contain the parameter MessageBody." in text


def test_an_unknown_member_is_ignored_as_on_aws(house):
    status, _, _ = json_call(house, f'{{{QUEUE},"MessageBody":"x","Colour":"red"}}', "AmazonSQS.SendMessage")
    assert status == 200


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("AmazonSQS.Unknown", 400, "UnknownOperationException"),
        ("Nobody.Knows", 400, "UnknownOperationException"),
        ("AmazonSQS.StartMessageMoveTask", 501, "NotImplemented"),
    ],
)
def test_an_operation_that_is_not_there(house, target, status, code):
    got, _, text = json_call(house, "{}", target)
    assert (got, code_of(text)) == (status, code)


@pytest.mark.usefixtures("unchanged")
def test_a_service_that_is_not_there_says_so_by_name(house):
    with pytest.raises(ClientError) as caught:
        house.client("kinesis").list_streams()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "kinesis" in caught.value.response["Error"]["Message"]


@pytest.mark.usefixtures("unchanged")
def test_a_query_of_nothing(house):
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": scope("iam")}
    status, _, text = send(house, b"Action=Nonsense&Version=2010-05-08", headers)
    assert status == 400
    assert "<Code>InvalidAction</Code>" in text


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete>",
        b"not xml",
        b"<a><b></a></b>",
        b"\xff<Delete/>",
        b"<!DOCTYPE x [<!ENTITY e 'x'>]><Delete>&e;</Delete>",
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_xml_that_is_none(house, body):
    status, _, text = send(house, body, {"Authorization": scope("s3")}, path="/bucket?delete")
    assert (status, "<Code>MalformedXML</Code>" in text) == (400, True)


@pytest.mark.usefixtures("unchanged")
def test_a_message_too_large(house):
    with pytest.raises(ClientError) as caught:
        house.client("sqs").send_message(QueueUrl=f"{house.url}/{ACCOUNT}/q", MessageBody="x" * (MIB + 1))
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"


@pytest.mark.usefixtures("unchanged")
def test_a_body_too_large_for_anything(house):
    parts = urlsplit(house.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(10 * 1024 * MIB))
    connection.putheader("Authorization", scope("sqs"))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.usefixtures("unchanged")
def test_a_wrong_signature_of_a_known_key(house):
    keys = house.root_keys()
    request = AWSRequest("POST", house.url, data=f'{{{QUEUE},"MessageBody":"x"}}')
    request.headers["X-Amz-Target"] = "AmazonSQS.SendMessage"
    request.headers["Content-Type"] = "application/x-amz-json-1.0"
    SigV4Auth(Credentials(keys["aws_access_key_id"], "forged"), "sqs", "us-east-1").add_auth(request)
    status, _, text = send(house, request.data, dict(request.headers))
    assert (status, code_of(text)) == (400, "InvalidSignatureException")


@pytest.mark.usefixtures("unchanged")
def test_an_expired_presigned_url(house, monkeypatch):
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: long_ago)
    keys = house.root_keys()
    s3 = house.client("s3", config=Config(signature_version="s3v4"), **keys)
    url = s3.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "k"}, ExpiresIn=60)
    request = urllib.request.Request(url, b"late", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    text = caught.value.read().decode()
    assert (caught.value.code, "<Code>AccessDenied</Code>" in text, "Request has expired" in text) == (403, True, True)


def zipped(entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


PACKAGES = {
    "a climbing path": (zipped({"../../outside.py": "x"}), "InvalidParameterValueException"),
    "an absolute path": (zipped({"/etc/outside.py": "x"}), "InvalidParameterValueException"),
    "a bomb": (zipped({f"zeros-{n}": bytes(100 * MIB) for n in range(3)}), "InvalidParameterValueException"),
    "no zip": (b"not a zip", "InvalidParameterValueException"),
    "another archive": (gzip.compress(b"x"), "InvalidParameterValueException"),
}


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.usefixtures("unchanged")
def test_a_package_that_is_a_trap(house, name):
    package, code = PACKAGES[name]
    with pytest.raises(ClientError) as caught:
        house.client("lambda").create_function(
            FunctionName="trap",
            Runtime="python3.12",
            Role=f"arn:aws:iam::{ACCOUNT}:role/r",
            Handler="app.handler",
            Code={"ZipFile": package},
        )
    assert caught.value.response["Error"]["Code"] == code


TEMPLATES = {
    "a cycle": {
        "A": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::GetAtt": ["B", "QueueName"]}}},
        "B": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::GetAtt": ["A", "QueueName"]}}},
    },
    "an unknown function": {"A": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Guess": "x"}}}},
    "an unknown type": {"A": {"Type": "AWS::Imaginary::Thing"}},
    "an unknown property": {"A": {"Type": "AWS::SQS::Queue", "Properties": {"Colour": "red"}}},
    "an unknown reference": {"A": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "Nobody"}}}},
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.usefixtures("unchanged")
def test_a_template_that_makes_no_sense(house, name):
    with pytest.raises(ClientError) as caught:
        house.client("cloudformation").create_stack(
            StackName="nonsense", TemplateBody=json.dumps({"Resources": TEMPLATES[name]})
        )
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_the_house_still_stands(house):
    assert house.client("sqs").get_queue_attributes(QueueUrl=f"{house.url}/{ACCOUNT}/q", AttributeNames=["All"])
