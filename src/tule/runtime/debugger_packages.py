"""debugpy for functions in Python: installed from PyPI by its lock file, once for each Python, when first needed."""

import asyncio
import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

from tule.runtime.contract import RuntimeUnavailableError

LOCK: Final = Path(__file__).with_name("debugger.lock")
INSTALLED_WITHIN_S: Final = 120.0
IN_TREE: Final = "/var/runtime/debugger"


def folder_of(cache: Path, minor: int) -> Path:
    """Where debugpy for Python 3.`minor` belongs."""
    return cache / f"debugger-{sha256(LOCK.read_bytes()).hexdigest()[:16]}-3.{minor}"


async def install(cache: Path, minor: int) -> Path:
    """The folder with debugpy. Raises `RuntimeUnavailableError` with what stood in the way."""
    place = folder_of(cache, minor)
    if place.is_dir():
        return place
    draft = place.with_name(f".draft-{place.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--python-version", f"3.{minor}", "--require-hashes", "--requirement", str(LOCK),
        "--target", str(draft),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(INSTALLED_WITHIN_S):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        errors = f"it took longer than {INSTALLED_WITHIN_S:g} s".encode()
    if process.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        why = errors.decode("utf-8", "replace").strip()[-500:]
        raise RuntimeUnavailableError(f"debugpy can't be installed: {why} A package that brings debugpy needs none.")
    place.parent.chmod(0o755)
    draft.chmod(0o755)
    try:
        draft.rename(place)
    except OSError:  # another Tule with this home was first
        shutil.rmtree(draft, ignore_errors=True)
        if not place.is_dir():
            raise
    return place
