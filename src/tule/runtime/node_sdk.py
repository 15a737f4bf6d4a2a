"""Installing the AWS SDK for JavaScript v3 for handlers that bring none. Once per lock, from npm, into Tule's cache."""

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from tule.runtime import sdk
from tule.runtime.hosts import Interpreter

INSTALLED_WITHIN_S: Final = 180.0

TRY_AGAIN: Final = ("--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000")
"""npm's own pauses are ten seconds and a minute, in which a function would stay Pending where there is no network."""

RETRY_WAIT_S: Final = 20.0
"""How long a function waits for another attempt after one has failed (ours): offline it would fail just as slowly."""

_log = structlog.get_logger("tule.runtime")
_running: dict[Path, asyncio.Task[None]] = {}


async def install(cache: Path, node: Interpreter) -> None:
    """Have the modules in place. Failing (no network, no npm) is logged: handlers that bundle their SDK need none."""
    if not (sdk.NODE_MANIFEST / "package-lock.json").exists() or sdk.node_modules(cache):
        return
    task = _running.get(cache)
    if task is None:
        task = _running[cache] = asyncio.get_running_loop().create_task(_install(cache, node))
        task.add_done_callback(lambda _: _running.pop(cache, None))
    again = failure_note(cache).exists()
    await asyncio.wait({task}, timeout=RETRY_WAIT_S if again else None)


def failure_note(cache: Path) -> Path:
    """A file that says why the last attempt failed, for people; missing while none has."""
    return sdk.node_cache(cache).with_suffix(".failed")


async def _install(cache: Path, node: Interpreter) -> None:
    """Try once; the next function that needs the modules tries again."""
    try:
        why = await _attempt(cache, node)
    except OSError as error:
        why = str(error)
    note = failure_note(cache)
    with suppress(OSError):
        if why:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(why)
        else:
            note.unlink(missing_ok=True)
    if why:
        _log.warning("the AWS SDK for JavaScript could not be installed: handlers must bundle it", why=why)


async def _attempt(cache: Path, node: Interpreter) -> str:
    """Install; why that failed, or ""."""
    npm = _npm(node)
    if not npm:
        return "There is no npm, neither beside Node nor on the PATH."
    place = sdk.node_cache(cache)
    draft = place.with_name(f".draft-{place.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(sdk.NODE_MANIFEST / name, draft / name)
    process = await asyncio.create_subprocess_exec(
        *npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", *TRY_AGAIN,
        cwd=draft, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(INSTALLED_WITHIN_S):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        shutil.rmtree(draft, ignore_errors=True)
        return f"npm ci took longer than {INSTALLED_WITHIN_S:g} s."
    if process.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        return f"npm ci failed: {errors.decode('utf-8', 'replace').strip()[-500:]}"
    place.parent.chmod(0o755)
    draft.chmod(0o755)
    draft.rename(place)
    return ""


def _npm(node: Interpreter) -> list[str]:
    """npm beside this Node, or the one on the path."""
    script = Path(node.program).parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    if script.exists():
        return [node.program, str(script)]
    found = shutil.which("npm")
    return [found] if found else []
