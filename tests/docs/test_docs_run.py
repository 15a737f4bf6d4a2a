"""What the docs tell people to type is typed here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.fixture
def shell(tmp_path):
    """Runs a script with `tule` on the path and a home and port of its own; whatever it leaves running is stopped."""
    binaries = str(Path(sys.executable).parent)
    environment = {
        "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TULE_DIR": str(tmp_path / "home"),
        "TULE_PORT": "0",
        "AWS_PAGER": "",
        "LANG": "C.UTF-8",
    }

    def run(script):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    yield run
    run("tule status >/dev/null 2>&1 && tule down || true")


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_works_as_it_is_written(shell, page):
    script = "\n".join(BLOCK.findall(page.read_text()))
    done = shell(script)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def pages():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert broken == []


def test_the_tutorials_need_nothing_of_this_machine():
    assert os.environ.get("TULE_DIR") is None, "a developer's own Tule must not be what the tutorials talk to"


def test_the_reference_is_what_the_code_says():
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run: python docs/generate.py"
