"""`*.amazonaws.com` inside functions: clients that know no AWS_ENDPOINT_URL reach Tule all the same."""

from pathlib import Path

import pytest

import function_packages
from function_account import Account

SOURCES = Path(__file__).parent / "functions"


@pytest.fixture
def account(tule, fresh_account):
    return Account(tule, fresh_account)


@pytest.fixture
def create(account):
    """Makes functions that are called by name of argument."""

    def create(name, files, handler, runtime, **environment):
        account.create(name, files, handler, runtime, **environment)

        def invoke(**event):
            told, failed = account.invoke(name, event)
            assert failed is None, told
            return told

        return invoke

    return create


@pytest.fixture
def boto(create):
    source = (SOURCES / "names.py").read_text()
    return create("names", {"app.py": source}, "app.handler", "python3.11", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")


@pytest.mark.parametrize("sdk", ["aws-sdk", "aws-sdk-query"])
def test_the_javascript_sdk_v2_works_unmodified(account, create, fresh_account, sdk):
    """Its last version, and one that still speaks query to SQS."""
    account.table("things")
    files = {"app.js": SOURCES / "sdk_v2.js", **function_packages.modules(sdk)}
    bucket = f"v2-{fresh_account}-{len(sdk)}"
    invoke = create("v2", files, "app.handler", "nodejs20.x", SDK=sdk, TABLE="things", BUCKET=bucket)
    assert invoke(step="sqs") == {
        "QueueUrl": f"https://sqs.us-east-1.amazonaws.com/{fresh_account}/v2",
        "body": "hello",
        "same": True,
        "missing": "AWS.SimpleQueueService.NonExistentQueue",
    }
    assert invoke(step="dynamodb") == {"updated": {"id": "a", "tags": ["x"], "n": 2.5}, "items": 1}
    assert invoke(step="s3") == {"body": "content", "keys": ["a b/c.txt"], "missing": "NoSuchKey"}
    assert invoke(step="lambda") == {"echo": 7}
    assert invoke(step="elsewhere") == f"https://sqs.eu-west-3.amazonaws.com/{fresh_account}/far"
    assert invoke(step="who").startswith(f"arn:aws:sts::{fresh_account}:assumed-role/of-tests/")


def test_boto3_that_ignores_endpoints_works(boto, fresh_account):
    url = f"https://sqs.us-east-1.amazonaws.com/{fresh_account}/names"
    assert boto(do="sqs") == {"endpoint": "https://sqs.us-east-1.amazonaws.com", "url": url, "body": "hello"}
    assert boto(do="s3", bucket=f"names-{fresh_account}") == "x"
    assert boto(do="who").startswith(f"arn:aws:sts::{fresh_account}:assumed-role/of-tests/")


def test_every_name_of_aws_leads_to_one_address(boto):
    names = ("queue.amazonaws.com", "a.b.c.us-west-2.amazonaws.com", "lambda.eu-central-1.api.aws", "x.on.aws")
    addresses = {boto(do="address", name=name) for name in names}
    assert len(addresses) == 1
    assert addresses.pop().startswith("127.84.85.")


def test_the_admin_api_has_no_name_of_aws(boto, tule):
    code, body = boto(do="status", url="https://sqs.us-east-1.amazonaws.com/_tule/v1/status")
    assert code in (403, 404)
    assert tule.token not in body


def test_functions_see_certificates_and_no_keys(boto, tule):
    seen = boto(do="files", folder="/var/runtime")
    certificates = {Path(path).name for path in seen if path.endswith(".pem")}
    assert certificates == {"ca-cert.pem", "ca-bundle.pem", "cacert.pem"}, "the last is botocore's own"
    assert (tule.directory / "tls" / "ca-key.pem").is_file()
    assert boto(do="files", folder=str(tule.directory)) == []
