"""What V8 compiled in a function's first cold start serves the later ones, and nobody else."""

import asyncio
import json

import pytest

from tule.runtime import compiled

TELLING = (
    "const MADE = ["
    + "".join(f"() => [{n}, 'text {n}', {{ n: {n} }}].map((v) => v),\n" for n in range(600))
    + "];"
    + """
const modules = require("node:module");
const fs = require("node:fs");
for (const make of MADE) make();
exports.handler = async () => {
  let written = "yes";
  try { fs.writeFileSync("/var/compiled/mine", "x"); } catch (error) { written = error.code; }
  return { from: modules.getCompileCacheDir?.() ?? null, written, tmp: fs.readdirSync("/tmp") };
};
"""
)


@pytest.fixture
def node(make_bench):
    bench = make_bench()
    bench.wait(bench.functions.supply.runner())
    if not bench.functions.supply.tree:
        pytest.skip("no tree of its own here")
    served = bench.wait(bench.functions.interpreters.serving("nodejs22.x"))
    if served.number < compiled.OLDEST_NODE:
        pytest.skip("needs Node 22")
    return bench


def called(bench, version):
    outcome = bench.invoke(version)
    assert outcome.error is None, outcome.payload
    assert outcome.cold
    return json.loads(outcome.payload)


def again(bench, version):
    """The same version on a new instance."""

    async def wait():
        await bench.functions.retire(version.arn)
        await bench.functions._compiled.close()

    bench.wait(wait())
    return called(bench, version)


def test_the_second_instance_finds_what_the_first_compiled(node):
    version = node.version({"app.js": TELLING}, runtime="nodejs22.x")
    first = called(node, version)
    assert first["from"].startswith("/tmp/.compiled")
    assert first["tmp"] == [], "what was collected is gone before the first request"
    second = again(node, version)
    assert second["from"].startswith("/var/compiled")
    assert second["written"] in ("EROFS", "EACCES")
    (folder,) = (node.home / "packages").glob("compiled-*")
    assert [file for file in folder.rglob("*") if file.is_file()]


def test_little_code_is_compiled_each_time(node):
    little = node.version({"app.js": "exports.handler = async () => 1;"}, runtime="nodejs22.x")
    node.invoke(little)
    node.wait(node.functions._compiled.close())
    assert not list((node.home / "packages").glob("compiled-*"))


def test_functions_don_t_share_even_the_same_package(node):
    mine = node.version({"app.js": TELLING}, runtime="nodejs22.x", name="mine")
    theirs = node.version({"app.js": TELLING}, runtime="nodejs22.x", name="theirs")
    called(node, mine)
    assert again(node, mine)["from"].startswith("/var/compiled")
    assert called(node, theirs)["from"].startswith("/tmp/.compiled")


def test_a_failed_init_hands_nothing_over(node):
    version = node.version({"app.js": "throw new Error('no')"}, runtime="nodejs22.x")
    assert node.invoke(version).error == "Unhandled"
    node.wait(asyncio.sleep(0))
    assert not list((node.home / "packages").glob("compiled-*"))


@pytest.mark.parametrize(
    ("files", "size", "good"),
    [
        ([["v24-x64/abc", 3], ["v24-x64/def", 2]], 5, True),
        ([["v24-x64/abc", 3]], 5, False),
        ([["../etc/abc", 5]], 5, False),
        ([["v24/../../abc", 5]], 5, False),
        ([["../abc", 5]], 5, False),
        ([["abc", 5]], 5, False),
        ([["v24/abc", -5], ["v24/abc", 10]], 5, False),
        ([["v24/abc", "5"]], 5, False),
        ([], 0, False),
        ("v24/abc", 5, False),
        ([["v24/abc", compiled.BYTES_MAX + 1]], compiled.BYTES_MAX + 1, False),
    ],
)
def test_what_an_instance_tells_is_believed_if_it_makes_sense(files, size, good):
    assert (compiled._files({"files": files}, size) is not None) == good
