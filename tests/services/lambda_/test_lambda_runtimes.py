"""Runtimes beside Python and Node, as callers of the API see them."""

import io
import json
import os
import sys
import zipfile

import pytest

BOOTSTRAP = f"""#!{os.path.realpath(sys.executable)} -IS
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
base = "/2018-06-01/runtime/invocation/"
while True:
    api.request("GET", base + "next")
    answer = api.getresponse()
    event = answer.read()
    api.request("POST", base + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", event)
    api.getresponse().read()
"""


def package(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, text)
    return buffer.getvalue()


def create(client, name: str, runtime: str, files: bytes) -> None:
    client.create_function(
        FunctionName=name, Runtime=runtime, Handler="h", Role="arn:aws:iam::000000000000:role/r", MemorySize=1769,
        Timeout=30, Code={"ZipFile": files},
    )  # fmt: skip


def test_a_function_with_a_bootstrap_answers(tule):
    client = tule.client("lambda", account="210000000001")
    create(client, "own", "provided.al2023", package("bootstrap", BOOTSTRAP))
    answer = client.invoke(FunctionName="own", Payload=b'{"a": 1}')
    assert (answer["StatusCode"], json.loads(answer["Payload"].read())) == (200, {"a": 1})


@pytest.mark.parametrize("runtime", ["ruby3.4", "dotnet8"])
def test_a_runtime_that_this_machine_lacks_is_named(tule, runtime):
    client = tule.client("lambda", account="210000000002")
    name = runtime.replace(".", "-")
    create(client, name, runtime, package("x", "y"))
    with pytest.raises(client.exceptions.InvalidRuntimeException, match="this machine lacks") as refused:
        client.invoke(FunctionName=name)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502
