"""`tule dev`, driven as an editor and a user drive it."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager

import pytest

from function_account import tule_with_caches

GUARD_S = 300.0
"""Against waiting for ever for a line that never comes."""

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: hello/
      Handler: app.handler
      Runtime: python3.11
      Events:
        Get: {Type: HttpApi, Properties: {Method: GET, Path: /}}
  Typed:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: typed/
      Handler: app.handler
      Runtime: nodejs20.x
"""

PYTHON = "def handler(event, context):\n    print('in the log')\n    return 'ANSWER'\n"
TYPESCRIPT = "export const handler = async (): Promise<string> => 'ANSWER';\n"


class Dev:
    """A running `tule dev --json`."""

    def __init__(self, process):
        self.process = process

    def until(self, event, **fields):
        """The next event of a kind that has these fields."""
        for line in self.process.stdout:
            told = json.loads(line)
            if told["event"] == event and fields.items() <= told.items():
                return told
        raise AssertionError(f"tule dev ended without a word on {event}: {self.process.stderr.read()}")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def home():
    with tule_with_caches() as running:
        yield running


@pytest.fixture
def project(tmp_path):
    """A stack's folder, with a name of its own."""
    folder = tmp_path / f"dev-{os.getpid()}-{tmp_path.name.rpartition('_')[2]}"
    for name, text in (("hello/app.py", PYTHON), ("typed/app.ts", TYPESCRIPT)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text.replace("ANSWER", "one"))
    (folder / "template.yaml").write_text(TEMPLATE)
    return folder


@contextmanager
def developing(home, project, *options):
    command = [
        sys.executable,
        "-m",
        "tule.cli.main",
        "dev",
        str(project),
        "--json",
        "--dir",
        str(home.directory),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    guard = threading.Timer(GUARD_S, process.kill)
    guard.start()
    try:
        yield Dev(process)
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


def name_of(home, project, logical_id):
    stack = home.client("cloudformation").describe_stack_resource(StackName=project.name, LogicalResourceId=logical_id)
    return stack["StackResourceDetail"]["PhysicalResourceId"]


def call(home, project, logical_id):
    answered = home.client("lambda").invoke(FunctionName=name_of(home, project, logical_id))
    return json.loads(answered["Payload"].read())


def test_changed_code_answers_at_the_same_url(home, project):
    with developing(home, project) as dev:
        url = dev.until("deployed")["apis"][0]["path_url"]
        dev.until("watching")
        assert get(url) == "one"
        assert dev.until("log", function="Hello", message="in the log")["timestamp"] > 0
        (project / "hello" / "app.py").write_text(PYTHON.replace("ANSWER", "two"))
        changed = dev.until("changed")
        assert [swap["function"] for swap in changed["functions"]] == ["Hello"]
        assert get(url) == "two"
        (project / "typed" / "app.ts").write_text(TYPESCRIPT.replace("ANSWER", "three"))
        assert [swap["function"] for swap in dev.until("changed")["functions"]] == ["Typed"]
        assert call(home, project, "Typed") == "three"
        dev.interrupt()
        assert dev.until("stopped")["deleted"] is False
    assert get(url) == "two"
    described = home.client("cloudformation").describe_stacks(StackName=project.name)["Stacks"][0]
    assert described["StackStatus"] == "UPDATE_COMPLETE", "the stack knows what its functions run"


def test_broken_code_is_told_and_the_old_code_goes_on(home, project):
    with developing(home, project, "--delete") as dev:
        url = dev.until("deployed")["apis"][0]["path_url"]
        dev.until("watching")
        (project / "hello" / "app.py").write_text("def handler(event, context:\n    pass\n")
        told = dev.until("error")
        assert "app.py:1:" in told["message"]
        assert "keeps its old code" in told["fix"]
        assert get(url) == "one"
        (project / "typed" / "app.ts").write_text("export const handler = async () => {{;\n")
        assert "app.ts:2:" in dev.until("error")["message"]
        (project / "hello" / "app.py").write_text(PYTHON.replace("ANSWER", "mended"))
        dev.until("changed")
        assert get(url) == "mended"
        (project / "typed" / "app.ts").write_text(TYPESCRIPT)
        dev.until("changed")
        (project / "template.yaml").write_text("Resources: [")
        dev.until("error")
        dev.until("watching")
        (project / "template.yaml").write_text(TEMPLATE.replace("Path: /}", "Path: /new}"))
        dev.until("deployed", what="updated")
        assert get(f"{url}/new") == "mended"
        dev.interrupt()
        assert dev.until("stopped")["deleted"] is True
    described = home.client("cloudformation").list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"]
    assert project.name in {stack["StackName"] for stack in described}


def test_a_template_that_is_not_there_is_told(home, tmp_path):
    with developing(home, tmp_path / "nothing") as dev:
        assert dev.process.wait(60) == 2
        assert "does not exist" in dev.process.stderr.read()
