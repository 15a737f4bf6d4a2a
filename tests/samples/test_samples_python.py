"""The sample for Python, and its two halves."""

import pytest

from function_account import reports

HEAVY = ("pandas", "numpy", "sklearn")

STAND_IN = """
import sys

print("imported", __name__.partition(".")[0])
RandomForestClassifier = object
"""


@pytest.fixture
def heavy():
    """Small packages that bear the names of the heavy ones and say when they are imported."""
    files = {f"{name}/__init__.py": STAND_IN for name in HEAVY}
    return {**files, "sklearn/ensemble.py": "RandomForestClassifier = object\n"}


def imported(lines):
    return {line.removeprefix("imported ").strip() for line in lines if line.startswith("imported ")}


def test_001_5_imports_everything_when_it_begins(cloud, samples, heavy):
    files = {"001_5.py": samples / "001_5.py", **heavy}
    name = cloud.create("whole", files, "001_5.handler", "python3.11")
    assert cloud.invoke(name, {"needs_ml": False}) == (None, None)
    assert imported(cloud.lines(name, reports(1))) == set(HEAVY)


def test_001_5_before_imports_everything_when_it_begins(cloud, samples, heavy):
    files = {"001_5_before.py": samples / "restored" / "001_5_before.py", **heavy}
    name = cloud.create("before", files, "001_5_before.handler", "python3.11")
    assert cloud.invoke(name, {}) == (None, None)
    assert imported(cloud.lines(name, reports(1))) == set(HEAVY)


def test_001_5_after_imports_what_an_event_asks_for(cloud, samples, heavy):
    files = {"001_5_after.py": samples / "restored" / "001_5_after.py", **heavy}
    name = cloud.create("after", files, "001_5_after.handler", "python3.11")
    assert cloud.invoke(name, {"needs_ml": False}) == (None, None)
    assert imported(cloud.lines(name, reports(1))) == set()
    assert cloud.invoke(name, {"needs_ml": True}) == (None, None)
    assert imported(cloud.lines(name, reports(2))) == {"sklearn"}
