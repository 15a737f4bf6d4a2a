"""The AWS SDK for JavaScript comes from npm, and what happens when it doesn't.

npm is a program of somebody else's, and needs the network: a script stands in for it.
"""

import asyncio
import json
import shutil
import subprocess
import sys

import pytest

from tule.runtime import node_sdk, sdk
from tule.runtime.hosts import Interpreter

NPM = """
const fs = require("fs");
if (!fs.existsSync(process.env.TEST_NETWORK)) {
  console.error("npm error network unreachable");
  process.exit(1);
}
fs.mkdirSync("node_modules/own-sdk", { recursive: true });
"""


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A Node with an npm beside it that works while a file "network" exists."""
    program = shutil.which("node")
    assert program, "These tests need Node on the PATH."
    monkeypatch.setenv("TEST_NETWORK", str(tmp_path / "network"))
    script = tmp_path / "lib/node_modules/npm/bin/npm-cli.js"
    script.parent.mkdir(parents=True)
    script.write_text(NPM)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/node").symlink_to(program)
    return Interpreter("node", 22, str(tmp_path / "bin/node"), str(tmp_path / "bin/node"))


def install(cache, node):
    asyncio.run(node_sdk.install(cache, node))


def test_a_failed_install_is_told_and_tried_again(tmp_path, node, capsys):
    cache = tmp_path / "cache"

    install(cache, node)

    assert sdk.node_modules(cache) == ""
    assert "npm error network unreachable" in node_sdk.failure_note(cache).read_text()
    assert "npm error network unreachable" in capsys.readouterr().out

    doctor = [sys.executable, "-m", "tule.cli.main", "doctor", "--json", "--port", "0", "--dir", str(tmp_path)]
    seen = json.loads(subprocess.run(doctor, capture_output=True, check=False).stdout)["findings"]
    (finding,) = [each for each in seen if "SDK for JavaScript" in each["what"]]
    assert finding["state"] == "hint"
    assert "npm error network unreachable" in finding["fix"]

    (tmp_path / "network").touch()
    install(cache, node)

    assert sdk.node_modules(cache) == str(sdk.node_cache(cache) / "node_modules")
    assert not node_sdk.failure_note(cache).exists()
    assert not list(cache.glob(".draft-*"))


def test_no_npm_is_told(tmp_path, node, monkeypatch):
    shutil.rmtree(tmp_path / "lib")
    monkeypatch.setenv("PATH", str(tmp_path))

    install(tmp_path / "cache", node)

    assert "There is no npm" in node_sdk.failure_note(tmp_path / "cache").read_text()


def test_a_cache_that_cannot_be_written_is_told_in_the_log(tmp_path, node, capsys):
    (tmp_path / "cache").write_text("a file")

    install(tmp_path / "cache", node)

    assert "could not be installed" in capsys.readouterr().out


def test_modules_that_come_later_reach_functions_of_a_runtime_that_runs(make_bench, tmp_path, node):
    bench = make_bench(cache=tmp_path / "cache")
    files = {"index.mjs": "import own from 'own-sdk'; export const handler = async () => own"}
    first = bench.version(files, runtime="nodejs22.x", handler="index.handler", revision="1")
    assert "own-sdk" in bench.invoke(first).payload.decode()

    modules = sdk.node_cache(tmp_path / "cache") / "node_modules/own-sdk"
    modules.mkdir(parents=True)
    (modules / "index.js").write_text("module.exports = 'came later'")
    again = bench.version(files, runtime="nodejs22.x", handler="index.handler", revision="2")

    assert bench.invoke(again).payload == b'"came later"'
