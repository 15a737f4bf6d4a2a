"""Large contents as files named by their SHA-256: durable before the transaction that refers to them.

A content is written beside its place, synced, renamed, and its folder synced, in that order, so that what has its name
is whole. The same content is kept once. Nothing is erased while something may refer to it: see `sweep`.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

import structlog

from tule.kernel.errors import ServiceUnavailableError
from tule.kernel.ports import BlobRef
from tule.kernel.randomness import RandomSource

READ_BYTES = 256 * 1024
"""What `read` gives at a time (ours)."""
WRITE_BYTES = 1024 * 1024
"""What `put` gathers of a stream before it goes to a thread (ours)."""
SMALL_BYTES = 64 * 1024
"""Reads up to this size are done on the loop: handing them to a thread costs more (ours)."""

_FOLDERS = 256

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.get_logger("tule.store")


class BlobMissingError(Exception):
    """The file of a content is not there, or is not the size it should be: the folder was damaged from outside."""

    def __init__(self, ref: BlobRef) -> None:
        super().__init__(f"The content {ref.sha256} of {ref.size_bytes} bytes is missing from the blob folder.")


class FileBlobs:
    """Implements `tule.kernel.ports.Blobs` in one folder, which is made with the first content."""

    def __init__(self, directory: Path, random: RandomSource) -> None:
        self._directory = directory
        self._random = random
        self._ready = False
        self._preparing = threading.Lock()

    async def put(self, data: bytes | AsyncIterator[bytes]) -> BlobRef:
        """Keep the content; durable when this returns. Nothing is left of one that raises `ServiceUnavailableError`."""
        if isinstance(data, bytes | bytearray | memoryview):
            return await _on_disk(self._put_whole, bytes(data), self._random.token_hex(16))
        return await self._put_stream(data)

    async def get(self, ref: BlobRef) -> bytes:
        """All of it. `BlobMissingError` if it isn't there."""
        if ref.size_bytes <= SMALL_BYTES:
            return self._get(ref)
        return await asyncio.to_thread(self._get, ref)

    async def read(self, ref: BlobRef, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, but not including, `end`, in pieces."""
        end = ref.size_bytes if end is None else min(end, ref.size_bytes)
        file = await asyncio.to_thread(self._open, ref)
        try:
            file.seek(start)
            while start < end:
                piece = await asyncio.to_thread(file.read, min(READ_BYTES, end - start))
                if not piece:
                    raise BlobMissingError(ref)
                start += len(piece)
                yield piece
        finally:
            file.close()

    def path(self, ref: BlobRef) -> str:
        """See `Blobs.path`."""
        return str(self._place(ref.sha256))

    async def sweep(self, is_wanted: Callable[[str], bool], older_than_s: float, now_s: float) -> int:
        """Erase contents that nothing refers to and how many those were.

        `is_wanted` is asked by digest. Files younger than `older_than_s` (by their own time of change) stay, because
        their transaction may still be on its way.
        """
        return await asyncio.to_thread(self._sweep, is_wanted, now_s - older_than_s)

    async def remove(self, digests: Collection[str]) -> None:
        """Erase these; the caller knows that nothing refers to them."""
        await asyncio.to_thread(self._remove, digests)

    def _put_whole(self, data: bytes, name: str) -> BlobRef:
        digest = sha256(data).hexdigest()
        if not self._has(digest, len(data)):
            draft = self._draft(name)
            try:
                with draft.open("wb") as file:
                    file.write(data)
                    _sync(file)
                self._place_draft(draft, digest)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
        self._sync_folder(digest)
        return BlobRef(digest, len(data))

    async def _put_stream(self, data: AsyncIterator[bytes]) -> BlobRef:
        running, size = sha256(), 0
        draft, file = await _on_disk(self._begin, self._random.token_hex(16))

        def write(block: bytes) -> None:
            running.update(block)
            file.write(block)

        def finish() -> str:
            _sync(file)
            file.close()
            digest = running.hexdigest()
            self._place_draft(draft, digest)
            self._sync_folder(digest)
            return digest

        try:
            gathered: list[bytes] = []
            waiting = 0
            async for piece in data:
                gathered.append(piece)
                waiting += len(piece)
                size += len(piece)
                if waiting >= WRITE_BYTES:
                    await _on_disk(write, b"".join(gathered))
                    gathered, waiting = [], 0
            await _on_disk(write, b"".join(gathered))
            digest = await _on_disk(finish)
        except BaseException:
            with suppress(OSError):  # what is still in its buffer goes nowhere
                file.close()
            draft.unlink(missing_ok=True)
            raise
        return BlobRef(digest, size)

    def _get(self, ref: BlobRef) -> bytes:
        with self._open(ref) as file:
            data = file.read()
        if len(data) != ref.size_bytes:
            raise BlobMissingError(ref)
        return data

    def _open(self, ref: BlobRef) -> BinaryIO:
        try:
            return self._place(ref.sha256).open("rb")
        except FileNotFoundError as error:
            raise BlobMissingError(ref) from error

    def _place(self, digest: str) -> Path:
        return self._directory / digest[:2] / digest

    def _has(self, digest: str, size: int) -> bool:
        with suppress(FileNotFoundError, NotADirectoryError):
            return self._place(digest).stat().st_size == size
        return False

    def _draft(self, name: str) -> Path:
        """Where a draft is written. Runs in threads; its name comes from the loop, as the random source has no lock."""
        drafts = self._directory / "drafts"
        with self._preparing:  # or the second of two first puts would forget the draft of the first
            if not self._ready:
                self._prepare(drafts)
        return drafts / name

    def _begin(self, name: str) -> tuple[Path, BinaryIO]:
        draft = self._draft(name)
        return draft, draft.open("wb")

    def _prepare(self, drafts: Path) -> None:
        """Make the folders, durably, and forget drafts that an earlier process left."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        drafts.mkdir(mode=0o700, exist_ok=True)
        for number in range(_FOLDERS):
            (self._directory / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
        _sync_directory(self._directory)
        _sync_directory(self._directory.parent)
        for left in list(drafts.iterdir()):
            left.unlink(missing_ok=True)
        self._ready = True

    def _place_draft(self, draft: Path, digest: str) -> None:
        draft.chmod(0o400)
        draft.replace(self._place(digest))

    def _sync_folder(self, digest: str) -> None:
        """Also when the file was there already: whoever wrote it may not have come this far."""
        _sync_directory(self._directory / digest[:2])

    def _remove(self, digests: Collection[str]) -> None:
        for digest in digests:
            self._place(digest).unlink(missing_ok=True)

    def _sweep(self, is_wanted: Callable[[str], bool], before_s: float) -> int:
        erased = 0
        for file in self._directory.glob("[0-9a-f][0-9a-f]/*"):
            if file.stat().st_mtime < before_s and not is_wanted(file.name):
                file.unlink(missing_ok=True)
                erased += 1
        return erased


async def _on_disk(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Work on the file system, on a thread; what it refuses (disk full, read-only) is a clean refusal."""
    try:
        return await asyncio.to_thread(work, *arguments, **named)
    except OSError as error:
        _log.error("content not kept", error=str(error))
        raise ServiceUnavailableError(f"The store could not keep this content: {error.strerror or error}") from error


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
