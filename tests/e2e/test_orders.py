"""examples/orders by `tule deploy`: deployed, used, deployed again, updated with its data kept, deleted."""

import shutil

import pytest
from orders_app import EXAMPLE, OrdersApp, run_tule

from tule.testing.server import Tule


@pytest.fixture(scope="module")
def tule(tmp_path_factory):
    with Tule(tmp_path_factory.mktemp("orders") / "home") as running:
        yield running


@pytest.fixture
def example(tmp_path):
    """The example, to be changed at will."""
    return shutil.copytree(EXAMPLE, tmp_path / "orders", ignore=shutil.ignore_patterns("node_modules", ".aws-sam"))


def test_orders_live_through_deploy_update_and_delete(tule, example):
    first = run_tule(tule, "deploy", str(example))
    assert first["what"] == "created"
    (api,) = first["apis"]
    assert first["outputs"]["ApiUrl"] == api["url"]
    app = OrdersApp(tule)
    app.check()
    order = app.place("table", 3)
    app.fulfilled(order)

    assert run_tule(tule, "deploy", str(example))["what"] == "nothing to change"

    code = example / "api" / "src" / "app.ts"
    code.write_text(code.read_text().replace('"There is nothing here."', '"Nothing at all."'))
    template = example / "template.yaml"
    template.write_text(template.read_text().replace("VisibilityTimeout: 30", "VisibilityTimeout: 31"))
    assert run_tule(tule, "deploy", str(example))["what"] == "updated"
    after = OrdersApp(tule)
    assert after.physical == app.physical
    assert after.fulfilled(order)["item"] == "table"
    queue = tule.client("sqs").get_queue_attributes(QueueUrl=app.outputs["QueueUrl"], AttributeNames=["All"])
    assert queue["Attributes"]["VisibilityTimeout"] == "31"

    assert run_tule(tule, "delete", "orders")["what"] == "deleted"
    assert tule.client("dynamodb").list_tables()["TableNames"] == []
    assert tule.client("sqs").list_queues().get("QueueUrls", []) == []
    assert tule.client("lambda").list_functions()["Functions"] == []
    assert tule.client("apigatewayv2").get_apis()["Items"] == []
    assert run_tule(tule, "delete", "orders")["what"] == "is not there"


def test_a_template_that_can_not_be_deployed_says_what_and_where(tule, tmp_path):
    template = tmp_path / "template.yaml"
    template.write_text("Resources:\n  Topic:\n    Type: AWS::Pinpoint::App\n")
    error = run_tule(tule, "deploy", str(template), "--stack-name", "bad", code=1)["error"]
    assert "Topic (AWS::Pinpoint::App) (line 3)" in error["message"]
    assert error["fix"]
    assert "bad" not in [entry["StackName"] for entry in tule.client("cloudformation").describe_stacks()["Stacks"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: nowhere/}}}",
            "nowhere/, which is not",
        ),
        ("Resources: [", "no YAML or JSON"),
    ],
)
def test_code_and_templates_that_are_not_there(tule, tmp_path, text, words):
    template = tmp_path / "template.yaml"
    template.write_text(text)
    error = run_tule(tule, "deploy", str(template), "--stack-name", "bad", code=1)["error"]
    assert words in error["message"]


def test_without_a_template_it_is_a_usage_error(tule, tmp_path):
    error = run_tule(tule, "deploy", str(tmp_path), "--stack-name", "bad", code=2)["error"]
    assert "has no template" in error["message"]
