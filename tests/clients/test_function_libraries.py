"""Libraries that functions are written with, unmodified, each in its usual form."""

import json
import subprocess
from pathlib import Path

import pytest

import function_packages
from function_account import Account, LocalPostgres, eventually, fetch, reports, tule_with_caches

HERE = Path(__file__).parent
NODE = HERE / "functions"
PYTHON = HERE / "python"


@pytest.fixture
def account(tule, fresh_account):
    return Account(tule, fresh_account)


@pytest.fixture(scope="session")
def pypi():
    """What requirements.lock names, as files of a package; boto3 is the runtime's."""
    folder = function_packages.python_project("function-libraries", PYTHON / "requirements.lock")
    files = function_packages.folder_files(folder)
    return {
        name: path for name, path in files.items() if not name.startswith(("botocore", "bin/")) and name != "installed"
    }


@pytest.fixture(scope="session")
def bundled(tmp_path_factory):
    """Bundles a TypeScript file as `tule deploy` and the SAM CLI do."""
    out = tmp_path_factory.mktemp("bundled")
    project = function_packages.node_project()

    def bundle(source):
        command = [project / "node_modules/.bin/esbuild", source, "--bundle", "--platform=node", "--target=node20"]
        command += ["--format=cjs", "--external:@aws-sdk/*", f"--outfile={out / 'app.js'}", "--log-level=error"]
        subprocess.run(command, check=True, env={"NODE_PATH": str(project / "node_modules"), "PATH": "/usr/bin:/bin"})
        return out / "app.js"

    return bundle


def powertools(account, name):
    """Sends three orders through a queue, one of which is poison, and one order twice by hand."""
    sqs = account.client("sqs")
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{account.number}:dead", "maxReceiveCount": 1}
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    settings = {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "300"}
    orders = sqs.create_queue(QueueName="orders", Attributes=settings)
    entries = [{"Id": order, "MessageBody": json.dumps({"id": order})} for order in ("a", "poison", "b")]
    sqs.send_message_batch(QueueUrl=orders["QueueUrl"], Entries=entries)
    account.functions.create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=f"arn:aws:sqs:us-east-1:{account.number}:orders",
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    hidden = "ApproximateNumberOfMessagesNotVisible"
    asked = {"QueueUrl": orders["QueueUrl"], "AttributeNames": [hidden]}
    eventually("two orders done", lambda: sqs.get_queue_attributes(**asked)["Attributes"][hidden] == "1")
    account.tule.advance("301s")
    returned = eventually(
        "a dead letter", lambda: sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=20).get("Messages")
    )
    assert [json.loads(message["Body"])["id"] for message in returned] == ["poison"]
    first = account.invoke(name, {"id": "c"})
    assert first[1] is None, first
    assert first[0]["placed"] == "c"
    assert account.invoke(name, {"id": "c"}) == first
    kept = account.client("dynamodb").scan(TableName="idempotency")["Items"]
    assert [entry["status"]["S"] for entry in kept] == ["COMPLETED"]
    lines = account.lines(name, reports(3))
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    placed = [entry["order"] for entry in logged if entry.get("message") == "placing"]
    assert sorted(placed) == ["a", "b", "c"]
    counted = [entry for entry in logged if "_aws" in entry and "Placed" in entry]
    assert {entry["service"] for entry in counted} == {"orders"}
    assert any("ColdStart" in entry for entry in logged)


def test_powertools_for_python(account, pypi):
    account.table("idempotency")
    name = account.create("tools", {"app.py": PYTHON / "powertools_app.py", **pypi}, "app.handler", "python3.11")
    powertools(account, name)


def test_powertools_for_typescript(account, bundled):
    account.table("idempotency")
    name = account.create("tools", {"app.js": bundled(NODE / "powertools.ts")}, "app.handler", "nodejs20.x")
    powertools(account, name)


def test_mangum_serves_an_asgi_application(account, pypi):
    name = account.create("asgi", {"app.py": PYTHON / "asgi_app.py", **pypi}, "app.handler", "python3.11")
    for version in ("2.0", "1.0"):
        url = account.http_api(name, "$default", version=version)
        status, body, headers = fetch("POST", f"{url}/orders/7?a=1&b=x%20y", '{"n": 1}')
        told = json.loads(body)
        assert (status, told["method"], told["path"], told["body"]) == (200, "POST", "/orders/7", '{"n": 1}')
        assert told["function"] == "asgi"
        assert "a=1" in told["query"]
        assert headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert fetch("GET", f"{url}/none")[0] == 404


def test_express_behind_serverless_http(account):
    files = {"app.mjs": NODE / "express_app.mjs", **function_packages.modules("express", "serverless-http")}
    name = account.create("express", files, "app.handler", "nodejs20.x")
    for version in ("2.0", "1.0"):
        url = account.http_api(name, "$default", version=version)
        status, body, _ = fetch("GET", f"{url}/users/7?a=1")
        assert (status, json.loads(body)) == (200, {"id": "7", "query": {"a": "1"}})
        status, body, headers = fetch("POST", f"{url}/users", '{"name": "Ada"}')
        assert (status, json.loads(body), headers["x-made"]) == (201, {"name": "Ada"}, "yes")
        assert fetch("GET", f"{url}/cookies")[2].get_all("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
        assert fetch("GET", f"{url}/binary")[1] == b"\0\xff\1"
        assert fetch("GET", f"{url}/broken")[0] == 500
        assert fetch("GET", f"{url}/none")[0] == 404


def test_node_postgres_keeps_its_pool(fresh_account):
    with LocalPostgres() as database, tule_with_caches(host_port=database.port) as tule:
        database.execute("CREATE TABLE users (id int PRIMARY KEY, name text)")
        keep_a_pool(Account(tule, fresh_account), database.url)


def keep_a_pool(account, url):
    files = {"app.mjs": NODE / "pool.mjs", **function_packages.modules("pg")}
    name = account.create("pool", files, "app.handler", "nodejs20.x", DATABASE_URL=url)
    insert = {"text": "INSERT INTO users VALUES ($1, $2) RETURNING pg_backend_pid() AS pid", "values": [1, "Ada"]}
    made, failed = account.invoke(name, insert)
    assert (failed, made["total"]) == (None, 1)
    assert account.invoke(name, insert) == ({"code": "23505", "total": 1}, None)
    again, _ = account.invoke(name, {"text": "SELECT name, pg_backend_pid() AS pid FROM users", "values": []})
    assert again["rows"] == [{"name": "Ada", "pid": made["rows"][0]["pid"]}]
