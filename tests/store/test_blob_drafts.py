"""Contents that are put at the same moment don't take each other's drafts away."""

import asyncio

from tule.kernel.randomness import SystemRandom
from tule.store.blobs import FileBlobs


def test_first_contents_put_together_are_all_kept(tmp_path):
    contents = [f"content {number}".encode() for number in range(40)]

    async def put_all():
        blobs = FileBlobs(tmp_path / "blobs", SystemRandom())
        refs = await asyncio.gather(*(blobs.put(content) for content in contents))
        return [await blobs.get(ref) for ref in refs]

    assert asyncio.run(put_all()) == contents
