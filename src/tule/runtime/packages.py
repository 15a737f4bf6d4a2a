"""Packages, unpacked: one folder per content, shared read-only by all that run it."""

import asyncio
import shutil
from pathlib import Path
from typing import Final

import msgspec
import structlog

from tule.kernel.ports import BlobRef
from tule.runtime.contract import PackageError, UnpackingError
from tule.runtime.worker import Worker, WorkerBrokenError, WorkerError
from tule.runtime.zips import BAD_ZIP

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
UNPACK_LIMIT_S: Final = 60.0
UNPACK_MEMORY_BYTES: Final = 512 * 1024 * 1024


_log = structlog.get_logger("tule.runtime")


class Packages:
    """The folder of unpacked packages. What a crash of the machine may have torn is unpacked again."""

    def __init__(self, folder: Path, worker: Worker) -> None:
        self.folder = folder
        self._worker = worker
        self._sdk: dict[str, str] = {}
        self._running: dict[str, asyncio.Task[str]] = {}

    def open(self) -> None:
        """Make the folder, or empty it if it is from before the machine started: none of it was synced."""
        boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
        note = self.folder / ".boot"
        if self.folder.exists() and (not note.exists() or note.read_text() != boot):
            shutil.rmtree(self.folder)
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        for draft in self.folder.glob(".draft-*"):
            shutil.rmtree(draft, ignore_errors=True)
        note.write_text(boot)

    async def unpack(self, package: BlobRef, path: str) -> str:
        """The name of the package's folder. Several callers share one unpacking.

        Refuses with `PackageError`; an `UnpackingError` is no refusal.
        """
        name = package.sha256
        if name in self._sdk:
            return name
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.get_running_loop().create_task(self._unpack(name, path))
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(task)

    async def _unpack(self, name: str, path: str) -> str:
        note = self.folder / f"{name}.json"
        if not note.exists():
            into = self.folder / name
            if into.exists():
                shutil.rmtree(into)
            try:
                answer = await self._worker.call(
                    "tule.runtime.zips:unpack",
                    {"path": path, "into": str(into)},
                    time_limit_s=UNPACK_LIMIT_S,
                    memory_limit_bytes=UNPACK_MEMORY_BYTES,
                )
            except WorkerBrokenError as error:
                _log.error("package not unpacked", package=name, why=str(error))
                raise UnpackingError(str(error)) from error
            except WorkerError as error:
                _log.warning("package not unpacked", package=name, why=str(error))
                raise PackageError(BAD_ZIP) from error
            if answer["refused"]:
                raise PackageError(answer["refused"])
            note.write_bytes(msgspec.json.encode(answer))
        self._sdk[name] = str(msgspec.json.decode(note.read_bytes())["sdk"])
        return name

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def sdk(self, name: str) -> str:
        """ "bundled", "wanted" or "": what the package has to do with the AWS SDK for Python."""
        return self._sdk.get(name, "")
