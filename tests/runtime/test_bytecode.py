"""Bytecode of packages: made once, of what a function imported, and met by later instances."""

import json

import pytest

from tule.runtime import bytecode

APP = """
import os, sys, traceback
from many import failing
import many.m0

def handler(event, context):
    try:
        failing.fail()
    except ValueError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
    return {
        "loaded": many.m0.__spec__.cached, "there": os.path.exists(many.m0.__spec__.cached),
        "where": [frame.filename, frame.lineno, frame.line], "seen": sorted(os.listdir("/var/task/many/__pycache__"))
        if os.path.isdir("/var/task/many/__pycache__") else [],
    }
"""
MANY = {
    "app.py": APP,
    "many/__init__.py": "\n".join(f"from many import m{number}" for number in range(12)),
    "many/failing.py": "def fail():\n    raise ValueError('no')\n",
    "many/unused.py": "1\n",
    **{f"many/m{number}.py": f"VALUE = {number}\n" for number in range(12)},
}


@pytest.fixture
def python(make_bench):
    bench = make_bench()
    bench.wait(bench.functions.supply.runner())
    if not bench.functions.supply.tree:
        pytest.skip("no tree of its own here")
    return bench


def called(bench, version):
    outcome = bench.invoke(version)
    assert outcome.error is None, outcome.payload
    return json.loads(outcome.payload)


def again(bench, version):
    """The same version on a new instance, when what was begun is done."""

    async def wait():
        await bench.functions._bytecode.settled()
        await bench.functions.retire(version.arn)

    bench.wait(wait())
    return called(bench, version)


@pytest.mark.parametrize("runtime", ["python3.11", "python3.13"])
def test_later_instances_find_what_the_first_imported_compiled(python, runtime):
    version = python.version(MANY, runtime=runtime)
    first = called(python, version)
    assert not first["there"]
    second = again(python, version)
    assert second["there"]
    assert second["where"] == ["/var/task/many/failing.py", 2, "raise ValueError('no')"]
    assert len(second["seen"]) == 14, "what was not imported is not compiled"
    assert first["where"] == second["where"]


def test_snapshots_tell_what_they_imported_too(python):
    version = python.version(MANY, snap_start=True, version="1")
    assert python.wait(python.functions.snapshot(version)).reason == ""
    assert again(python, version)["there"]


def test_few_modules_are_compiled_each_time(python):
    version = python.version({"app.py": "def handler(event, context): return 1"})
    python.invoke(version)
    python.wait(python.functions._bytecode.settled())
    assert not list((python.home / "packages").glob("bytecode-*"))


def test_bytecode_that_a_package_brings_stays_as_it_is_in_the_package(python):
    files = {**MANY, "many/__pycache__/m0.cpython-311.pyc": b"stale"}
    version = python.version(files)
    called(python, version)
    assert again(python, version)["there"]
    assert (python.home / "packages" / version.code / "many/__pycache__/m0.cpython-311.pyc").read_bytes() == b"stale"


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("app.py", True), ("a/b/c.py", True), ("../app.py", False), ("a/../../app.py", False), ("/etc/app.py", False),
        ("app.txt", False), ("a\0.py", False), (7, False),
    ],
)  # fmt: skip
def test_what_an_instance_tells_is_a_source_of_the_package(name, good):
    assert bytecode._is_source(name) == good
