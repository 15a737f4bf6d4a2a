"""The samples, deployed as they are: read from TULE_SAMPLES, which continuous integration sets."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import function_packages

ROLE = "arn:aws:iam::000000000000:role/sample"
WITHIN_S = 60.0
"""A guard against waiting for ever, not an expectation."""


def eventually(what, look):
    """What `look` returns as soon as that is true; fails with a word on `what`."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"Waited {WITHIN_S:g} s for {what} in vain."
    return found


@pytest.fixture(scope="session")
def samples():
    """The folder of the samples."""
    folder = Path(os.environ.get("TULE_SAMPLES", ""))
    if not (folder / "manifest.json").is_file():
        pytest.skip("the samples are not here: set TULE_SAMPLES to their folder")
    return folder


@pytest.fixture(scope="session")
def stripped(samples, tmp_path_factory):
    """The samples in TypeScript without their types, by the samples' own build."""
    project = function_packages.node_project()
    place = tmp_path_factory.mktemp("samples")
    shutil.copytree(samples, place / "samples")
    (place / "node_modules").symlink_to(project / "node_modules")
    subprocess.run(["node", "samples/harness/build.mjs", place / "built"], cwd=place, check=True)
    return place / "built"


class Cloud:
    """One account of a real Tule, with samples in it."""

    def __init__(self, tule, account, samples, stripped):
        self.tule = tule
        self.account = account
        self.functions = tule.client("lambda", account)
        self._samples = samples
        self._stripped = stripped

    def client(self, service):
        return self.tule.client(service, self.account)

    def deploy(self, sample, name=None, *, packages=(), more=None, timeout_s=30, **environment):
        """A sample as a function, with the harness's prelude for names that it uses and does not declare."""
        entry = next(entry for entry in self.manifest() if entry["id"] == sample)
        source = self._samples / entry["file"]
        files = {f"{sample}.mjs": source if source.suffix == ".mjs" else self._stripped / f"{sample}.mjs"}
        files["prelude.mjs"] = self._samples / "harness" / "prelude.mjs"
        files |= {**(function_packages.modules(*packages) if packages else {}), **(more or {})}
        variables = {
            "NODE_OPTIONS": "--import /var/task/prelude.mjs",
            "AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE": "1",
            **environment,
        }
        return self.create(
            name or f"sample-{sample}", files, entry["handler"], "nodejs20.x", timeout_s=timeout_s, **variables
        )

    def create(self, name, files, handler, runtime, *, timeout_s=30, memory_mb=512, **environment):
        self.functions.create_function(
            FunctionName=name,
            Runtime=runtime,
            Role=ROLE,
            Handler=handler,
            Code={"ZipFile": function_packages.zipped(files)},
            Timeout=timeout_s,
            MemorySize=memory_mb,
            Environment={"Variables": environment},
        )
        self.functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})
        return name

    def manifest(self):
        return json.loads((self._samples / "manifest.json").read_text())

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


@pytest.fixture
def cloud(tule, fresh_account, samples, stripped):
    return Cloud(tule, fresh_account, samples, stripped)
