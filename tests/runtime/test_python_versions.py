"""Functions on the Python that their runtime names, if the host has it on the PATH, or on the nearest."""

import json
import re
import sys
from pathlib import Path

import pytest

ANSWER = "import sys, json\ndef handler(e, c): return [sys.version_info[:2], json.dumps({'e': e})]"
OWN = sys.version_info[1]


def others():
    """Other Pythons that this machine has, wherever, by minor version; these tests put them on a PATH of their own."""
    places = [*Path("/usr/bin").glob("python3.*"), *Path("/usr/local/bin").glob("python3.*")]
    places += Path("~/.pyenv/versions").expanduser().glob("*/bin/python3.*")
    found = {int(place.name[8:]): place for place in places if re.fullmatch(r"python3\.\d+", place.name)}
    return {minor: place for minor, place in sorted(found.items()) if 10 <= minor < 16 and minor != OWN}


OTHERS = others()


@pytest.fixture
def host(tmp_path, monkeypatch, make_bench):
    """A runtime on a host whose PATH has the given Pythons, besides Tule's own."""

    def with_pythons(*minors):
        folder = tmp_path / "bin"
        folder.mkdir()
        for minor in minors:
            (folder / f"python3.{minor}").symlink_to(OTHERS[minor].resolve())
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setenv("HOME", str(tmp_path))
        return make_bench()

    return with_pythons


@pytest.mark.skipif(not OTHERS, reason="This machine has no Python besides Tule's own.")
def test_functions_run_on_the_version_they_name(host):
    bench = host(*OTHERS)
    for minor in OTHERS:
        version = bench.version({"app.py": ANSWER}, runtime=f"python3.{minor}", name=f"f{minor}")

        outcome = bench.invoke(version, b'{"a": "\xc3\xa9"}')

        assert outcome.error is None, outcome.payload
        assert json.loads(outcome.payload) == [[3, minor], '{"e": {"a": "\\u00e9"}}']
        assert bench.functions.nearest(version.runtime) == ""
        assert "is not on this machine" not in outcome.log_tail.decode()


def test_a_version_that_is_missing_falls_to_the_nearest_with_a_warning(host):
    bench = host()
    minor = OWN + 1 if OWN < 15 else OWN - 1
    version = bench.version({"app.py": ANSWER}, runtime=f"python3.{minor}")

    outcome = bench.invoke(version, b"null")

    assert json.loads(outcome.payload)[0] == [3, OWN]
    warning = f"python3.{minor} is not on this machine; the function runs on python3.{OWN} ("
    assert bench.functions.nearest(version.runtime).startswith(warning)
    assert f"Tule: {warning}" in outcome.log_tail.decode()


@pytest.mark.skipif(not OTHERS, reason="This machine has no Python besides Tule's own.")
def test_boto3_is_there_on_other_versions(host):
    bench = host(*OTHERS)
    source = "import boto3\ndef handler(e, c): return boto3.client('sqs').meta.service_model.service_name"
    for minor in OTHERS:
        version = bench.version({"app.py": source}, runtime=f"python3.{minor}", name=f"sdk{minor}", timeout_s=20)

        assert bench.invoke(version).payload == b'"sqs"'
