"""What `tule deploy` makes of a folder: equal packages for equal files, and templates with their addresses."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile

import pytest

from tule.cli.deploy.packing import pack
from tule.testing.server import Tule

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@pytest.fixture(scope="module")
def tule(tmp_path_factory):
    with Tule(tmp_path_factory.mktemp("deploy") / "home") as running:
        yield running


def deploy(tule, *arguments, code=0):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "tule.cli.main", "deploy", *arguments, "--dir", str(tule.directory), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout or done.stderr)


def packed_names(tule, location):
    found = tule.client("s3").get_object(Bucket=location["S3Bucket"], Key=location["S3Key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(found)) as archive:
        return archive.namelist()


def test_the_same_files_make_the_same_package(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "b.py").write_text("b = 1\n")
        (folder / "a.py").write_text("a = 1\n")
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "a.pyc").write_bytes(os.urandom(8))
        os.utime(folder / "a.py", (1_000_000_000, 1_000_000_000 + len(str(folder))))
        pack(folder, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["a.py", "inner/b.py"]


YAML = """\
Parameters:
  Name: {Type: String}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: %s
  Function: # the comment stays
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: !Ref Name
      Code: code/ # and this one
      Handler: app.handler
      Role: !GetAtt Role.Arn
      Runtime: python3.12
"""


@pytest.mark.parametrize("form", ["yaml", "json", "aliases"])
def test_code_is_uploaded_and_named_in_its_place(tule, tmp_path, form):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("def handler(event, context): return event\n")
    text = YAML % json.dumps(TRUST)
    template = tmp_path / "template.yaml"
    if form == "aliases":
        text = text.replace("Role:\n    Type", "Role: &role\n    Type", 1) + "  Twin: *role\n"
    if form == "json":
        template = tmp_path / "template.json"
        text = json.dumps(
            {
                "Parameters": {"Name": {"Type": "String"}},
                "Resources": {
                    "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
                    "Function": {
                        "Type": "AWS::Lambda::Function",
                        "Properties": {
                            "FunctionName": {"Ref": "Name"},
                            "Code": "code/",
                            "Handler": "app.handler",
                            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                            "Runtime": "python3.12",
                        },
                    },
                },
            },
            indent=2,
        )
    template.write_text(text)
    name = f"function-{form}"
    found = deploy(tule, str(template), "--stack-name", name, "--parameter", f"Name={name}")
    assert found["what"] == "created"
    assert tule.client("lambda").get_function(FunctionName=name)["Configuration"]["Handler"] == "app.handler"
    kept = tule.client("cloudformation").get_template(StackName=name)["TemplateBody"]
    if form == "yaml":
        assert "# the comment stays" in kept
        assert len(kept.splitlines()) == len(text.splitlines())
        line = next(line for line in kept.splitlines() if "Code:" in line)
        assert line.endswith("# and this one")
        location = json.loads(line.split("Code: ", 1)[1].split(" #")[0])
    else:
        location = kept["Resources"]["Function"]["Properties"]["Code"]
    assert packed_names(tule, location) == ["app.py"]
    # the parameter need not be given again, and nothing has changed
    assert deploy(tule, str(template), "--stack-name", name)["what"] == "nothing to change"


def test_a_failed_deployment_says_why_and_can_be_tried_again(tule, tmp_path):
    template = tmp_path / "template.yaml"
    policy = (
        "Type: AWS::S3::BucketPolicy\n    Properties: {Bucket: no-such-bucket-anywhere, PolicyDocument: {Version: x}}\n"
    )
    template.write_text(f"Resources:\n  Policy:\n    {policy}")
    error = deploy(tule, str(template), "--stack-name", "again", code=1)["error"]
    assert "Policy: Resource handler returned message" in error["message"]
    template.write_text("Resources:\n  Files:\n    Type: AWS::S3::Bucket\n")
    assert deploy(tule, str(template), "--stack-name", "again")["what"] == "created"


def test_what_is_said_wrong_is_a_usage_error(tule, tmp_path):
    assert "does not exist" in deploy(tule, str(tmp_path / "nowhere"), code=2)["error"]["message"]


def test_an_interrupted_creation_is_taken_back(tule, tmp_path):
    """Ctrl-C while a new stack is being made deletes what was made."""
    resources = {
        f"R{number}": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": TRUST},
            **({"DependsOn": f"R{number - 1}"} if number else {}),
        }
        for number in range(300)
    }
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"Resources": resources}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "tule.cli.main", "deploy", str(template), "--stack-name", "long"]
    process = subprocess.Popen(
        [*command, "--dir", str(tule.directory)],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "CREATE_COMPLETE" in line:
            process.send_signal(signal.SIGINT)
            break
    _, told = process.communicate()
    assert process.returncode == 130, told
    assert "is being deleted" in told
    cfn = tule.client("cloudformation")
    cfn.get_waiter("stack_delete_complete").wait(StackName="long", WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200})
    roles = [entry["RoleName"] for entry in tule.client("iam").list_roles()["Roles"]]
    assert not [name for name in roles if name.startswith("long-")]
