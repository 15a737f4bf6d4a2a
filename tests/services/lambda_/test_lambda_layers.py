"""Layers through boto3: published, listed, shared with other accounts, and laid under functions."""

import io
import json
import urllib.request
import zipfile

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import PATIENT, package


@pytest.fixture
def client(tule, fresh_account):
    return tule.client("lambda", account=fresh_account, config=Config(parameter_validation=False))


def publish(client, files, name="tools", **members):
    return client.publish_layer_version(LayerName=name, Content={"ZipFile": package(files)}, **members)


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def called(client, name="worker"):
    answer = client.invoke(FunctionName=name)
    return json.loads(answer["Payload"].read())


def test_a_layer_version_is_published_and_read(client, fresh_account):
    layer = f"arn:aws:lambda:us-east-1:{fresh_account}:layer:tools"
    code = package({"python/tool.py": "x = 1"})

    made = client.publish_layer_version(
        LayerName="tools", Content={"ZipFile": code}, Description="d", LicenseInfo="MIT",
        CompatibleRuntimes=["python3.13"], CompatibleArchitectures=["x86_64"],
    )  # fmt: skip
    second = publish(client, {"a": "b"}, layer)

    assert (made["LayerArn"], made["LayerVersionArn"], made["Version"]) == (layer, f"{layer}:1", 1)
    assert second["LayerVersionArn"] == f"{layer}:2"
    found = client.get_layer_version(LayerName="tools", VersionNumber=1)
    by_arn = client.get_layer_version_by_arn(Arn=f"{layer}:1")
    for told in (found, by_arn):
        assert (told["Description"], told["LicenseInfo"]) == ("d", "MIT")
        assert (told["CompatibleRuntimes"], told["CompatibleArchitectures"]) == (["python3.13"], ["x86_64"])
        assert told["Content"]["CodeSize"] == len(code)
    with urllib.request.urlopen(found["Content"]["Location"]) as answer:
        assert answer.read() == code


def test_layers_are_listed_by_name_with_what_matches(client):
    publish(client, {"a": "1"}, "b", CompatibleRuntimes=["python3.13"])
    publish(client, {"a": "2"}, "b", CompatibleRuntimes=["nodejs22.x"], CompatibleArchitectures=["arm64"])
    publish(client, {"a": "3"}, "a")

    def listed(**asked):
        answer = client.list_layers(**asked)
        return [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in answer["Layers"]]

    assert listed() == [("a", 1), ("b", 2)]
    assert listed(CompatibleRuntime="python3.13") == [("b", 1)]
    assert listed(CompatibleArchitecture="arm64") == [("b", 2)]
    first = client.list_layers(MaxItems=1)
    assert listed(Marker=first["NextMarker"]) == [("b", 2)]
    versions = client.list_layer_versions(LayerName="b", MaxItems=1)
    rest = client.list_layer_versions(LayerName="b", Marker=versions["NextMarker"])
    assert [v["Version"] for v in versions["LayerVersions"] + rest["LayerVersions"]] == [2, 1]
    assert client.list_layer_versions(LayerName="nobody")["LayerVersions"] == []


def test_a_deleted_version_is_gone_and_its_number_with_it(client):
    publish(client, {"a": "1"})

    client.delete_layer_version(LayerName="tools", VersionNumber=1)
    client.delete_layer_version(LayerName="tools", VersionNumber=1)  # not an error on AWS either

    told = refusal(lambda: client.get_layer_version(LayerName="tools", VersionNumber=1))
    assert told == ("ResourceNotFoundException", 404, "The resource you requested does not exist.")
    assert client.list_layers()["Layers"] == []
    assert publish(client, {"a": "2"})["Version"] == 2
    for operation in (client.get_layer_version, client.delete_layer_version):
        told = refusal(lambda operation=operation: operation(LayerName="tools", VersionNumber=0))
        assert told == ("InvalidParameterValueException", 400, "Layer Version Cannot be less than 1")


def test_python_finds_modules_of_layers_and_later_layers_win(functions):
    client = functions.client
    under = publish(client, {
        "python/tool.py": "said = 'first'", "python/other.py": "said = 'other'", "data.txt": "under", "bin/say":
        "#!/bin/sh\necho hello\n", "python/lib/python3.13/site-packages/inner.py": "said = 'inner'"})  # fmt: skip
    over = publish(client, {"python/tool.py": "said = 'second'", "extra/data.txt": "over"}, "over")
    functions.deploy(
        """
        import inner, os, other, pathlib, tool

        def handler(event, context):
            texts = [pathlib.Path(path).read_text() for path in ("/opt/data.txt", "/opt/extra/data.txt")]
            return [tool.said, other.said, inner.said, *texts, "/opt/bin" in os.environ["PATH"].split(":")]
        """,
        Layers=[under["LayerVersionArn"], over["LayerVersionArn"]],
    )

    assert called(client) == ["second", "other", "inner", "under", "over", True]
    layers = client.get_function_configuration(FunctionName="worker")["Layers"]
    assert [layer["Arn"] for layer in layers] == [under["LayerVersionArn"], over["LayerVersionArn"]]
    assert layers[0]["CodeSize"] == under["Content"]["CodeSize"]

    client.update_function_configuration(FunctionName="worker", Layers=layers_reversed(layers))
    client.get_waiter("function_updated_v2").wait(FunctionName="worker", WaiterConfig=PATIENT)
    assert called(client)[0] == "first"


def layers_reversed(layers):
    return [layer["Arn"] for layer in reversed(layers)]


def test_the_functions_own_modules_win_over_those_of_layers(functions):
    client = functions.client
    layer = publish(client, {"python/app.py": "raise Exception", "python/tool.py": "said = 'layer'"})
    functions.deploy(
        "import tool\ndef handler(event, context):\n    return tool.said\n", Layers=[layer["LayerVersionArn"]]
    )

    assert called(client) == "layer"


@pytest.mark.parametrize("file", ["app.mjs", "app.js"])
@pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs24.x"])
def test_node_finds_packages_of_layers_by_import_and_by_require(functions, file, runtime):
    client = functions.client
    layer = publish(client, {
        "nodejs/node_modules/tool/package.json": '{"name": "tool", "main": "main.js"}',
        "nodejs/node_modules/tool/main.js": "exports.said = 'layer';",
        f"nodejs/{runtime.replace('js', '').removesuffix('.x')}/node_modules/own/index.js": "exports.said = 'own';",
    })  # fmt: skip
    sources = {
        "app.mjs": "import tool from 'tool'; import own from 'own'; export const handler = async () => "
        "[tool.said, own.said];",
        "app.js": "const t = require('tool'); const o = require('own'); exports.handler = async () => "
        "[t.said, o.said];",
    }
    client.create_function(
        FunctionName="worker", Runtime=runtime, Role="arn:aws:iam::111122223333:role/worker", Handler="app.handler",
        Code={"ZipFile": package({file: sources[file]})}, Layers=[layer["LayerVersionArn"]],
    )  # fmt: skip

    assert called(client) == ["layer", "own"]


def test_a_function_keeps_a_layer_that_is_deleted(functions):
    client = functions.client
    layer = publish(client, {"python/tool.py": "said = 'kept'"})
    functions.deploy(
        "import tool\ndef handler(event, context):\n    return tool.said\n", Layers=[layer["LayerVersionArn"]]
    )

    client.delete_layer_version(LayerName="tools", VersionNumber=1)
    client.update_function_configuration(FunctionName="worker", MemorySize=256)

    assert called(client) == "kept"
    client.get_waiter("function_updated_v2").wait(FunctionName="worker", WaiterConfig=PATIENT)
    client.update_function_configuration(FunctionName="worker", Layers=[])
    assert "Layers" not in client.get_function_configuration(FunctionName="worker")


def test_what_a_function_may_not_use_is_said_in_aws_words(client, fresh_account):
    arn = f"arn:aws:lambda:us-east-1:{fresh_account}:layer:tools"
    for number in range(2):
        publish(client, {"a": str(number)})
    elsewhere = f"arn:aws:lambda:eu-west-1:{fresh_account}:layer:tools:1"
    many = [f"{arn}-{number}:1" for number in range(6)]

    def asked(*layers):
        told = refusal(lambda: client.create_function(
            FunctionName="worker", Runtime="python3.13", Role="arn:aws:iam::111122223333:role/worker",
            Handler="app.handler", Code={"ZipFile": package({"app.py": ""})}, Layers=list(layers),
        ))  # fmt: skip
        assert told[0] == "InvalidParameterValueException"
        return told[2]

    assert asked(f"{arn}:9") == f"Layer version {arn}:9 does not exist."
    assert asked(*many) == "Cannot reference more than 5 layers."
    assert asked(f"{arn}:1", f"{arn}:2") == (
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{arn}:1 and {arn}:2 are versions of the same layer."
    )
    assert asked(elsewhere) == (
        "Layers are not in the same region as the function. Layers are expected to be in region us-east-1."
    )
    foreign = asked("arn:aws:lambda:us-east-1:017000801446:layer:AWSLambdaPowertoolsPythonV3:7")
    assert "get-layer-version-by-arn" in foreign


def test_code_and_layers_together_have_a_limit(client):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(131_072_000))
    arns = [
        client.publish_layer_version(LayerName=name, Content={"ZipFile": buffer.getvalue()})["LayerVersionArn"]
        for name in ("one", "two")
    ]

    told = refusal(lambda: client.create_function(
        FunctionName="worker", Runtime="python3.13", Role="arn:aws:iam::111122223333:role/worker",
        Handler="app.handler", Code={"ZipFile": package({"app.py": "12345"})}, Layers=arns,
    ))  # fmt: skip

    assert told == (
        "InvalidParameterValueException",
        400,
        (
            "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. "
            "The actual size is 262144005 bytes."
        ),
    )


def test_a_layer_is_shared_with_another_account_by_its_policy(tule, client, fresh_account):
    other = tule.client("lambda", account="222222222222")
    arn = publish(client, {"python/tool.py": "x = 1"}, f"shared-{fresh_account}")["LayerVersionArn"]
    name = {"LayerName": arn.rpartition(":")[0], "VersionNumber": 1}
    told = {**name, "StatementId": "s", "Action": "lambda:GetLayerVersion"}

    assert refusal(lambda: other.get_layer_version(**name))[0] == "AccessDeniedException"
    added = client.add_layer_version_permission(**told, Principal="222222222222")
    assert other.get_layer_version(**name)["LayerVersionArn"] == arn
    assert refusal(lambda: tule.client("lambda", account="333333333333").get_layer_version_by_arn(Arn=arn))[1] == 403

    policy = client.get_layer_version_policy(**name)
    (statement,) = json.loads(policy["Policy"])["Statement"]
    assert statement == json.loads(added["Statement"])
    assert statement["Principal"] == {"AWS": "arn:aws:iam::222222222222:root"}
    assert policy["RevisionId"] == added["RevisionId"]
    taken = refusal(lambda: client.add_layer_version_permission(**told, Principal="*"))
    assert taken[2].startswith("The statement id (s) provided already exists.")
    stale = refusal(lambda: client.remove_layer_version_permission(**name, StatementId="s", RevisionId="x"))
    assert stale[2].endswith("Call the GetLayerPolicy API to retrieve the latest Revision Id")
    unknown = refusal(lambda: client.remove_layer_version_permission(**name, StatementId="t"))
    assert unknown[2] == "Statement t is not found in resource policy."
    client.remove_layer_version_permission(**name, StatementId="s")
    assert refusal(lambda: client.get_layer_version_policy(**name))[2] == (
        "No policy is associated with the given resource."
    )
    missing = refusal(lambda: client.get_layer_version_policy(LayerName=name["LayerName"], VersionNumber=9))
    assert missing[2] == f"Layer version {name['LayerName']}:9 does not exist."
