"""The folder for what instances need on the host while a Tule runs."""

import os
import shutil
from pathlib import Path

from tule.kernel.processes import lives


def scratch_folder(base: Path) -> Path:
    """An empty folder for what instances need on the host; others may pass through it, not look into it."""
    base.mkdir(mode=0o711, parents=True, exist_ok=True)
    base.chmod(0o711)
    for left in base.iterdir():
        if left.name.isdigit() and not lives(int(left.name)):
            shutil.rmtree(left, ignore_errors=True)
    own = base / str(os.getpid())
    own.mkdir(mode=0o711, exist_ok=True)
    return own
