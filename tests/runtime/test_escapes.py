"""Functions try to get out, on every rung of the ladder that this machine offers."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from escapes import ESCAPES, FULL, LANDLOCK, NO_GROUPS, RUNGS, USER, table

from tule.runtime import rungs

HERE = Path(__file__).parent
ANSWERS_WITHIN_S = 20
"""How long a neighbour may take beside an attack on a busy machine of two cores: what matters is that it answers."""

GROWS_MB = 200
"""What an attack may cost Tule's own process."""


class Rung:
    """A runtime on one rung, in a process of its own."""

    def __init__(self, name):
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix="tule-escapes-", dir="/var/tmp")
        Path(self._folder.name).chmod(0o711)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "on_rung.py"), name, self._folder.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.hello = self._heard()

    def _heard(self):
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise AssertionError(f"The runtime on the rung {self.name} ended.")

    def attempt(self, escape):
        asked = {"title": escape.title, "source": escape.source, "fields": dict(escape.fields)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._heard()

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._folder.cleanup()


@pytest.fixture(scope="module", params=RUNGS)
def rung(request):
    name = request.param
    if sys.platform != "linux":
        pytest.skip("functions are confined on Linux alone")
    best = rungs.look()
    if name in {FULL, NO_GROUPS} and (os.geteuid() != 0 or best.name != rungs.FULL):
        pytest.skip(f"this machine offers {best.text}")
    if name == USER and best.name not in {rungs.FULL, rungs.NAMESPACES}:
        pytest.skip(f"this machine offers {best.text}")
    running = Rung(name)
    yield running
    running.close()


def test_the_rung_is_the_one_that_is_meant(rung):
    expected = {FULL: rungs.FULL, LANDLOCK: rungs.LANDLOCK}.get(rung.name, rungs.NAMESPACES)
    assert rung.hello["rung"].split()[0] == expected, rung.hello


@pytest.mark.parametrize("escape", ESCAPES, ids=[one.title.split(":")[0] for one in ESCAPES])
def test_an_escape_is_contained(rung, escape):
    found = rung.attempt(escape)
    result = found["error_type"] or json.loads(found["payload"])
    if rung.name in escape.open_on:
        assert found["neighbour_s"] < ANSWERS_WITHIN_S
        return
    assert result in escape.answers, found
    assert found["again"] in {"", result}, found
    assert found["neighbour_s"] < ANSWERS_WITHIN_S, found
    assert found["grown_mb"] < GROWS_MB, found


def test_the_published_table_is_this_suites():
    page = HERE.parents[1] / "docs/reference/sandbox.md"
    assert table() in page.read_text(), "Renew it: python tests/runtime/escapes.py"
