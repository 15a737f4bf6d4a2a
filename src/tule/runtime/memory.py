"""Memory of instances on the host: groups that limit it, and what processes have of it. Runs in the runner."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


class Groups:
    """A memory group per instance, as far as the host lets us make any."""

    def __init__(self, folder: str, limit_file: str) -> None:
        self.folder = folder
        """Where groups are made, "" if nowhere."""
        self.limit_file = limit_file
        """The name of the file that takes a limit in bytes."""

    @classmethod
    def find(cls, pid: int, host_pid: int) -> Self:
        """The host's groups, tried out: only what can be made is used."""
        for root, limit_file, prepare in ((V1, "memory.limit_in_bytes", False), (V2, "memory.max", True)):
            folder = root / f"tule-{host_pid}-{pid}"
            try:
                folder.mkdir()
            except OSError:
                continue
            try:
                if prepare:
                    (folder / "cgroup.subtree_control").write_text("+memory")
                trial = folder / "trial"
                trial.mkdir()
                found = (trial / limit_file).exists()
                trial.rmdir()
            except OSError:
                found = False
            if found:
                return cls(str(folder), limit_file)
            with suppress(OSError):
                folder.rmdir()
        return cls("", "")

    def make(self, name: str) -> None:
        if self.folder:
            Path(self.folder, name).mkdir()

    def has(self, name: str) -> bool:
        return bool(self.folder) and Path(self.folder, name).exists()

    def end(self, name: str) -> None:
        """Kill what is left in the group and remove it."""
        if not self.folder:
            return
        group = Path(self.folder, name)
        with suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        with suppress(OSError):
            group.rmdir()


def sweep() -> None:
    """Remove groups of runners that were killed. To be called where the host's processes are seen."""
    for folder in [*V1.glob("tule-*"), *V2.glob("tule-*")]:
        if not Path("/proc", folder.name.split("-")[1]).exists():
            for group in [*folder.glob("*/"), folder]:
                with suppress(OSError):
                    group.rmdir()


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return []


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


def pss(pids: Mapping[str, int]) -> dict[str, int]:
    """The same for many, by name."""
    return {name: pss_kb(pid) for name, pid in pids.items()}
