"""What the docs tell people to type is typed here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tule.testing.postgresql import PostgresServer

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if "```sh\n" in page.read_text() and page.parent.name != "reference"
)
BLOCK = re.compile(r"```(sh|text)\n(.*?)```", re.DOTALL)
MARK = "::: what came before is of block "
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.fixture
def shell(tmp_path):
    """Runs a script with `tule` on the path and a home and port of its own; whatever it leaves running is stopped."""
    binaries = Path(sys.executable).parent
    folder = tmp_path / "folder"
    folder.mkdir()
    environment = {
        # how this machine reaches npm's and PyPI's packages is not what is tested
        **{name: value for name, value in os.environ.items() if not name.startswith(("TULE_", "AWS_"))},
        "NPM_CONFIG_USERCONFIG": str(Path("~/.npmrc").expanduser()),
        "NPM_CONFIG_CACHE": str(Path("~/.npm").expanduser()),
        "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TULE_DIR": str(tmp_path / "home"),
        "TULE_PORT": "0",
        "AWS_PAGER": "",
        "LANG": "C.UTF-8",
        "COLUMNS": "200",  # pages show what is printed where nothing cuts it
    }

    def run(script, cwd=folder, **more):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=cwd,
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    yield run
    run("tule status >/dev/null 2>&1 && tule down || true")


@pytest.fixture(scope="module")
def database():
    server = PostgresServer().start()
    yield server.fresh_database("tule")
    server.remove()


def script_of(blocks):
    """All shell blocks as one script that says where the output of each ends."""
    return "\n".join(f"{text}\necho '{MARK}{number}'" for number, (kind, text) in enumerate(blocks) if kind == "sh")


def unseen(expected, printed):
    """Lines of `expected` that `printed` does not have, in this order; … stands for anything."""
    left, missing = iter(printed.splitlines()), []
    for line in filter(None, expected.splitlines()):
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        if not any(pattern.fullmatch(other.rstrip()) for other in left):
            missing.append(line)
    return missing


def run_page(run, text, **environment):
    """Type every shell block of a page, and hold its text blocks against what came out of the block before."""
    blocks = BLOCK.findall(text)
    done = run(script_of(blocks), **environment)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    printed, rest = {}, done.stdout
    for number, (kind, _) in enumerate(blocks):
        if kind == "sh":
            printed[number], _, rest = rest.partition(f"{MARK}{number}\n")
    for number, (kind, expected) in enumerate(blocks):
        if kind == "text" and number - 1 in printed:
            assert unseen(expected, printed[number - 1]) == [], printed[number - 1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_works_as_it_is_written(request, shell, page):
    text = page.read_text()
    more = {"DATABASE_URL": request.getfixturevalue("database")} if "DATABASE_URL" in text else {}
    run_page(shell, text, **more)


def test_the_example_of_the_readme_works(shell):
    """With the programs of this environment instead of those of .venv, which a checkout may not have."""
    example = (ROOT / "README.md").read_text().partition("## One example")[2].partition("\n## ")[0]
    run_page(shell, example.replace(".venv/bin/", ""), cwd=ROOT)


def pages():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert broken == []


def test_pages_need_nothing_of_this_machine():
    assert os.environ.get("TULE_DIR") is None, "a developer's own Tule must not be what the tutorials talk to"


def test_the_reference_is_what_the_code_says():
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run: python docs/generate.py"
