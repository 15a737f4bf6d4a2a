"""Invoke with real functions."""

import base64
import json

import pytest
from botocore.exceptions import ClientError
from patience import eventually

ECHO = "def handler(event, context):\n    return event\n"


def answer(response):
    return json.loads(response["Payload"].read())


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


@pytest.mark.parametrize(
    ("runtime", "source"),
    [("python3.13", ECHO), ("nodejs22.x", "export const handler = async (event) => event;\n")],
)
def test_a_function_answers(functions, runtime, source):
    functions.deploy(source, runtime=runtime)

    response = functions.client.invoke(FunctionName="worker", Payload=b'{"a": "\xc3\xa9"}')

    assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in response
    assert answer(response) == {"a": "é"}


def test_no_payload_is_an_empty_event(functions):
    functions.deploy(ECHO)

    assert answer(functions.client.invoke(FunctionName="worker")) == {}


def test_the_context_is_the_functions_own(functions, fresh_account):
    arn = functions.deploy(
        """
        import os

        def handler(event, context):
            return {
                "arn": context.invoked_function_arn,
                "name": context.function_name,
                "version": context.function_version,
                "memory": context.memory_limit_in_mb,
                "request": context.aws_request_id,
                "client": context.client_context.custom if context.client_context else None,
                "env": os.environ["COLOUR"],
                "region": os.environ["AWS_REGION"],
            }
        """,
        MemorySize=256,
        Environment={"Variables": {"COLOUR": "red"}},
    )
    client_context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()

    response = functions.client.invoke(FunctionName="worker", ClientContext=client_context)

    seen = answer(response)
    assert seen.pop("request") == response["ResponseMetadata"]["RequestId"]
    assert str(seen.pop("memory")) == "256"
    assert seen == {
        "arn": arn,
        "name": "worker",
        "version": "$LATEST",
        "client": {"k": "v"},
        "env": "red",
        "region": "us-east-1",
    }


def test_a_failure_is_told_with_its_type(functions):
    functions.deploy("def handler(event, context):\n    raise KeyError('missing')\n")

    response = functions.client.invoke(FunctionName="worker")

    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    told = answer(response)
    assert (told["errorType"], told["errorMessage"]) == ("KeyError", "'missing'")


def test_a_function_that_takes_too_long_is_ended(functions):
    functions.deploy("import time\n\ndef handler(event, context):\n    time.sleep(30)\n", Timeout=1)

    response = functions.client.invoke(FunctionName="worker")

    told = answer(response)
    assert response["FunctionError"] == "Unhandled"
    assert told["errorType"] == "Sandbox.Timedout"
    assert told["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")


def test_the_tail_has_the_output_between_start_and_report(functions):
    functions.deploy("def handler(event, context):\n    print('hello tail')\n")

    response = functions.client.invoke(FunctionName="worker", LogType="Tail")

    lines = base64.b64decode(response["LogResult"]).decode().splitlines()
    request_id = response["ResponseMetadata"]["RequestId"]
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert "hello tail" in lines
    assert any(line.startswith(f"REPORT RequestId: {request_id}") for line in lines)


def logged(logs, until):
    """All messages of the function's log, once one of them has `until` in it."""

    def look():
        if not logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/worker")["logGroups"]:
            return None
        found = logs.filter_log_events(logGroupName="/aws/lambda/worker")["events"]
        messages = [event["message"] for event in found]
        return messages if any(until in message for message in messages) else None

    return eventually(f"{until} in the log", look)


def test_output_becomes_a_log_stream(tule, functions, fresh_account):
    functions.deploy("def handler(event, context):\n    print('hello logs')\n")
    functions.client.invoke(FunctionName="worker")
    logs = tule.client("logs", account=fresh_account)

    messages = logged(logs, "REPORT")

    assert any("hello logs" in message for message in messages)
    stream = logs.describe_log_streams(logGroupName="/aws/lambda/worker")["logStreams"][0]["logStreamName"]
    assert "/[$LATEST]" in stream


def test_new_code_serves_as_soon_as_it_is_answered(functions):
    functions.deploy("def handler(event, context):\n    return 1\n")
    assert answer(functions.client.invoke(FunctionName="worker")) == 1

    functions.replace("def handler(event, context):\n    return 2\n")

    assert answer(functions.client.invoke(FunctionName="worker")) == 2


def test_new_configuration_reaches_new_instances(functions):
    functions.deploy("import os\n\ndef handler(event, context):\n    return os.environ.get('COLOUR')\n")
    assert answer(functions.client.invoke(FunctionName="worker")) is None

    functions.client.update_function_configuration(FunctionName="worker", Environment={"Variables": {"COLOUR": "blue"}})

    assert answer(functions.client.invoke(FunctionName="worker")) == "blue"


def test_a_dry_run_runs_nothing(functions):
    functions.deploy(ECHO)

    response = functions.client.invoke(FunctionName="worker", InvocationType="DryRun")

    assert (response["StatusCode"], response["Payload"].read()) == (204, b"")


def test_the_roles_credentials_are_the_functions_identity(functions, fresh_account):
    role = f"arn:aws:iam::{fresh_account}:role/service-role/orders"
    functions.deploy(
        """
        import boto3

        def handler(event, context):
            return boto3.client("sts").get_caller_identity()["Arn"]
        """,
        Timeout=30,
    )
    functions.client.update_function_configuration(FunctionName="worker", Role=role)

    identity = answer(functions.client.invoke(FunctionName="worker"))

    assert identity == f"arn:aws:sts::{fresh_account}:assumed-role/orders/worker"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (
            b"nope",
            (
                "Could not parse request body into json: Could not parse payload into json: "
                "Unrecognized token 'nope': was "
                "expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false') at "
                "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 5]"
            ),
        ),
        (
            b'n\x87r"',
            (
                "Could not parse request body into json: Could not parse payload into json: "
                "Invalid UTF-8 start byte 0x87 "
                "at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 3]"
            ),
        ),
    ],
)
def test_a_payload_must_be_json(functions, payload, message):
    functions.deploy(ECHO)

    assert refusal(lambda: functions.client.invoke(FunctionName="worker", Payload=payload)) == (
        "InvalidRequestContentException",
        400,
        message,
    )


def test_payloads_have_a_limit(functions):
    functions.deploy(ECHO)
    large = b'"' + b"x" * 6_291_456 + b'"'

    told = refusal(lambda: functions.client.invoke(FunctionName="worker", Payload=large))

    assert told[:2] == ("RequestTooLargeException", 413)
    told = refusal(
        lambda: functions.client.invoke(FunctionName="worker", Payload=large[: 2**20] + b'"', InvocationType="Event")
    )
    assert told[:2] == ("RequestTooLargeException", 413)


def test_unknown_functions_are_not_found(functions, fresh_account):
    told = refusal(lambda: functions.client.invoke(FunctionName="nobody"))

    assert told == (
        "ResourceNotFoundException",
        404,
        f"Function not found: arn:aws:lambda:us-east-1:{fresh_account}:function:nobody",
    )


def test_a_reservation_of_zero_throttles(functions):
    functions.deploy(ECHO)
    functions.client.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=0)

    with pytest.raises(ClientError) as caught:
        functions.client.invoke(FunctionName="worker")

    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("TooManyRequestsException", 429)
    assert error["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    functions.client.delete_function_concurrency(FunctionName="worker")
    assert answer(functions.client.invoke(FunctionName="worker", Payload=b"1")) == 1


@pytest.mark.parametrize("runtime", ["python3.13"])
def test_a_package_with_paths_that_climb_is_refused(functions, runtime):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../evil.py", "x = 1\n")

    told = refusal(
        lambda: functions.client.create_function(
            FunctionName="evil",
            Runtime=runtime,
            Role="arn:aws:iam::111122223333:role/worker",
            Handler="evil.handler",
            Code={"ZipFile": buffer.getvalue()},
        )
    )

    assert told[:2] == ("InvalidParameterValueException", 400)
    assert functions.client.list_functions()["Functions"] == []


def test_a_json_log_has_events_and_records(tule, functions, fresh_account):
    functions.deploy(
        """
        import logging

        def handler(event, context):
            logging.getLogger().info("in stock")
            print("plain")
        """,
        LoggingConfig={"LogFormat": "JSON"},
    )
    configuration = functions.client.get_function_configuration(FunctionName="worker")
    assert configuration["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": "/aws/lambda/worker",
    }

    response = functions.client.invoke(FunctionName="worker")

    messages = logged(tule.client("logs", account=fresh_account), "platform.report")
    assert "plain" in messages
    told = [json.loads(message) for message in messages if message.startswith("{")]
    (record,) = [each for each in told if each.get("logger") == "root" and each["level"] == "INFO"]
    assert (record["message"], record["requestId"]) == ("in stock", response["ResponseMetadata"]["RequestId"])
    (start,) = [each for each in told if each.get("type") == "platform.start"]
    assert start["record"]["requestId"] == response["ResponseMetadata"]["RequestId"]

    functions.client.update_function_configuration(FunctionName="worker", LoggingConfig={"LogFormat": "Text"})
    again = functions.client.invoke(FunctionName="worker", LogType="Tail")
    assert base64.b64decode(again["LogResult"]).decode().startswith("START RequestId: ")


def test_an_invocation_waits_for_a_function_that_is_pending(functions):
    made = functions.create(ECHO)
    assert made["State"] == "Pending"

    assert answer(functions.client.invoke(FunctionName="worker", Payload=b"[7]")) == [7]

    assert functions.client.get_function_configuration(FunctionName="worker")["State"] == "Active"
