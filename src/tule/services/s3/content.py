"""An object's bytes: taken in with their checks, given out whole or in part."""

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

from tule.kernel.ports import BlobRef, Blobs
from tule.services.s3.errors import refuse
from tule.services.s3.models import Blob
from tule.wire.checksums import Checksum, encoded, new_checksum

ALGORITHMS: Final = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
"""What clients may send, by the end of the member's name."""

MAX_OBJECT_BYTES: Final = 5 * 1024**3
"""One PutObject or UploadPart (S3 User Guide, "Amazon S3 multipart upload limits")."""

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class Intake:
    """A body on its way in: counted, hashed, and compared with what the caller said of it."""

    def __init__(self, request: dict[str, Any]) -> None:
        sent = {name: str(request[f"Checksum{name}"]) for name in ALGORITHMS if request.get(f"Checksum{name}")}
        if len(sent) > 1:
            raise refuse(
                "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            )
        self._content_md5: str | None = request.get("ContentMD5")
        self._sent = sent
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._name = next(iter(sent), "CRC32")
        self._sum = _reckoner(self._name)
        self.size_bytes = 0

    def update(self, block: bytes) -> None:
        self.size_bytes += len(block)
        if self.size_bytes > MAX_OBJECT_BYTES:
            raise refuse(
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed size",
                MaxSizeAllowed=str(MAX_OBJECT_BYTES),
            )
        self._md5.update(block)
        self._sum.update(block)

    @property
    def etag(self) -> str:
        """The MD5 that S3 gives as the ETag of what came in one piece."""
        return self._md5.hexdigest()

    def checked(self) -> dict[str, str]:
        """The body's checksum by member name, once all of it is there; refuses what the caller's words deny."""
        self._check_md5()
        value = encoded(self._sum)
        if self._sent and value != self._sent[self._name]:
            raise refuse("BadDigest", f"The {self._name} you specified did not match the calculated checksum.")
        return {f"Checksum{self._name}": value}

    def _check_md5(self) -> None:
        if self._content_md5 is None:
            return
        try:
            wanted = base64.b64decode(self._content_md5, validate=True)
        except binascii.Error:
            wanted = b""
        if len(wanted) != 16:
            raise refuse("InvalidDigest", "The Content-MD5 you specified was invalid.", ContentMD5=self._content_md5)
        if self._md5.digest() != wanted:
            raise refuse("BadDigest", "The Content-MD5 you specified did not match what we received.")


class Taken(NamedTuple):
    """A body that is in: its bytes where it is small enough to lie in the store, else the durable file it became."""

    data: bytes
    blobs: tuple[Blob, ...]
    size_bytes: int
    etag: str
    checksums: dict[str, str]


async def take(body: Any, request: dict[str, Any], blobs: Blobs, *, inline_below: int) -> Taken:
    """Take a request's body in, complete or block by block as it arrives."""
    intake = Intake(request)
    data = b""
    kept: tuple[Blob, ...] = ()
    if body is None or isinstance(body, bytes | bytearray | memoryview):
        data = bytes(body or b"")
        if len(data) > HASH_ON_LOOP_BYTES:
            await asyncio.to_thread(intake.update, data)
        else:
            intake.update(data)
        sums = intake.checked()
        if len(data) >= inline_below:
            ref = await blobs.put(data)
            data, kept = b"", (Blob(ref.sha256, ref.size_bytes),)
    else:
        ref = await blobs.put(_through(intake, body))
        sums, kept = intake.checked(), (Blob(ref.sha256, ref.size_bytes),)
    return Taken(data, kept, intake.size_bytes, intake.etag, sums)


HASH_ON_LOOP_BYTES: Final = 1024 * 1024
"""Larger bodies are hashed on a thread: MD5 and CRC32 of a megabyte take two milliseconds (measured)."""


async def _through(intake: Intake, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for block in body:
        intake.update(block)
        yield block


def _reckoner(name: str) -> Checksum:
    reckoner = new_checksum(name.lower())
    assert reckoner is not None, "the wire layer knows every algorithm in ALGORITHMS"
    return reckoner


def checksum(name: str, data: bytes) -> str:
    """Base 64 of one of the checksums S3 knows."""
    found = _reckoner(name)
    found.update(data)
    return encoded(found)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last of a Range header; None where S3 ignores it and gives everything."""
    matched = _RANGE.fullmatch(header.strip()) if header else None
    if matched is None or matched.groups() == ("", ""):
        return None
    first, last = matched.groups()
    if not first:
        start, end = max(size - int(last), 0), size
        satisfiable = int(last) > 0 and size > 0
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
        satisfiable = start < size
    if not satisfiable:
        raise refuse(
            "InvalidRange",
            "The requested range is not satisfiable",
            416,
            ActualObjectSize=str(size),
            RangeRequested=header or "",
        )
    return start, end


async def read(blobs: Blobs, stretches: Sequence[Blob], start: int, end: int) -> AsyncIterator[bytes]:
    """The bytes from `start` up to `end` of an object that lies in files, a block at a time."""
    position = 0
    for stretch in stretches:
        low, high = max(start - position, 0), min(end - position, stretch.size_bytes)
        position += stretch.size_bytes
        if low < high:
            async for block in blobs.read(BlobRef(stretch.sha256, stretch.size_bytes), low, high):
                yield block
