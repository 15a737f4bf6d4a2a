"""Bodies in aws-chunked coding: chunks with signatures, and checksums in trailers.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and .../sigv4-streaming-trailers.html
"""

import hmac
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Final, Protocol

from tule.kernel.errors import AwsError
from tule.net.messages import HttpRequest
from tule.wire.checksums import HEADER_PREFIX, Checksum, encoded, new_checksum
from tule.wire.refusals import refusal

MAX_CHUNK_HEAD_BYTES: Final = 1024
MAX_TRAILER_BYTES: Final = 16 * 1024
_EMPTY_HASH: Final = sha256(b"").hexdigest()

SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class Signing(Protocol):
    """A signing key."""

    def sign(self, text: bytes) -> str: ...


class Seed(Protocol):
    """Key, timestamp, scope and the signature of the head, which the first chunk's goes on from."""

    @property
    def key(self) -> Signing: ...

    @property
    def timestamp(self) -> str: ...

    @property
    def scope(self) -> str: ...

    @property
    def signature(self) -> str: ...


class MalformedChunksError(AwsError):
    """The body is not what its coding says."""

    code = "InvalidChunkSizeError"


def _incomplete() -> AwsError:
    return AwsError(
        "You did not provide the number of bytes specified by the Content-Length HTTP header.", code="IncompleteBody"
    )


class ChunkDecoder:
    """Takes coded bytes as they come, gives the body's bytes, and verifies chunk by chunk."""

    def __init__(self, kind: str, seed: Seed | None, expected_trailer: str) -> None:
        self._signed = kind in (SIGNED, SIGNED_TRAILER)
        self._seed = seed
        self._previous = seed.signature if seed is not None else ""
        self._buffer = b""
        self._left = -1
        """Bytes of the chunk at hand that are still to come; -1 before its head, -2 in the trailers, -3 at the end."""
        self._hash = sha256()
        self._chunk_signature = ""
        self._trailer = expected_trailer.lower()
        algorithm = self._trailer.removeprefix(HEADER_PREFIX)
        self._checksum: Checksum | None = new_checksum(algorithm) if self._trailer.startswith(HEADER_PREFIX) else None
        self.trailers: dict[str, str] = {}
        self.size_bytes = 0

    @property
    def complete(self) -> bool:
        return self._left == -3

    def feed(self, data: bytes) -> list[bytes]:
        """The body's bytes in `data`. Raises AwsError."""
        self._buffer = self._buffer + data if self._buffer else data
        found: list[bytes] = []
        while True:
            if self._left == -1:
                if not self._read_head():
                    return found
            elif self._left >= 0:
                if not self._read_data(found):
                    return found
            else:
                if self._left == -2:
                    self._read_trailers()
                return found

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MAX_CHUNK_HEAD_BYTES:
                raise MalformedChunksError("A chunk's head has no end.")
            return False
        size, _, extension = self._buffer[:end].decode("latin-1").partition(";")
        self._buffer = self._buffer[end + 2 :]
        try:
            self._left = int(size[:16], 16)
        except ValueError:
            raise MalformedChunksError("A chunk has no size.") from None
        if self._left < 0:
            raise MalformedChunksError("A chunk has a negative size.")
        name, _, value = extension.partition("=")
        self._chunk_signature = value.strip() if name.strip() == "chunk-signature" else ""
        self._hash = sha256()
        if self._left == 0:
            self._verify_chunk()
            self._left = -2
        return True

    def _read_data(self, found: list[bytes]) -> bool:
        if self._left:
            part = self._buffer[: self._left]
            if not part:
                return False
            self._buffer = self._buffer[len(part) :]
            self._left -= len(part)
            if self._signed:
                self._hash.update(part)
            if self._checksum is not None:
                self._checksum.update(part)
            self.size_bytes += len(part)
            found.append(part)
        if self._left or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise MalformedChunksError("A chunk is longer than it says.")
        self._buffer = self._buffer[2:]
        self._verify_chunk()
        self._left = -1
        return True

    def _verify_chunk(self) -> None:
        if not self._signed or self._seed is None:
            return
        seed = self._seed
        text = (
            f"AWS4-HMAC-SHA256-PAYLOAD\n{seed.timestamp}\n{seed.scope}\n{self._previous}\n"
            f"{_EMPTY_HASH}\n{self._hash.hexdigest()}"
        )
        self._previous = seed.key.sign(text.encode())
        if not hmac.compare_digest(self._previous.encode(), self._chunk_signature.encode("latin-1")):
            raise refusal("mismatch", "s3", "rest-xml")

    def _read_trailers(self) -> None:
        """Lines up to an empty one; a body without trailers ends at once or with that empty line."""
        if len(self._buffer) > MAX_TRAILER_BYTES:
            raise MalformedChunksError("The trailers are too long.")
        text = self._buffer
        if text in (b"\r\n", b"") and not self._trailer:
            self._left = -3
            return
        if not text.endswith(b"\r\n\r\n") and text != b"\r\n":
            return
        for line in text.decode("latin-1").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                self.trailers[name.strip().lower()] = value.strip()
        self._left = -3
        self._verify_trailers()

    def _verify_trailers(self) -> None:
        if self._signed and self._seed is not None and self._trailer:
            seed = self._seed
            signature = self.trailers.get("x-amz-trailer-signature", "")
            lines = "".join(
                f"{name}:{value}\n" for name, value in self.trailers.items() if name != "x-amz-trailer-signature"
            )
            digest = sha256(lines.encode("latin-1")).hexdigest()
            text = f"AWS4-HMAC-SHA256-TRAILER\n{seed.timestamp}\n{seed.scope}\n{self._previous}\n{digest}"
            if not hmac.compare_digest(seed.key.sign(text.encode()).encode(), signature.encode("latin-1")):
                raise refusal("mismatch", "s3", "rest-xml")

    def end(self, expected_size: str) -> None:
        """Nothing more will come: raises AwsError unless all that was promised is here."""
        if self._left == -2 and not self._trailer:
            self._left = -3
        if not self.complete or (expected_size and expected_size != str(self.size_bytes)):
            raise _incomplete()
        if self._trailer and self._trailer not in self.trailers:
            raise AwsError(
                "The request contained trailing data that was not well-formed.", code="MalformedTrailerError"
            )
        if self._checksum is not None and self.trailers.get(self._trailer) != encoded(self._checksum):
            algorithm = self._trailer.removeprefix(HEADER_PREFIX).upper()
            raise AwsError(f"The {algorithm} you specified did not match the calculated checksum.", code="BadDigest")


def open_chunked(request: HttpRequest, kind: str, seed: Seed | None) -> None:
    """Put the real body in the coded one's place; what the trailers say joins the headers once they are read.

    Raises AwsError, for a streamed body when the stream is read.
    """
    if kind not in (SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER):
        raise AwsError(f"Tule does not read bodies of {kind} yet.", code="NotImplemented", status=501)
    headers = dict(request.headers)
    trailer = headers.get("x-amz-trailer", "") if kind != SIGNED else ""
    decoder = ChunkDecoder(kind, seed, trailer)
    expected = headers.get("x-amz-decoded-content-length", "")
    coding = [part.strip() for part in headers.pop("content-encoding", "").split(",") if part.strip() != "aws-chunked"]
    if any(coding):
        headers["content-encoding"] = ", ".join(filter(None, coding))
    if expected:
        headers["content-length"] = expected
    request.headers = headers
    if request.stream is not None:
        request.stream = _decoded(request.stream, decoder, expected, headers)
        return
    request.body = b"".join(decoder.feed(request.body))
    decoder.end(expected)
    headers.update(_checksum_trailers(decoder))


async def _decoded(
    stream: AsyncIterator[bytes], decoder: ChunkDecoder, expected: str, headers: dict[str, str]
) -> AsyncIterator[bytes]:
    async for data in stream:
        for part in decoder.feed(data):
            yield part
    decoder.end(expected)
    headers.update(_checksum_trailers(decoder))


def _checksum_trailers(decoder: ChunkDecoder) -> dict[str, str]:
    return {name: value for name, value in decoder.trailers.items() if name.startswith(HEADER_PREFIX)}
