"""Where a cold start's time went: what is told of real starts, and what is made of it."""

import asyncio
import json

import pytest

from tule.runtime.cold_report import report
from tule.runtime.cold_starts import INIT, ColdStart, Module, VersionStarts

SLOW = "import time\ntime.sleep({seconds})\n"
FILES = {
    "app.py": "import json\nimport service\n\ndef handler(event, context):\n    return 1\n",
    "service.py": "import heavy.things\n",
    "heavy/__init__.py": "",
    "heavy/things.py": SLOW.format(seconds=0.05) + "from heavy import more\n",
    "heavy/more.py": SLOW.format(seconds=0.02),
}


def test_modules_are_told_as_they_nest_and_the_costliest_is_named(bench):
    version = bench.version(FILES, name="nesting")
    assert bench.invoke(version).payload == b"1"
    (kept,) = bench.functions.cold_starts("nesting")
    start = kept.starts[-1]
    assert start.kind == INIT
    assert list(start.phases) == ["queue", "process", "sandbox", "init"]
    assert sum(start.phases.values()) == pytest.approx(start.total_ms, abs=0.1)
    assert start.unpacked_ms > 0
    tree = {module.name: module for module in start.modules}
    assert [(name, tree[name].depth) for name in ("app", "service", "heavy.things", "heavy.more")] == [
        ("app", 0), ("service", 1), ("heavy.things", 2), ("heavy.more", 3),
    ]  # fmt: skip
    assert tree["heavy.more"].own_us >= 20_000
    assert 50_000 <= tree["heavy.things"].own_us < tree["heavy.things"].us - 20_000 + 1
    assert tree["app"].us >= 70_000
    assert start.phases["init"] >= 70
    told = report(kept)
    assert told.defer.module == "heavy.things"
    assert told.defer.imported_by == "service"
    assert told.defer.saving_ms >= 70


def test_a_warm_request_is_no_cold_start(bench):
    version = bench.version({"app.py": "def handler(event, context): return 1"}, name="warm")
    for _ in range(3):
        bench.invoke(version)
    (kept,) = bench.functions.cold_starts(version.arn)
    assert len(kept.starts) == 1
    assert report(kept).defer is None
    assert bench.functions.cold_starts(version.arn, "7") == []
    assert bench.functions.cold_starts("unknown") == []


def test_timing_imports_leaves_tracebacks_as_they_are(bench):
    files = {"app.py": "import inner\n", "inner.py": "import deepest\n", "deepest.py": "raise ValueError('no')\n"}
    told = json.loads(bench.invoke(bench.version(files)).payload)
    files = [line.split('"')[1].rpartition("/")[2] for line in told["stackTrace"]]
    assert files == ["app.py", "inner.py", "deepest.py"]


def test_a_failed_start_is_none(bench):
    version = bench.version({"app.py": "import nothing_there"}, name="failing")
    bench.invoke(version)
    bench.invoke(version)
    assert all(start.phases for kept in bench.functions.cold_starts("failing") for start in kept.starts)


def test_they_outlive_a_restart(make_bench, tmp_path):
    bench = make_bench()
    version = bench.version(FILES, name="kept")
    bench.invoke(version)
    before = bench.functions.cold_starts("kept")
    bench.wait(bench.functions.stop())
    again = make_bench()
    assert again.functions.cold_starts("kept") == before
    bench.wait(asyncio.sleep(0))
    (tmp_path / "cold-starts.json").write_text("{broken")
    assert make_bench().functions.cold_starts("kept") == []


def start(ms, modules, kind=INIT):
    told = [Module(name, depth, own, all_) for name, depth, own, all_ in modules]
    return ColdStart(at_ms=0, kind=kind, phases={"process": 1.0, "init": ms}, total_ms=ms + 1, modules=told)


@pytest.mark.parametrize(
    ("modules", "deferrable"),
    [
        ([], None),
        ([("app", 0, 5000, 5000)], None),
        ([("app", 0, 10, 900), ("small", 1, 890, 890)], None),
        ([("app", 0, 10, 9000), ("a", 1, 2000, 2000), ("b", 1, 6000, 6000)], "b"),
        ([("app", 0, 10, 9000), ("own", 1, 100, 8000), ("pd", 2, 10, 7900), ("pd.core", 3, 7890, 7890)], "pd"),
        ([("app", 0, 10, 9000), ("own", 1, 4000, 8000), ("pandas", 2, 4000, 4000)], "own"),
        ([("pkg.app", 0, 10, 9000), ("pkg", 1, 7000, 7000), ("b", 1, 1500, 1500)], "b"),
    ],
)  # fmt: skip
def test_what_is_worth_deferring(modules, deferrable):
    told = report(VersionStarts("arn", "1", [start(10, modules)]))
    assert (told.defer.module if told.defer else None) == deferrable


def test_medians_are_of_starts_of_the_newest_kind():
    starts = [start(ms, [("app", 0, ms * 1000, ms * 1000)]) for ms in (10, 30, 20)]
    told = report(VersionStarts("arn", "1", [start(500, [], "restore"), *starts]))
    assert (told.kind, told.count, told.total_ms) == (INIT, 3, 21)
    assert told.phases == {"process": 1.0, "init": 20}
    assert told.modules[0].ms == 20
    assert report(VersionStarts("arn", "1", [*starts, start(5, [], "restore")])).modules == []


NODE = {
    "app.js": "const own = require('./own');\nexports.handler = async () => 1;\n",
    "own.js": "require('heavy');\n",
    "node_modules/heavy/index.js": "const until = Date.now() + 30;\nwhile (Date.now() < until);\n",
}


def test_a_node_functions_modules_are_told_too(bench):
    version = bench.version(NODE, name="required", runtime="nodejs22.x")
    assert bench.invoke(version).payload == b"1"
    told = report(bench.functions.cold_starts("required")[0])
    tree = {module.name: module for module in told.modules}
    assert [(name, tree[name].depth) for name in ("app", "own", "heavy")] == [("app", 0), ("own", 1), ("heavy", 2)]
    assert tree["heavy"].own_ms >= 29
    assert told.defer.module == "heavy"


def test_of_es_modules_the_whole_is_told_and_what_they_import_of_common_js(bench):
    files = {**NODE, "app.mjs": "import './own.js';\nexport const handler = async () => 1;\n"}
    del files["app.js"]
    version = bench.version(files, name="imported", runtime="nodejs22.x")
    assert bench.invoke(version).payload == b"1"
    told = report(bench.functions.cold_starts("imported")[0])
    assert told.modules[0].name == "app"
    assert told.modules[0].ms >= 29
    assert told.defer.module == "heavy"
