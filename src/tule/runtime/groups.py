"""Control groups of instances: memory, CPU and processes of each, kept by the kernel. Version 1 or 2, as there is.

Runs in the runner (and `sweep` in Tule). A group is made ahead of demand where there is time for it, and rewritten when
its instance gets a function: joining one takes 5 to 20 ms on a quiet machine, making and rewriting next to nothing.
"""

import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from tule.kernel.processes import lives

ROOT: Final = Path("/sys/fs/cgroup")
CONTROLLERS: Final = ("memory", "cpu", "pids")
PROCESSES_MAX: Final = 1024
"""AWS: processes and threads of an execution environment."""

CORE_MB: Final = 1769
"""AWS: the memory at which a function has one core to itself; less or more gives it a part or a multiple."""

PERIOD_US: Final = 20_000
"""AWS slices CPU time by 20 ms: what a function has used of its part of those is given back with the next."""

SHARES: Final = 120
WEIGHT: Final = 12
"""Of 1024 and of 100: what eight processes of niceness 19 weigh, with which Tule's own times were measured to stay as
they are. Much less would leave functions nothing on a machine that is busy with something else."""

QUOTA_LEAST_US: Final = 1_000
"""The kernel takes no less."""


def quota_us(memory_mb: int) -> int:
    """How much of each period a function of that size may use."""
    return max(QUOTA_LEAST_US, PERIOD_US * memory_mb // CORE_MB)


@dataclass(frozen=True, slots=True)
class Groups:
    """Where groups are made: version 1 has a folder for each controller, version 2 one for all."""

    version: int = 0
    folders: Mapping[str, Path] = field(default_factory=dict)
    """By controller; with version 2 by "all"."""
    controllers: tuple[str, ...] = ()

    @classmethod
    def find(cls, name: str, root: Path = ROOT) -> Self:
        """The host's groups, tried out: only what can be made is used. `name` is that of the folder for ours."""
        for attempt in (_version_2, _version_1):
            found = attempt(name, root)
            if found is not None:
                groups = cls(*found)
                groups.weigh_little()
                return groups
        return cls()

    def weigh_little(self) -> None:
        """All functions together get as much of a busy core as a few processes of niceness 19: within a group niceness
        counts among its own processes alone."""
        if "cpu" not in self.controllers:
            return
        with suppress(OSError):
            if self.version == 2:
                (self.folders["all"] / "cpu.weight").write_text(str(WEIGHT))
            else:
                (self.folders["cpu"] / "cpu.shares").write_text(str(SHARES))

    # -- for zygotes, which see them in their tree

    @property
    def shown(self) -> list[tuple[str, str, bool]]:
        """What a tree must show."""
        return [(str(folder), f"/tule/cgroup/{name}", True) for name, folder in self.folders.items()]

    @property
    def told(self) -> dict[str, Any]:
        """How a process joins its groups there and writes its memory's limit."""
        if not self.folders:
            return {}
        if self.version == 2:
            return {"folders": ["all"], "memory": [("all", "memory.max")]}
        memory = [("memory", "memory.limit_in_bytes")]
        if (self.folders["memory"] / "memory.memsw.limit_in_bytes").exists():
            memory.append(("memory", "memory.memsw.limit_in_bytes"))
        return {"folders": list(self.folders), "memory": memory}

    # -- one instance's

    def make(self, name: str) -> None:
        """Groups for one instance. Its memory is not limited yet."""
        for folder in self.folders.values():
            (folder / name).mkdir(exist_ok=True)
        if "pids" in self.controllers:
            self._write("pids", name, "pids.max", PROCESSES_MAX)
        if "memory" in self.controllers:
            without_swap = ("memory.swap.max", "memory.oom.group") if self.version == 2 else ("memory.swappiness",)
            for file in without_swap:
                with suppress(OSError):  # a kernel without swap has none of the first
                    self._write("memory", name, file, int(file == "memory.oom.group"))

    def has(self, name: str) -> bool:
        return any((folder / name).exists() for folder in self.folders.values())

    def attach(self, name: str, pids: Iterable[int], memory_mb: int) -> None:
        """Take in processes that run already, and limit their memory from here on."""
        pids = list(pids)
        for folder in self.folders.values():
            for pid in pids:
                with suppress(OSError):  # it has ended
                    (folder / name / "cgroup.procs").write_text(str(pid))
        for _, file in self.told.get("memory", ()):
            with suppress(OSError):  # it uses more already: the kernel takes no limit below that
                self._write("memory", name, file, memory_mb << 20)

    def limit_cpu(self, name: str, memory_mb: int) -> None:
        """From here on its part of the cores."""
        if "cpu" not in self.controllers:
            return
        if self.version == 2:
            self._write("cpu", name, "cpu.max", f"{quota_us(memory_mb)} {PERIOD_US}")
        else:
            self._write("cpu", name, "cpu.cfs_period_us", PERIOD_US)
            self._write("cpu", name, "cpu.cfs_quota_us", quota_us(memory_mb))

    def end(self, name: str) -> None:
        """Kill what is left in it and remove it."""
        for folder in self.folders.values():
            _remove(folder / name)

    def remove(self) -> None:
        """All of them, and the folders."""
        for folder in self.folders.values():
            _remove(folder)

    def _write(self, controller: str, name: str, file: str, value: object) -> None:
        folder = self.folders["all" if self.version == 2 else controller]
        (folder / name / file).write_text(str(value))


def _version_1(name: str, root: Path) -> tuple[int, dict[str, Path], tuple[str, ...]] | None:
    folders = {}
    for controller in CONTROLLERS:
        folder = root / controller / name
        if (root / controller / "tasks").exists() and _can_make(folder):
            folders[controller] = folder
    if "memory" in folders:
        return 1, folders, tuple(folders)
    for folder in folders.values():
        _remove(folder)
    return None


def _version_2(name: str, root: Path) -> tuple[int, dict[str, Path], tuple[str, ...]] | None:
    for parent in (root, root / own_path().lstrip("/")):
        listed = parent / "cgroup.controllers"
        try:
            wanted = [one for one in CONTROLLERS if one in listed.read_text().split()]
        except OSError:
            continue
        folder = parent / name
        if "memory" not in wanted or not _can_make(folder):
            continue
        if _hand_down(parent, wanted) and _hand_down(folder, wanted):
            return 2, {"all": folder}, tuple(wanted)
        _remove(folder)
    return None


def own_path() -> str:
    """Where in the hierarchy of version 2 this process is."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line[3:]
    return "/"


def _hand_down(folder: Path, controllers: Iterable[str]) -> bool:
    """Have groups in a folder get controllers. A group with processes of its own can't: ours move into one below."""
    switch = folder / "cgroup.subtree_control"
    try:
        missing = [one for one in controllers if one not in switch.read_text().split()]
        if not missing:
            return True
        text = " ".join(f"+{one}" for one in missing)
        try:
            switch.write_text(text)
        except OSError:
            if not _step_down(folder):
                return False
            switch.write_text(text)
    except OSError:
        return False
    return True


def _step_down(folder: Path) -> bool:
    """Move Tule and this process out of a group that holds nobody else. True if it is empty then."""
    pids = {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    if not pids or not pids <= {os.getpid(), os.getppid()}:
        return False
    inner = folder / "tule"
    with suppress(OSError):
        inner.mkdir(exist_ok=True)
        for pid in pids:
            (inner / "cgroup.procs").write_text(str(pid))
        return True
    return False


def _can_make(folder: Path) -> bool:
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return True


def _remove(folder: Path) -> None:
    """A group with all below it, ending whoever is in them."""
    if not folder.is_dir():
        return
    for inner in folder.glob("*/"):
        _remove(inner)
    with suppress(OSError):
        for pid in (folder / "cgroup.procs").read_text().split():
            if int(pid) > 0:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
    with suppress(OSError):
        folder.rmdir()


def sweep(root: Path = ROOT) -> int:
    """Remove groups of runners that are gone; how many are left. To be called where the host's processes are seen."""
    left = 0
    parents = {root, root / own_path().lstrip("/"), *(root / controller for controller in CONTROLLERS)}
    for folder in {found for parent in parents for found in parent.glob("tule-*-*")}:
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not lives(int(pid)):
            _remove(folder)
            left += folder.exists()
    return left
