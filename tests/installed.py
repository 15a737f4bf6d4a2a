"""What tests install from package registries, each once for the content of its lock, whichever process comes first."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache"


def once(name: str, lock: bytes, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills, made once for the content of `lock`, by one process at a time."""
    folder = CACHE / f"{name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "complete").touch()
    return folder
