"""The rules of STYLE.md that a machine can check."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = sorted((ROOT / "src" / "tule").rglob("*.py"))
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70

CLOCKS_AND_CHANCE = {"time", "random", "uuid", "secrets"}
"""Modules that only the kernel may import, so that a test can hold time still and a simulation can be repeated."""

OWN_PROCESS = (
    "runtime/bootstrap",
    "runtime/child",
    "testing",
    "cli",
)
"""Code that runs outside Tule's own process, or only drives it: it has no service clock to ask."""

BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "src" / "tule").as_posix()


def in_own_process(path: Path) -> bool:
    return relative(path).startswith(OWN_PROCESS)


def uses_of_time(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in CLOCKS_AND_CHANCE:
                    yield node.lineno, f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom) and node.module in CLOCKS_AND_CHANCE:
            yield node.lineno, f"from {node.module} import"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in {"asyncio.sleep", "datetime.now", "datetime.utcnow", "date.today"}:
                yield node.lineno, name


def test_only_the_kernel_reads_time_and_chance():
    found = [
        f"{relative(path)}:{line} {what}"
        for path in PRODUCT
        if not relative(path).startswith("kernel/") and not in_own_process(path)
        for line, what in uses_of_time(ast.parse(path.read_text()))
    ]
    assert found == []


def test_files_and_functions_fit_a_screen():
    long = []
    for path in PRODUCT:
        text = path.read_text()
        lines = text.count("\n")
        if lines > MAX_FILE_LINES:
            long.append(f"{relative(path)} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    long.append(f"{relative(path)}:{node.lineno} {node.name} has {length} lines")
    assert long == []


def test_no_module_is_named_for_nothing():
    assert [relative(path) for path in PRODUCT if path.stem in BANNED_NAMES or path.parent.name in BANNED_NAMES] == []


def test_every_ignore_gives_its_reason():
    bare = re.compile(r"#\s*(noqa(?!: [A-Z0-9, ]+ - \S)|type: ignore(?!\[[a-z0-9,\- ]+\]\s+# ?\S))")
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:100]}"
        for folder in ("src", "tests", "bench")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


def test_the_project_names_no_machine_and_no_registry():
    needles = re.compile(
        rb"/wo"
        rb"rk/(main|shared|\.library)|registry\.npm"
        rb"js|files\.python"
        rb"hosted|//py"
        rb"pi\.|deb\.deb"
        rb"ian"
    )
    found = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path.is_file() and path != Path(__file__) and needles.search(path.read_bytes())
    ]
    assert found == []


def service_folders() -> list[Path]:
    return sorted(path.parent for path in (ROOT / "src/tule/services").glob("*/service.py"))


@pytest.mark.parametrize("folder", service_folders(), ids=lambda folder: folder.name)
def test_every_service_says_what_it_covers(folder):
    page = (folder / "README.md").read_text()
    assert "ifferences" in page, "a service's README names its known differences from AWS"


def test_the_command_line_starts_without_what_it_may_not_need():
    heavy = {"botocore", "boto3", "samtranslator", "rich", "cryptography", "yaml", "asyncio", "tule.app"}
    code = f"import sys, tule.cli.main; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
