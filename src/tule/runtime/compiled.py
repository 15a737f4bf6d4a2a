"""Code that V8 has compiled, kept for a function's next cold starts.

The first instance of a function compiles what its init loads, hands the result over before it serves anybody, and later
ones find it in a folder that they can't write. Each function has its own: what one hands over is its own word.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import structlog

from tule.runtime.contract import FunctionVersion
from tule.runtime.hosts import Interpreter

OLDEST_NODE: Final = 22
"""The first with module.enableCompileCache and module.flushCompileCache."""

BYTES_MAX: Final = 16 * 1024 * 1024
"""What an instance may hand over (ours); the compiled code of a package is about a fifth of its source."""

FILES_MAX: Final = 4_000
FOLDERS_MAX: Final = 200
"""Functions whose code is kept (ours); of more, those that handed theirs over longest ago lose it."""

PREFIX: Final = "compiled-"
_NAME: Final = re.compile(r"[\w.-]{1,80}/[0-9a-f]{1,32}")

_log = structlog.get_logger("tule.runtime")


class CompiledCode:
    """The folders, beside the unpacked packages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filling: set[str] = set()
        self._writing: set[asyncio.Task[None]] = set()

    def claim(self, version: FunctionVersion, interpreter: Interpreter, layers: str) -> dict[str, Any]:
        """What to tell an instance: "compiled", the folder with what is there, or "fill", to hand it over."""
        if interpreter.kind != "node" or interpreter.number < OLDEST_NODE:
            return {}
        what = f"{version.arn}\0{version.code}\0{layers}\0{interpreter.program}"
        name = PREFIX + sha256(what.encode()).hexdigest()[:40]
        if (self._folder / name).is_dir():
            return {"compiled": name}
        if name in self._filling:
            return {}
        self._filling.add(name)
        return {"fill": name}

    def keep(self, name: str, head: dict[str, Any], body: bytes) -> None:
        """Take in what an instance hands over, if it makes sense."""
        files = _files(head, len(body))
        if files is None:
            _log.warning("compiled code refused", folder=name)
            return
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(self._write, name, files, body))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def _write(self, name: str, files: Sequence[tuple[str, int]], body: bytes) -> None:
        draft = self._folder / f".draft-{name}-{os.getpid()}"
        at = 0
        try:
            draft.mkdir(mode=0o755)
            for path, size in files:
                place = draft / path
                place.parent.mkdir(mode=0o755, exist_ok=True)
                place.write_bytes(body[at : at + size])
                at += size
            draft.rename(self._folder / name)
            self._prune()
        except OSError as error:
            _log.warning("compiled code not kept", folder=name, why=str(error))
            shutil.rmtree(draft, ignore_errors=True)

    def _prune(self) -> None:
        kept = sorted(self._folder.glob(f"{PREFIX}*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in kept[FOLDERS_MAX:]:
            shutil.rmtree(folder, ignore_errors=True)

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            await asyncio.wait(self._writing)


def _files(head: dict[str, Any], size: int) -> list[tuple[str, int]] | None:
    """Names and sizes as an instance told them; None if they are not what Node's compile cache consists of."""
    told = head.get("files")
    if not isinstance(told, list) or not 0 < len(told) <= FILES_MAX or size > BYTES_MAX:
        return None
    found = []
    for one in told:
        match one:
            case [str(name), int(length)] if _NAME.fullmatch(name) and not name.startswith(".") and length >= 0:
                found.append((name, length))
            case _:
                return None
    return found if sum(length for _, length in found) == size else None
