"""Large contents: whole, once, by name, and erased only when nobody wants them."""

import asyncio
import os
from hashlib import sha256

import pytest

from tule.kernel.ports import BlobRef
from tule.kernel.randomness import SeededRandom
from tule.store.blobs import BlobMissingError, FileBlobs


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path / "blobs", SeededRandom(1))


def _files(tmp_path):
    return sorted(path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file())


async def _stream(*pieces):
    for piece in pieces:
        yield piece


async def _collect(pieces):
    return b"".join([piece async for piece in pieces])


def test_bytes_and_streams_of_the_same_content_are_one_file(blobs, tmp_path):
    data = os.urandom(3_000_000)

    async def test():
        whole = await blobs.put(data)
        streamed = await blobs.put(_stream(data[:10], b"", data[10:2_000_000], data[2_000_000:]))
        assert whole == streamed == BlobRef(sha256(data).hexdigest(), len(data))
        assert await blobs.get(whole) == data
        assert _files(tmp_path) == [whole.sha256]

    asyncio.run(test())


def test_parts_are_read_without_the_rest(blobs):
    data = bytes(range(256)) * 4000

    async def test():
        ref = await blobs.put(data)
        assert await _collect(blobs.read(ref)) == data
        assert await _collect(blobs.read(ref, 300_000, 900_001)) == data[300_000:900_001]
        assert await _collect(blobs.read(ref, len(data) - 1)) == data[-1:]
        assert await _collect(blobs.read(ref, 5, 5)) == b""

    asyncio.run(test())


def test_an_empty_content_is_one_too(blobs):
    async def test():
        ref = await blobs.put(b"")
        assert await blobs.get(ref) == b""
        assert await _collect(blobs.read(ref)) == b""

    asyncio.run(test())


def test_a_stream_that_breaks_leaves_nothing(blobs, tmp_path):
    async def broken():
        yield b"x" * 2_000_000
        raise ConnectionResetError

    async def test():
        with pytest.raises(ConnectionResetError):
            await blobs.put(broken())
        assert _files(tmp_path) == []

    asyncio.run(test())


def test_what_is_not_there_says_so(blobs):
    async def test():
        missing = BlobRef(sha256(b"missing").hexdigest(), 7)
        with pytest.raises(BlobMissingError, match=missing.sha256):
            await blobs.get(missing)
        with pytest.raises(BlobMissingError):
            await _collect(blobs.read(missing))
        ref = await blobs.put(b"whole")
        with pytest.raises(BlobMissingError):
            await blobs.get(BlobRef(ref.sha256, 99))

    asyncio.run(test())


def test_a_sweep_erases_what_is_old_and_unwanted(blobs, tmp_path):
    async def test():
        wanted, unwanted, young = [await blobs.put(data) for data in (b"wanted", b"unwanted", b"young")]
        for ref in (wanted, unwanted):
            os.utime(blobs.path(ref), (1000, 1000))
        os.utime(blobs.path(young), (5000, 5000))
        assert await blobs.sweep(lambda digest: digest == wanted.sha256, older_than_s=3600, now_s=6000) == 1
        assert _files(tmp_path) == sorted([wanted.sha256, young.sha256])
        again = await blobs.put(b"unwanted")
        assert await blobs.get(again) == b"unwanted"

    asyncio.run(test())
