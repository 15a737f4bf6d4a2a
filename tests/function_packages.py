"""Deployment packages with npm's and PyPI's packages in them, each installed once for a lock file."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from installed import once

HERE = Path(__file__).parent
NODE = HERE / "clients" / "functions"

APIS_OF_V2 = ("metadata.json", "sqs-", "dynamodb-", "s3-", "lambda-", "sts-")
"""Of the JavaScript SDK v2's models, what functions in these tests call; all of them would not fit into a package."""

_NOT_RUN = (".d.ts", ".map", ".md", ".markdown")


def _npm_ci(folder):
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(NODE / name, folder / name)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)


def node_project():
    """Where npm's packages for functions are installed."""
    return once("functions", (NODE / "package-lock.json").read_bytes(), _npm_ci)


def python_project(name, requirements):
    """Where PyPI's packages of a requirements file with hashes are installed."""

    def pip(folder):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["--no-deps", "--require-hashes", "--requirement", str(requirements), "--target", str(folder)]
        subprocess.run(command, check=True)

    return once(name, requirements.read_bytes(), pip)


def zipped(files):
    """A zip of names and contents: text, bytes, or a file's path."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
    return buffer.getvalue()


def folder_files(folder, prefix=""):
    """Every file below a folder, as `zipped` takes them."""
    return {
        f"{prefix}{path.relative_to(folder)}": path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def modules(*names):
    """node_modules with these packages and all that they need."""
    root = node_project() / "node_modules"
    files, wanted, seen = {}, [root / name for name in names], set()
    while wanted:
        folder = wanted.pop()
        if folder in seen:
            continue
        seen.add(folder)
        files |= _package_files(folder, root)
        manifest = json.loads((folder / "package.json").read_text())
        needed = {**manifest.get("dependencies", {}), **manifest.get("optionalDependencies", {})}
        found = (_resolved(folder, root, name) for name in needed)
        wanted += [place for place in found if place is not None]
    return files


def _resolved(folder, root, name):
    """Where `require(name)` looks from `folder`, up to the project."""
    while True:
        place = folder / "node_modules" / name
        if place.is_dir():
            return place
        if folder == root.parent:
            return None
        folder = folder.parent


def _package_files(folder, root):
    files = {}
    for path in folder.rglob("*"):
        inner = path.relative_to(folder)
        if not path.is_file() or "node_modules" in inner.parts or path.name.endswith(_NOT_RUN):
            continue
        if folder.name.startswith("aws-sdk") and _unused_of_v2(inner):
            continue
        files[f"node_modules/{path.relative_to(root)}"] = path
    return files


def _unused_of_v2(inner):
    if inner.parts[0] == "apis":
        return not inner.name.startswith(APIS_OF_V2)
    return inner.parts[0] in {"dist", "dist-tools", "scripts"}
