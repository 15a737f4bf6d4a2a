"""tule invoke and tule logs against a function that runs."""

import io
import json
import zipfile

import pytest
from test_commands import tule_command

from tule.testing.server import Tule

CODE = """
def handler(event, context):
    print("greeting", event["name"])
    if event["name"] == "nobody":
        raise ValueError("who?")
    return {"hello": event["name"]}
"""


@pytest.fixture(scope="module")
def greeter():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", CODE)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    with Tule() as running:
        role = running.client("iam").create_role(
            RoleName="r", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )["Role"]["Arn"]
        functions = running.client("lambda")
        functions.create_function(
            FunctionName="greeter",
            Runtime="python3.11",
            Handler="app.handler",
            Role=role,
            Code={"ZipFile": buffer.getvalue()},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName="greeter", WaiterConfig={"Delay": 1})
        yield running


def test_an_answer_and_its_log(greeter: Tule):
    done = tule_command("invoke", "greeter", '{"name": "ann"}', "--log", home=greeter.directory)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"hello": "ann"}
    assert "greeting ann" in done.stderr
    assert "REPORT" in done.stderr


def test_a_failing_function_fails_the_command(greeter: Tule):
    done = tule_command("invoke", "greeter", "-", "--json", home=greeter.directory, stdin='{"name": "nobody"}')
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["function_error"] == "Unhandled"
    assert answer["payload"]["errorMessage"] == "who?"


def test_followed_logs_show_what_comes(greeter: Tule):
    assert tule_command("invoke", "greeter", '{"name": "bob"}', home=greeter.directory).returncode == 0
    events = []
    while not any("greeting bob" in line for line in events):
        events = tule_command("logs", "greeter", home=greeter.directory).stdout.splitlines()
    assert any("START" in line for line in events)


def test_lines_of_one_millisecond_stay_in_order(greeter: Tule):
    answer = tule_command("invoke", "greeter", '{"name": "zoe"}', "--log", "--json", home=greeter.directory)
    said = [line.split("\t")[0] for line in json.loads(answer.stdout)["log"].splitlines() if line]
    request = next(line.split()[2] for line in said if line.startswith("START"))
    kept: list[str] = []
    while not any(f"REPORT RequestId: {request}" in line for line in kept):
        shown = tule_command("logs", "greeter", home=greeter.directory).stdout
        kept = [line.split("  ", 1)[-1].split("\t")[0] for line in shown.splitlines()]
    begin = kept.index(next(line for line in said if line.startswith("START")))
    assert kept[begin : begin + 4] == [line for line in said if not line.startswith("XRAY")][:4]


def test_execution_environments_are_listed(greeter: Tule):
    assert tule_command("invoke", "greeter", '{"name": "eve"}', home=greeter.directory).returncode == 0
    listed = greeter.admin("functions/instances")
    assert listed["sandbox"]
    assert any(one["function_arn"].endswith(":greeter") for one in listed["instances"])
