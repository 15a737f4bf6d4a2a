"""tule cold-starts against a function that runs."""

import io
import json
import zipfile

import pytest
from test_commands import tule_command

from tule.testing.server import Tule

ROLE = "arn:aws:iam::000000000000:role/r"


@pytest.fixture(scope="module")
def running():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", "import slow\n\ndef handler(event, context):\n    return 1\n")
        archive.writestr("slow.py", "import time\ntime.sleep(0.2)\n")
    with Tule() as tule:
        functions = tule.client("lambda")
        functions.create_function(
            FunctionName="sleepy", Runtime="python3.11", Handler="app.handler", Role=ROLE,
            Code={"ZipFile": buffer.getvalue()},
        )  # fmt: skip
        functions.get_waiter("function_active_v2").wait(FunctionName="sleepy", WaiterConfig={"Delay": 1})
        functions.invoke(FunctionName="sleepy")
        yield tule


def test_the_flame_names_what_to_defer(running):
    done = tule_command("cold-starts", "sleepy", home=running.directory)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("sleepy $LATEST")
    assert "init phase" in lines[0]
    flame = {line.split()[0]: line for line in lines[1:]}
    assert {"queue", "process", "sandbox", "init", "app", "slow"} <= set(flame)
    assert "███" in flame["slow"]
    assert "Worth deferring: slow, imported by app." in lines[-1]


def test_json_has_every_start(running):
    done = tule_command("cold-starts", "sleepy", "--json", home=running.directory)
    (told,) = json.loads(done.stdout)["versions"]
    assert told["defer"]["module"] == "slow"
    assert told["defer"]["saving_ms"] >= 50
    assert len(told["starts"]) == told["count"] == 1


def test_a_function_without_cold_starts_is_told_so(running):
    done = tule_command("cold-starts", "nobody", home=running.directory)
    assert done.returncode == 1
    assert "No cold start of nobody is known." in done.stderr
