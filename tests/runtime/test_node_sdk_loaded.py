"""Handlers in Node that use the runtime's AWS SDK meet it loaded."""

import asyncio
import json

import pytest

from tule.runtime import sdk

CLIENT = "exports.loadedFor = process.env.AWS_LAMBDA_FUNCTION_NAME ?? 'nobody yet';\n"
USING = """
import { loadedFor } from "@aws-sdk/client-sts";
export const handler = async () => [loadedFor, process.argv.length];
"""


@pytest.fixture
def bench(make_bench, tmp_path):
    """A runtime with a stand-in for the SDK: the real one comes from npm."""
    cache = tmp_path / "cache"
    for name in ("client-sts", "client-dynamodb"):
        folder = sdk.node_cache(cache) / "node_modules/@aws-sdk" / name
        folder.mkdir(parents=True)
        (folder / "index.js").write_text(CLIENT)
    bench = make_bench(cache=cache)
    bench.wait(bench.functions.supply.runner())
    if not bench.functions.supply.tree:
        pytest.skip("Node is not started ahead here.")
    return bench


def told(bench, files):
    version = bench.version(files, runtime="nodejs22.x", name="using")
    bench.wait(bench.functions.prepare(version))
    return json.loads(bench.invoke(version).payload)


def test_a_package_that_uses_the_sdk_and_brings_none_finds_it_loaded(bench):
    assert told(bench, {"app.mjs": USING}) == ["nobody yet", 2]
    source = "const { loadedFor } = require('@aws-sdk/client-sts');\nexports.handler = async () => [loadedFor];\n"
    assert told(bench, {"app.js": source}) == ["nobody yet"]


def test_a_package_that_brings_its_own_gets_its_own(bench):
    own = {"node_modules/@aws-sdk/client-sts/index.js": CLIENT}
    assert told(bench, {"app.mjs": USING, **own}) == ["using", 2]
    homes = {instance.home for instance in bench.functions.supply.instances.values()}
    assert not any(home.endswith("+loaded") for home in homes)


def test_a_package_that_does_without_waits_beside_others(bench):
    plain = bench.version({"app.mjs": "export const handler = async () => 1;\n"}, runtime="nodejs22.x")
    assert bench.invoke(plain).payload == b"1"
    bench.wait(asyncio.sleep(0))
    homes = {instance.home for instance in bench.functions.supply.instances.values()}
    assert not any(home.endswith("+loaded") for home in homes)


@pytest.mark.parametrize(
    ("files", "answer"),
    [
        ({"app.mjs": "import {a} from '@aws-sdk/client-s3'"}, "wanted"),
        ({"src/app.js": 'const s = require("@aws-sdk/client-s3")'}, "wanted"),
        ({"app.mjs": 'const s = await import( "@aws-sdk/client-s3")'}, "wanted"),
        ({"app.js": "// @aws-sdk/client-s3 is not needed"}, ""),
        ({"app.js": "1", "node_modules/x/index.js": "require('@aws-sdk/client-s3')"}, ""),
        ({"app.js": "require('@aws-sdk/client-s3')", "node_modules/@aws-sdk/client-s3/index.js": ""}, "bundled"),
        ({"app.py": "import boto3"}, "wanted"),
    ],
)
def test_what_a_package_has_to_do_with_the_sdk(make_bench, files, answer):
    bench = make_bench()
    assert bench.functions.packages.sdk(bench.package(files)) == answer
