"""Packages, unpacked: one folder per content, shared read-only by all that run it."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from tule.kernel.ports import BlobRef
from tule.runtime.contract import PackageError, RuntimeUnavailableError, UnpackingError
from tule.runtime.worker import Worker, WorkerBrokenError, WorkerError
from tule.runtime.zips import BAD_ZIP

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
UNPACK_LIMIT_S: Final = 60.0
UNPACK_MEMORY_BYTES: Final = 512 * 1024 * 1024


_log = structlog.get_logger("tule.runtime")


class Facts(msgspec.Struct, frozen=True):
    """What is known of an unpacked package."""

    sdk: str
    """ "bundled", "wanted" or "": what the package has to do with the AWS SDK for Python."""
    layer_sdk: bool
    """Whether it brings that SDK when it is used as a layer."""
    bytes: int
    """The size of its files."""
    unpacked_ms: float = 0.0
    """How long unpacking took."""


class Packages:
    """The folder of unpacked packages. What a crash of the machine may have torn is unpacked again."""

    def __init__(self, folder: Path, worker: Worker) -> None:
        self.folder = folder
        self._worker = worker
        self._facts: dict[str, Facts] = {}
        self._merged: set[str] = set()
        self._libraries: dict[str, bool] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

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
        if name not in self._facts:
            await self._once(name, lambda: self._unpack(name, path))
        return name

    async def merged(self, layers: Sequence[str]) -> str:
        """The path of one folder with unpacked layers laid over each other in order; "" without layers.

        Raises `RuntimeUnavailableError` when the host has no room or no process for it.
        """
        if len(layers) < 2:
            return self.path(layers[0]) if layers else ""
        name = f"layers-{sha256('/'.join(layers).encode()).hexdigest()[:40]}"
        if name not in self._merged:
            await self._once(name, lambda: self._merge(name, layers))
        return self.path(name)

    async def _once(self, name: str, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.get_running_loop().create_task(make())
            task.add_done_callback(lambda _: self._running.pop(name, None))
        await asyncio.shield(task)

    async def _merge(self, name: str, layers: Sequence[str]) -> None:
        if not (self.folder / name).exists():
            payload = {"layers": [self.path(layer) for layer in layers], "into": self.path(name)}
            try:
                await self._worker.call(
                    "tule.runtime.zips:merge",
                    payload,
                    time_limit_s=UNPACK_LIMIT_S,
                    memory_limit_bytes=UNPACK_MEMORY_BYTES,
                )
            except (WorkerBrokenError, WorkerError) as error:
                _log.error("layers not merged", layers=list(layers), why=str(error))
                raise RuntimeUnavailableError(f"The layers could not be laid over each other: {error}") from error
        self._merged.add(name)

    async def _unpack(self, name: str, path: str) -> None:
        note = self.folder / f"{name}.json"
        facts = _read(note)
        if facts is None:
            into = self.folder / name
            if into.exists():
                shutil.rmtree(into)
            began_s = self._worker.machine.monotonic_s()
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
            took_ms = (self._worker.machine.monotonic_s() - began_s) * 1000
            facts = msgspec.convert({**answer, "unpacked_ms": took_ms}, Facts)
            note.write_bytes(msgspec.json.encode(facts))
        self._facts[name] = facts

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def unpacked_ms(self, name: str) -> float:
        """How long it took to unpack a package, once."""
        return self._facts[name].unpacked_ms if name in self._facts else 0.0

    def brings_libraries(self, layers: str) -> bool:
        """Whether the folder that `merged` gave has shared libraries, which a process finds if it starts with them."""
        if layers not in self._libraries:
            self._libraries[layers] = bool(layers) and Path(layers, "lib").is_dir()
        return self._libraries[layers]

    def sdk(self, name: str, layers: Sequence[str] = ()) -> str:
        """ "bundled", "wanted" or "": what a package and its layers have to do with the AWS SDK for Python."""
        found = [self._facts[layer] for layer in layers if layer in self._facts]
        if any(facts.layer_sdk for facts in found):
            return "bundled"
        own = self._facts[name].sdk if name in self._facts else ""
        return own or ("wanted" if any(facts.sdk == "wanted" for facts in found) else "")

    def bytes_of(self, name: str) -> int:
        """The size of an unpacked package's files."""
        return self._facts[name].bytes


def _read(note: Path) -> Facts | None:
    """What an earlier process noted of a package that it unpacked; None if that is nothing, or not enough."""
    try:
        return msgspec.json.decode(note.read_bytes(), type=Facts)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
