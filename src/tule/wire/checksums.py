"""The checksums that S3 clients send with bodies: as headers, or as trailers behind them."""

import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from hashlib import md5, sha1, sha256, sha512
from typing import Any, Final, Protocol

HEADER_PREFIX: Final = "x-amz-checksum-"


class Checksum(Protocol):
    """A checksum that grows with its data."""

    def update(self, data: bytes) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    """A reflected CRC."""

    def __init__(self, size: int, step: Callable[[bytes, int], int]) -> None:
        self._size = size
        self._step = step
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


@cache
def _tables(polynomial: int) -> tuple[tuple[int, ...], ...]:
    """Eight tables, so that eight bytes are taken in one step."""
    first = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        first.append(value)
    tables = [tuple(first)]
    for _ in range(7):
        tables.append(tuple(first[value & 0xFF] ^ (value >> 8) for value in tables[-1]))
    return tuple(tables)


def _stepper(polynomial: int, bits: int) -> Callable[[bytes, int], int]:
    mask = (1 << bits) - 1

    def step(data: bytes, value: int) -> int:
        t0, t1, t2, t3, t4, t5, t6, t7 = _tables(polynomial)
        crc = value ^ mask
        whole = len(data) & ~7
        view = memoryview(data)[:whole].cast("Q") if whole else ()
        for word in view:
            word ^= crc  # noqa: PLW2901 - the word and the register are one from here on
            crc = (
                t7[word & 0xFF]
                ^ t6[(word >> 8) & 0xFF]
                ^ t5[(word >> 16) & 0xFF]
                ^ t4[(word >> 24) & 0xFF]
                ^ t3[(word >> 32) & 0xFF]
                ^ t2[(word >> 40) & 0xFF]
                ^ t1[(word >> 48) & 0xFF]
                ^ t0[word >> 56]
            )
        for byte in data[whole:]:
            crc = t0[(crc ^ byte) & 0xFF] ^ (crc >> 8)
        return crc ^ mask

    return step


_CRC32C: Final = 0x82F63B78
_CRC64NVME: Final = 0x9A6C9329AC4BC9B5

_MAKERS: Final[dict[str, Callable[[], Any]]] = {
    "crc32": lambda: _Crc(4, zlib.crc32),
    "crc32c": lambda: _Crc(4, _stepper(_CRC32C, 32)),
    "crc64nvme": lambda: _Crc(8, _stepper(_CRC64NVME, 64)),
    "sha1": lambda: sha1(usedforsecurity=False),
    "sha256": sha256,
    "sha512": sha512,
    "md5": lambda: md5(usedforsecurity=False),
}
"""The XXHASH family that newer models name is missing: Python has none, and no SDK sends it by default."""


def new_checksum(algorithm: str) -> Checksum | None:
    """A checksum by S3's name of the algorithm, in any case; None for one that Tule can't reckon."""
    maker = _MAKERS.get(algorithm.lower())
    made: Checksum | None = maker() if maker is not None else None
    return made


def encoded(checksum: Checksum) -> str:
    """As headers and trailers have it."""
    return b64encode(checksum.digest()).decode()
