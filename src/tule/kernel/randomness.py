"""The one source of randomness: the system's in production, seeded in the simulator."""

import os
import random
from typing import Protocol


class RandomSource(Protocol):
    """Random bytes and what is made of them."""

    def token(self, n: int) -> bytes:
        """`n` random bytes."""

    def token_hex(self, n: int) -> str:
        """`n` random bytes as 2n lower-case hexadecimal digits."""

    def uuid(self) -> str:
        """A version 4 UUID in its usual form."""

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""

    def fraction(self) -> float:
        """A number from 0 up to, but not including, 1."""


def _as_uuid(raw: bytes) -> str:
    digits = raw.hex()
    variant = "89ab"[raw[8] & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class SystemRandom:
    """Randomness of the operating system, fetched in blocks: sixteen bytes cost as much as 4 KiB."""

    __slots__ = ("_block", "_position")

    BLOCK_BYTES = 4096

    def __init__(self) -> None:
        self._block = b""
        self._position = 0

    def token(self, n: int) -> bytes:
        end = self._position + n
        if end > len(self._block):
            if n > self.BLOCK_BYTES:
                return os.urandom(n)
            self._block = os.urandom(self.BLOCK_BYTES)
            self._position, end = 0, n
        taken = self._block[self._position : end]
        self._position = end
        return taken

    def token_hex(self, n: int) -> str:
        return self.token(n).hex()

    def uuid(self) -> str:
        return _as_uuid(self.token(16))

    def below(self, n: int) -> int:
        return int(self.fraction() * n)

    def fraction(self) -> float:
        return (int.from_bytes(self.token(7), "big") >> 3) / 9007199254740992


class SeededRandom:
    """The same sequence for the same seed: what makes a simulation repeatable. Never for secrets."""

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, only the simulator makes one

    def token(self, n: int) -> bytes:
        return self._random.randbytes(n)

    def token_hex(self, n: int) -> str:
        return self.token(n).hex()

    def uuid(self) -> str:
        return _as_uuid(self.token(16))

    def below(self, n: int) -> int:
        return self._random.randrange(n)

    def fraction(self) -> float:
        return self._random.random()
