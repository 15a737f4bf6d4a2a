"""Functions in packages, made and waited for."""

import io
import textwrap
import zipfile

import pytest

ROLE = "arn:aws:iam::111122223333:role/worker"

WHOLE_CORE_MB = 1769
"""With less a function gets less than a core, and what it imports takes longer than a test's timeouts allow."""

PATIENT = {"Delay": 0.02, "MaxAttempts": 3_000}
"""How often a waiter asks: a guard against waiting for ever, not an expectation."""


def package(files):
    """A zip of file names and sources."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, source in files.items():
            archive.writestr(name, textwrap.dedent(source))
    return buffer.getvalue()


class Functions:
    """Deploys functions into one account and invokes them."""

    def __init__(self, client):
        self.client = client

    def create(self, source, name="worker", *, runtime="python3.13", **changes):
        file = "app.py" if runtime.startswith("python") else "app.mjs"
        return self.client.create_function(
            FunctionName=name,
            Runtime=runtime,
            Role=ROLE,
            Handler="app.handler",
            Code={"ZipFile": package({file: source})},
            **{"MemorySize": WHOLE_CORE_MB, **changes},
        )

    def deploy(self, source, name="worker", **settings):
        self.create(source, name, **settings)
        self.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=PATIENT)
        return self.client.get_function_configuration(FunctionName=name)["FunctionArn"]

    def replace(self, source, name="worker"):
        self.client.update_function_code(FunctionName=name, ZipFile=package({"app.py": source}))
        self.client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=PATIENT)


@pytest.fixture
def functions(tule, fresh_account):
    return Functions(tule.client("lambda", account=fresh_account))


@pytest.fixture
def functions_of():
    """For tests with a Tule of their own."""
    return lambda tule: Functions(tule.client("lambda"))
