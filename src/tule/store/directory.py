"""Lists of resources that span shards."""

from collections.abc import Sequence

from tule.store.backend import Pair, Range
from tule.store.keys import after as above
from tule.store.keys import pack, pack_open, prefix_end, unpack
from tule.store.space import DIRECTORY
from tule.store.transaction import DirectoryEntry


def listing(  # noqa: PLR0913 - the parts of a directory key, and which of the names
    service: str, account: str, region: str, kind: str, *, prefix: str, after: str, limit: int
) -> Range:
    """The rows of names that start with `prefix` and are greater than `after`."""
    parts = (service, account, region, kind)
    whole = DIRECTORY + (pack_open(*parts, prefix) if prefix else pack(*parts))
    start = whole
    if after:
        start = max(whole, above(DIRECTORY + pack(*parts, after)))
    return Range(start, prefix_end(whole), limit)


def entries(rows: Sequence[Pair]) -> list[DirectoryEntry]:
    return [DirectoryEntry(str(unpack(key[1:])[-1]), value) for key, value in rows]
