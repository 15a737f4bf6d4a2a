"""What processes have of the host's memory. Runs in the runner."""

import os
from pathlib import Path


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return []


def descendants(pid: int) -> list[int]:
    """Everything below a process."""
    below = children(pid)
    return [*below, *(further for child in below for further in descendants(child))]


def rss_kb(pid: int) -> int:
    """Resident memory, 0 if the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def pss_kb(pid: int) -> int:
    """Memory of a process, shared pages counted by their share; 0 where the kernel does not say."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except (OSError, ValueError):
        return 0
    return 0
