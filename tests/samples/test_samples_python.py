"""The sample for Python, and its two halves."""

import os
import re
import shutil
from pathlib import Path

import pytest

import function_packages
from function_account import reports

HEAVY = ("pandas", "numpy", "sklearn")

STAND_IN = """
print("imported", __name__.partition(".")[0])
RandomForestClassifier = object
"""


@pytest.fixture
def heavy(cloud):
    """A layer of small packages that bear the names of the heavy ones and say when they are imported."""
    files = {f"python/{name}/__init__.py": STAND_IN for name in HEAVY}
    return cloud.layer("heavy", {**files, "python/sklearn/ensemble.py": "RandomForestClassifier = object\n"})


def deploy(cloud, samples, sample, layer):
    source = samples / f"{sample}.py" if (samples / f"{sample}.py").is_file() else samples / "restored" / f"{sample}.py"
    files = {f"{sample}.py": source}
    name = f"sample-{sample}"
    return cloud.create(name, files, f"{sample}.handler", "python3.11", layers=[layer])


def imported(lines):
    return {line.removeprefix("imported ").strip() for line in lines if line.startswith("imported ")}


def test_001_5_imports_everything_when_it_begins(cloud, samples, heavy):
    name = deploy(cloud, samples, "001_5", heavy)
    assert cloud.invoke(name, {"needs_ml": False}) == (None, None)
    assert imported(cloud.lines(name, reports(1))) == set(HEAVY)


def test_001_5_before_imports_everything_when_it_begins(cloud, samples, heavy):
    name = deploy(cloud, samples, "001_5_before", heavy)
    assert cloud.invoke(name, {}) == (None, None)
    assert imported(cloud.lines(name, reports(1))) == set(HEAVY)


def test_001_5_after_imports_what_an_event_asks_for(cloud, samples, heavy):
    name = deploy(cloud, samples, "001_5_after", heavy)
    assert cloud.invoke(name, {"needs_ml": False}) == (None, None)
    assert imported(cloud.lines(name, reports(1))) == set()
    assert cloud.invoke(name, {"needs_ml": True}) == (None, None)
    assert imported(cloud.lines(name, reports(2))) == {"sklearn"}


@pytest.fixture(scope="session")
def real():
    """The heavy packages themselves as a layer's files, without what is never run: a layer may have 250 MB."""
    lock = Path(__file__).with_name("heavy.lock")
    folder = function_packages.python_project("heavy", lock)
    for tests in [path for path in folder.rglob("tests") if path.is_dir()]:
        shutil.rmtree(tests)
    return {
        name: path
        for name, path in function_packages.folder_files(folder, "python/").items()
        if not name.endswith((".pyi", ".pyx", ".pxd", ".h", ".a", ".lib")) and "/include/" not in name
    }


def init_ms(cloud, name):
    line = next(line for line in cloud.lines(name, reports(1)) if line.startswith("REPORT"))
    return float(re.search(r"Init Duration: ([\d.]+) ms", line)[1])


@pytest.mark.faults
@pytest.mark.skipif("TULE_SOAK" not in os.environ, reason="installs 300 MB of packages; stand-ins are the short round")
def test_001_5_begins_five_times_faster_without_the_heavy_packages(cloud, samples, real):
    layer = cloud.layer("heavy", real)
    times = {}
    for sample in ("001_5", "001_5_before", "001_5_after"):
        name = deploy(cloud, samples, sample, layer)
        assert cloud.invoke(name, {"needs_ml": False}) == (None, None)
        times[sample] = init_ms(cloud, name)
    assert times["001_5_before"] / times["001_5_after"] > 5, times
