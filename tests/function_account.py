"""One account of a real Tule, and functions in it: deployed, called, listened to."""

import asyncio
import json
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from botocore.config import Config

import function_packages
from installed import CACHE
from tule.testing.postgresql import PostgresServer
from tule.testing.server import Tule, free_port

WITHIN_S = 300.0
"""A guard against waiting for ever, not an expectation."""


PATIENT_S = 300
"""What functions may take: a guard, too, and less than the visibility of messages in these tests."""


def eventually(what, look):
    """What `look` returns as soon as that is true; fails with a word on `what`."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"Waited {WITHIN_S:g} s for {what} in vain."
    return found


@contextmanager
def tule_with_caches(**options):
    """A Tule of one's own, in memory, that finds what others have installed into the tests' cache."""
    with tempfile.TemporaryDirectory(prefix="tule-test-") as home:
        for name in ("cache", "tools"):
            kept = CACHE / f"home-{name}"
            kept.mkdir(parents=True, exist_ok=True)
            (Path(home) / name).symlink_to(kept)
        with Tule(home, memory=True, **options) as running:
            yield running


BY_REQUEST_MAX_BYTES = 50_000_000
"""AWS: larger packages go by S3."""


class LocalPostgres:
    """A PostgreSQL on a port of this machine's loopback, and a Tule whose functions reach it there."""

    def __init__(self):
        self.port = free_port()
        self.server = PostgresServer()

    def execute(self, statement):
        async def work():
            connection = await asyncpg.connect(f"{self.server.url}&port={self.port}")
            await connection.execute(statement)
            await connection.close()

        asyncio.run(work())

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def __enter__(self):
        self.server.start(listen_addresses="127.0.0.1", port=str(self.port))
        return self

    def __exit__(self, *_):
        self.server.remove()


def reports(count):
    """A condition for `lines`: so many calls are over."""
    return lambda lines: sum(line.startswith("REPORT") for line in lines) == count


def fetch(method, url, body=None, **headers):
    """(status, body, headers) of an HTTP request with JSON."""
    data = body.encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


class Account:
    """Clients of one account, and what tests do with functions."""

    def __init__(self, tule, number):
        self.tule = tule
        self.number = number
        self.functions = tule.client("lambda", number, config=Config(read_timeout=PATIENT_S + 60))

    def client(self, service):
        return self.tule.client(service, self.number)

    def create(self, name, files, handler, runtime, *, layers=(), **environment):
        """A function of files, ready to be called: a whole core, and more time than a busy machine needs."""
        self.functions.create_function(
            FunctionName=name,
            Runtime=runtime,
            Role=f"arn:aws:iam::{self.number}:role/of-tests",
            Handler=handler,
            Code={"ZipFile": function_packages.zipped(files)},
            Timeout=PATIENT_S,
            MemorySize=1769,
            Layers=list(layers),
            Environment={"Variables": environment},
        )
        waiter = self.functions.get_waiter("function_active_v2")
        waiter.wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 2000})
        return name

    def layer(self, name, files):
        """The ARN of a new layer version."""
        archive = function_packages.zipped(files)
        content = {"ZipFile": archive}
        if len(archive) > BY_REQUEST_MAX_BYTES:
            bucket = f"layers-{self.number}"
            self.client("s3").create_bucket(Bucket=bucket)
            self.client("s3").put_object(Bucket=bucket, Key=name, Body=archive)
            content = {"S3Bucket": bucket, "S3Key": name}
        return self.functions.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]

    def invoke(self, name, event):
        """(the answer, the kind of failure or None)."""
        answered = self.functions.invoke(FunctionName=name, Payload=json.dumps(event))
        return json.loads(answered["Payload"].read()), answered.get("FunctionError")

    def lines(self, name, until):
        """What a function has logged, once `until` holds for it."""
        logs = self.client("logs")

        def look():
            try:
                pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
                found = [event["message"] for page in pages for event in page["events"]]
            except logs.exceptions.ResourceNotFoundException:
                return None
            return found if until(found) else None

        return eventually(f"lines of {name}", look)

    def table(self, name, key="id"):
        """A table with a key of text."""
        self.client("dynamodb").create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        )

    def http_api(self, function, *routes, version="2.0"):
        """The URL of an HTTP API whose routes lead to a function."""
        api = self.client("apigatewayv2")
        arn = self.functions.get_function_configuration(FunctionName=function)["FunctionArn"]
        made = api.create_api(Name=function, ProtocolType="HTTP")["ApiId"]
        integration = api.create_integration(
            ApiId=made, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion=version
        )["IntegrationId"]
        for route in routes:
            api.create_route(ApiId=made, RouteKey=route, Target=f"integrations/{integration}")
        api.create_stage(ApiId=made, StageName="$default", AutoDeploy=True)
        self.functions.add_permission(
            FunctionName=function,
            StatementId=made,
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
        )
        return f"{self.tule.url}/_aws/execute-api/{made}/$default"
