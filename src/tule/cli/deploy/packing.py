"""A folder as a zip that is the same bytes for the same files, so that deploying again uploads nothing."""

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tule.cli.outcome import Failure

MAX_UNZIPPED_BYTES = 262_144_000
"""A function's code, unzipped (Lambda quotas)."""

_LEFT_OUT = frozenset({"__pycache__", ".git", ".aws-sam", ".venv", ".mypy_cache", ".pytest_cache", ".DS_Store"})
_EPOCH = (1980, 1, 1, 0, 0, 0)


def files(folder: Path) -> Iterator[Path]:
    """The files of a package in the order they are packed."""
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        yield from (Path(root) / name for name in sorted(names) if name not in _LEFT_OUT and not name.endswith(".pyc"))


def pack(folder: Path, archive: Path) -> None:
    """Write `folder` (or one file) to `archive`."""
    total = 0
    single = folder.is_file()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in [folder] if single else files(folder):
            found = file.stat()
            total += found.st_size
            if total > MAX_UNZIPPED_BYTES:
                raise Failure(
                    f"{folder} has more than {MAX_UNZIPPED_BYTES:,} bytes, the most that a function's code may have.",
                    "Leave out what the function doesn't need, or put it into a layer.",
                )
            name = file.name if single else file.relative_to(folder).as_posix()
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | (0o755 if found.st_mode & 0o111 else 0o644)) << 16
            packed.writestr(entry, file.read_bytes())
    if total == 0:
        raise Failure(f"{folder} is empty: there is no code to deploy.")
