"""An object's bytes: taken in with their checks, given out whole or in part."""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from tule.kernel.ports import BlobRef, Blobs
from tule.services.s3.errors import refuse
from tule.services.s3.models import Blob

ALGORITHMS: Final = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
_OWN: Final = ("CRC32", "SHA1", "SHA256")
"""Algorithms checked here; the wire layer checks trailers in all five."""

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def etag_of(data: bytes) -> str:
    """The MD5 that S3 gives as the ETag of an object that came in one piece."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def check_md5(data: bytes, content_md5: str | None) -> None:
    """Content-MD5, if the caller sent one."""
    if content_md5 is None:
        return
    try:
        wanted = base64.b64decode(content_md5, validate=True)
    except binascii.Error:
        wanted = b""
    if len(wanted) != 16:
        raise refuse("InvalidDigest", "The Content-MD5 you specified was invalid.", ContentMD5=content_md5)
    if hashlib.md5(data, usedforsecurity=False).digest() != wanted:
        raise refuse("BadDigest", "The Content-MD5 you specified did not match what we received.")


def checked_sums(data: bytes, request: dict[str, Any]) -> dict[str, str]:
    """The checksum the caller sent, compared with the data; CRC32 of Tule's own reckoning where there is none."""
    sent = {name: request[f"Checksum{name}"] for name in ALGORITHMS if request.get(f"Checksum{name}")}
    if len(sent) > 1:
        raise refuse(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    for name, value in sent.items():
        if name in _OWN and value != checksum(name, data):
            raise refuse("BadDigest", f"The {name} you specified did not match the calculated checksum.")
    if not sent:
        sent = {"CRC32": checksum("CRC32", data)}
    return {f"Checksum{name}": value for name, value in sent.items()}


def checksum(name: str, data: bytes) -> str:
    """Base 64 of one of CRC32, SHA1 and SHA256."""
    if name == "CRC32":
        raw = zlib.crc32(data).to_bytes(4, "big")
    elif name == "SHA1":
        raw = hashlib.sha1(data, usedforsecurity=False).digest()
    else:
        raw = hashlib.sha256(data).digest()
    return base64.b64encode(raw).decode()


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
