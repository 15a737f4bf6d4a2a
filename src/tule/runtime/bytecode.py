"""Python's bytecode for packages: compiled once, after the first cold start has shown what a function imports.

A package is shared read-only, so Python itself can't keep what it compiles of it, and would compile all of it in every
cold start. Where there is much of that, the sources that were imported are compiled here, and later instances get a
tree of the package's files with the bytecode beside them. It is made of the package alone, whatever an instance says.
"""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import structlog

from tule.runtime.hosts import Interpreter
from tule.runtime.worker import Worker, WorkerError

LEAST_SOURCES: Final = 10
"""Fewer imported files are compiled in each cold start (ours): that takes less than a millisecond each."""

SOURCES_MAX: Final = 10_000
FOLDERS_MAX: Final = 100
"""Packages whose bytecode is kept (ours); of more, the oldest are made anew when needed."""

LIMIT_S: Final = 120.0
MEMORY_BYTES: Final = 1024 * 1024 * 1024
PREFIX: Final = "bytecode-"

_log = structlog.get_logger("tule.runtime")

_COMPILE: Final = """
import json, os, py_compile, sys
told = json.load(sys.stdin)
os.nice(14)
for name in told["sources"]:
    folder, file = os.path.split(name)
    target = os.path.join(told["into"], folder, "__pycache__", file[:-2] + sys.implementation.cache_tag + ".pyc")
    source = os.path.join(told["root"], name)
    if os.path.realpath(source) != source or not os.path.isfile(source):
        continue
    try:
        py_compile.compile(source, target, os.path.join(told["shown"], name), doraise=True, quiet=2,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except (py_compile.PyCompileError, OSError, ValueError, RecursionError):
        pass
"""


class Bytecode:
    """The trees, beside the unpacked packages."""

    def __init__(self, folder: Path, worker: Worker, shown: str) -> None:
        self._folder = folder
        self._worker = worker
        self._shown = shown
        """Where instances see a package: bytecode says where its source is."""
        self._turn = asyncio.Semaphore(1)
        """One at a time: deployments need workers too."""
        self._tried: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()

    def claim(self, code: str, interpreter: Interpreter) -> dict[str, Any]:
        """What an instance is told instead of the package, or besides: the tree, or to say what it imported."""
        if interpreter.kind != "python":
            return {}
        name = _name(code, interpreter)
        if (self._folder / name).is_dir():
            return {"code": str(self._folder / name)}
        return {} if name in self._tried else {"sources": True}

    def make_soon(self, code: str, interpreter: Interpreter, sources: Sequence[str]) -> None:
        """Compile what an instance imported, if that is worth while, once."""
        name = _name(code, interpreter)
        if name in self._tried:
            return
        self._tried.add(name)
        good = sorted({source for source in sources if _is_source(source)})[:SOURCES_MAX]
        if len(good) < LEAST_SOURCES:
            return
        task = asyncio.get_running_loop().create_task(self._make(name, code, interpreter, good))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _make(self, name: str, code: str, interpreter: Interpreter, sources: list[str]) -> None:
        payload = {
            "root": str(self._folder / code), "into": str(self._folder / name), "program": interpreter.program,
            "shown": self._shown, "sources": sources,
        }  # fmt: skip
        try:
            async with self._turn:
                await self._worker.call(
                    "tule.runtime.bytecode:make", payload, time_limit_s=LIMIT_S, memory_limit_bytes=MEMORY_BYTES
                )
        except WorkerError as error:
            _log.warning("no bytecode made", package=code, why=str(error))
            return
        await asyncio.to_thread(self._prune)

    def _prune(self) -> None:
        kept = sorted(self._folder.glob(f"{PREFIX}*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in kept[FOLDERS_MAX:]:
            shutil.rmtree(folder, ignore_errors=True)
            self._tried.discard(folder.name)

    async def close(self) -> None:
        """Give up what is being made."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def settled(self) -> None:
        """Wait for what is being made."""
        if self._running:
            await asyncio.wait(self._running)


def _name(code: str, interpreter: Interpreter) -> str:
    return f"{PREFIX}{code}-{interpreter.name}"


def _is_source(name: Any) -> bool:
    """Whether an instance's word can be a source file of the package."""
    if not isinstance(name, str) or not name.endswith(".py") or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def make(payload: dict[str, Any]) -> dict[str, Any]:
    """{"root", "sources" below it, "into": a folder that is not there, "program", "shown"} to {}. Runs in a worker."""
    from tule.runtime.zips import merge

    into = Path(payload["into"])
    draft = into.with_name(f".draft-{into.name}-pyc")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o755)
    try:
        told = {**payload, "into": str(draft)}
        command = [payload["program"], "-I", "-S", "-c", _COMPILE]
        text = json.dumps(told).encode()
        subprocess.run(command, input=text, check=True, capture_output=True, timeout=LIMIT_S - 5)  # noqa: S603 - ours
        merge({"layers": [payload["root"], str(draft)], "into": payload["into"]})
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {}
