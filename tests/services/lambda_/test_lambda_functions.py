"""The life of a function through boto3: create, read, list, update, delete, and what AWS refuses."""

import base64
import hashlib
import io
import json
import shutil
import urllib.error
import urllib.request
import zipfile

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tule.testing.server import Tule

ROLE = "arn:aws:iam::111122223333:role/worker"


def package(source="def handler(event, context):\n    return event\n", name="app.py"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, source)
    return buffer.getvalue()


CODE = package()


@pytest.fixture
def client(tule, fresh_account):
    return tule.client("lambda", account=fresh_account, config=Config(parameter_validation=False))


def create(client, name="worker", **changes):
    settings = {
        "FunctionName": name,
        "Runtime": "python3.13",
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": CODE},
    }
    return client.create_function(**{**settings, **changes})


def active(client, name="worker", **changes):
    create(client, name, **changes)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02})
    return client.get_function(FunctionName=name)["Configuration"]


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def test_a_created_function_is_pending_and_then_active(client, fresh_account):
    made = create(client, Description="d", Environment={"Variables": {"KEY": "v"}}, Tags={"team": "a"})

    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
    client.get_waiter("function_active_v2").wait(FunctionName="worker", WaiterConfig={"Delay": 0.02})
    found = client.get_function(FunctionName="worker")
    configuration = found["Configuration"]
    assert configuration["FunctionArn"] == f"arn:aws:lambda:us-east-1:{fresh_account}:function:worker"
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
    assert (configuration["Timeout"], configuration["MemorySize"], configuration["Version"]) == (3, 128, "$LATEST")
    assert configuration["CodeSha256"] == base64.b64encode(hashlib.sha256(CODE).digest()).decode()
    assert configuration["CodeSize"] == len(CODE)
    assert configuration["Environment"] == {"Variables": {"KEY": "v"}}
    assert configuration["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/worker"}
    assert found["Tags"] == {"team": "a"}


def test_last_modified_has_lambdas_own_form(client):
    assert len(create(client)["LastModified"]) == len("2026-11-21T12:00:00.123+0000")


def test_the_codes_location_gives_the_package(client):
    create(client)

    location = client.get_function(FunctionName="worker")["Code"]["Location"]

    with urllib.request.urlopen(location) as answer:
        assert answer.read() == CODE
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(location.replace("Signature=", "Signature=0"))


def test_a_name_can_be_taken_once(client):
    create(client)

    assert refusal(lambda: create(client)) == ("ResourceConflictException", 409, "Function already exist: worker")


def test_functions_are_listed_in_pages_by_name(client):
    for name in ("c", "a", "b"):
        create(client, name)

    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))

    assert [[f["FunctionName"] for f in page["Functions"]] for page in pages] == [["a", "b"], ["c"]]


def test_a_function_answers_to_its_name_and_arns(client, fresh_account):
    arn = active(client)["FunctionArn"]

    for name in ("worker", f"{fresh_account}:function:worker", arn):
        assert client.get_function_configuration(FunctionName=name)["FunctionArn"] == arn
    for name, qualifier in (("worker:$LATEST", {}), (f"{arn}:$LATEST", {}), ("worker", {"Qualifier": "$LATEST"})):
        found = client.get_function_configuration(FunctionName=name, **qualifier)
        assert found["FunctionArn"] == f"{arn}:$LATEST"


def test_names_that_lead_elsewhere_are_told_so(client, fresh_account):
    prefix = f"arn:aws:lambda:us-east-1:{fresh_account}:function"
    active(client)

    def get(name, **more):
        return refusal(lambda: client.get_function(FunctionName=name, **more))

    assert get("nobody") == ("ResourceNotFoundException", 404, f"Function not found: {prefix}:nobody")
    assert get("worker", Qualifier="7") == ("ResourceNotFoundException", 404, f"Function not found: {prefix}:worker:7")
    assert get(f"arn:aws:lambda:eu-west-1:{fresh_account}:function:worker") == (
        "ResourceNotFoundException",
        404,
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    )
    assert get("worker:1", Qualifier="2") == (
        "InvalidParameterValueException",
        400,
        "The derived qualifier from the function name does not match the specified qualifier.",
    )
    assert get("arn:aws:lambda:us-east-1:999999999999:function:worker")[:2] == ("AccessDeniedException", 403)


def test_code_and_configuration_can_be_updated(client):
    before = active(client)
    other = package("def handler(event, context):\n    return 2\n")

    updated = client.update_function_code(FunctionName="worker", ZipFile=other)
    assert updated["LastUpdateStatus"] == "InProgress"
    client.get_waiter("function_updated_v2").wait(FunctionName="worker", WaiterConfig={"Delay": 0.02})
    client.update_function_configuration(FunctionName="worker", Timeout=9, MemorySize=512, Description="new")
    client.get_waiter("function_updated_v2").wait(FunctionName="worker", WaiterConfig={"Delay": 0.02})

    after = client.get_function_configuration(FunctionName="worker")
    assert (after["Timeout"], after["MemorySize"], after["Description"]) == (9, 512, "new")
    assert after["CodeSize"] == len(other)
    assert after["CodeSha256"] != before["CodeSha256"]
    assert after["RevisionId"] != before["RevisionId"]


def test_a_dry_run_changes_nothing(client):
    before = active(client)

    answer = client.update_function_code(FunctionName="worker", ZipFile=package("x = 1\n"), DryRun=True)

    assert answer["CodeSha256"] != before["CodeSha256"]
    assert client.get_function_configuration(FunctionName="worker")["CodeSha256"] == before["CodeSha256"]


def test_an_old_revision_is_a_failed_precondition(client):
    active(client)

    code, status, message = refusal(
        lambda: client.update_function_configuration(FunctionName="worker", Timeout=5, RevisionId="old")
    )

    assert (code, status) == ("PreconditionFailedException", 412)
    assert message == (
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
    )


def test_a_deleted_function_is_gone(client):
    active(client)

    client.delete_function(FunctionName="worker")

    assert refusal(lambda: client.get_function(FunctionName="worker"))[0] == "ResourceNotFoundException"
    assert refusal(lambda: client.delete_function(FunctionName="worker"))[0] == "ResourceNotFoundException"
    assert client.list_functions()["Functions"] == []


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"Timeout": 901}, "ValidationException", "less than or equal to 900"),
        ({"MemorySize": 20_000}, "ValidationException", "less than or equal to 10240"),
        ({"MemorySize": 64}, "ValidationException", "greater than or equal to 128"),
        ({"Role": "r1"}, "ValidationException", "Value 'r1' at 'role' failed to satisfy constraint"),
        (
            {"Runtime": "go1.x"},
            "InvalidParameterValueException",
            "The runtime parameter of go1.x is no longer supported for creating or updating AWS Lambda functions.",
        ),
        (
            {"Runtime": "cobol"},
            "InvalidParameterValueException",
            "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, ",
        ),
        (
            {"LoggingConfig": {"LogFormat": "Text", "ApplicationLogLevel": "INFO"}},
            "InvalidParameterValueException",
            "To specify a log level, you must use the JSON log format.",
        ),
        (
            {"Code": {"ZipFile": b"no zip"}},
            "InvalidParameterValueException",
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        ({"Code": {}}, "InvalidParameterValueException", "Please provide a source for function code."),
        (
            {"Environment": {"Variables": {"A_B": "x" * 4096}}},
            "InvalidParameterValueException",
            'exceeded the 4KB limit. String measured: {"A_B":"xxx',
        ),
        (
            {"Environment": {"Variables": {"AWS_REGION": "x"}}},
            "InvalidParameterValueException",
            "Reserved keys used in this request: AWS_REGION",
        ),
        (
            {"Architectures": ["x86_64", "arm64"]},
            "ValidationException",
            "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less",
        ),
        (
            {"Code": {"S3Bucket": "no-such-bucket-here", "S3Key": "k"}},
            "InvalidParameterValueException",
            (
                "Error occurred while GetObject. S3 Error Code: NoSuchBucket. "
                "S3 Error Message: The specified bucket does not exist"
            ),
        ),
    ],
)
def test_what_aws_refuses_is_refused_in_its_words(client, changes, code, message):
    told = refusal(lambda: create(client, **changes))

    assert (told[0], told[1]) == (code, 400)
    assert message in told[2]
    assert client.list_functions()["Functions"] == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PackageType": "Image", "Code": {"ImageUri": "x"}}, "Image"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "VpcConfig"),
        ({"Runtime": "java8.al2"}, "java8.al2"),
        ({"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}, "TenancyConfig"),
    ],
)
def test_what_tule_does_not_honour_is_refused_by_name(client, changes, named):
    code, status, message = refusal(lambda: create(client, **changes))

    assert (code, status) == ("NotImplemented", 501)
    assert named in message


def test_an_empty_vpc_config_is_no_vpc(client):
    assert create(client, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})["FunctionName"] == "worker"


def test_packages_come_from_buckets(tule, client, fresh_account):
    s3 = tule.client("s3", account=fresh_account)
    bucket = f"packages-{fresh_account}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="code/app.zip", Body=CODE)

    made = create(client, Code={"S3Bucket": bucket, "S3Key": "code/app.zip"})

    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(CODE).digest()).decode()
    told = refusal(lambda: create(client, "other", Code={"S3Bucket": bucket, "S3Key": "gone"}))
    assert told[2].startswith("Error occurred while GetObject. S3 Error Code: NoSuchKey.")


def test_tags_are_added_removed_and_listed(client):
    arn = active(client, Tags={"a": "1"})["FunctionArn"]

    client.tag_resource(Resource=arn, Tags={"b": "2", "c": "3"})
    client.untag_resource(Resource=arn, TagKeys=["a", "c"])

    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    assert refusal(lambda: client.list_tags(Resource=f"{arn}x"))[2] == f"Function not found: {arn}x"
    assert refusal(lambda: client.tag_resource(Resource=arn, Tags={f"k{i}": "v" for i in range(51)}))[2] == (
        "Number of tags exceeds resource tag limit."
    )


def test_permissions_make_a_policy(client):
    arn = active(client)["FunctionArn"]

    answer = client.add_permission(
        FunctionName="worker",
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn="arn:aws:execute-api:us-east-1:111122223333:abc/*",
    )

    statement = {
        "Sid": "api",
        "Effect": "Allow",
        "Principal": {"Service": "apigateway.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn,
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:execute-api:us-east-1:111122223333:abc/*"}},
    }
    assert json.loads(answer["Statement"]) == statement
    assert json.loads(client.get_policy(FunctionName="worker")["Policy"]) == {
        "Version": "2012-10-17",
        "Id": "default",
        "Statement": [statement],
    }
    again = refusal(
        lambda: client.add_permission(
            FunctionName="worker", StatementId="api", Action="lambda:InvokeFunction", Principal="*"
        )
    )
    assert again[:2] == ("ResourceConflictException", 409)
    client.remove_permission(FunctionName="worker", StatementId="api")
    assert refusal(lambda: client.get_policy(FunctionName="worker"))[0] == "ResourceNotFoundException"


def test_reserved_concurrency_must_leave_a_hundred(client):
    active(client)

    client.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=900)

    assert client.get_function_concurrency(FunctionName="worker")["ReservedConcurrentExecutions"] == 900
    assert client.get_function(FunctionName="worker")["Concurrency"] == {"ReservedConcurrentExecutions": 900}
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    told = refusal(lambda: client.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=901))
    assert told[2] == (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        "below its minimum value of [100]."
    )
    client.delete_function_concurrency(FunctionName="worker")
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="worker")


def test_what_is_not_built_says_so(client):
    active(client)

    told = refusal(lambda: client.list_durable_executions_by_function(FunctionName="worker"))
    assert told[:2] == ("NotImplemented", 501)


def test_deploy_tools_may_ask_what_they_always_ask(client):
    arn = active(client)["FunctionArn"]

    assert client.get_function_code_signing_config(FunctionName="worker")["CodeSigningConfigArn"] == ""
    assert client.get_runtime_management_config(FunctionName="worker")["UpdateRuntimeOn"] == "Auto"
    assert client.get_function_recursion_config(FunctionName="worker")["RecursiveLoop"] == "Terminate"
    versions = client.list_versions_by_function(FunctionName="worker")["Versions"]
    assert [version["FunctionArn"] for version in versions] == [f"{arn}:$LATEST"]


def test_a_package_is_not_blamed_for_what_is_wrong_with_the_host():
    with Tule() as broken:
        client = broken.client("lambda", config=Config(retries={"total_max_attempts": 1}))
        (packages,) = broken.directory.glob("**/packages")
        shutil.rmtree(packages)

        told = refusal(lambda: create(client))

        assert told[:2] == ("ServiceException", 500)
        assert "FileNotFoundError" in told[2]
        packages.mkdir()
        assert create(client)["State"] == "Pending"
