"""Control groups of both versions, behind one interface, on real hierarchies."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tule.runtime import groups
from tule.runtime.bootstrap import tree
from tule.runtime.groups import Groups

NAME = f"tule-{os.getpid()}-test"


@pytest.fixture(params=[1, 2], ids=["version 1", "version 2"])
def made(request, tmp_path, monkeypatch):
    """Groups of one version; of version 2 with what controllers a mount of it has here, none in the worst case."""
    if os.geteuid() != 0:
        pytest.skip("hierarchies are root's to mount and write")
    if request.param == 1:
        found = groups._version_1(NAME, groups.ROOT)
        if found is None:
            pytest.skip("version 1 of the memory controller is not mounted here")
        made = Groups(*found)
        yield made
        made.remove()
        return
    root = tmp_path / "cgroup2"
    root.mkdir()
    try:
        tree.mount("cgroup2", str(root), "cgroup2", 0)
    except OSError as error:
        pytest.skip(f"version 2 can't be mounted: {error}")
    offered = tuple((root / "cgroup.controllers").read_text().split())
    controllers = tuple(one for one in groups.CONTROLLERS if one in offered)
    (root / NAME).mkdir()
    for folder in (root, root / NAME):
        assert groups._hand_down(folder, controllers)
    made = Groups(2, {"all": root / NAME}, controllers)
    yield made
    made.remove()
    tree.unmount(str(root))


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "100"])
    yield process
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


def of(pid):
    """The groups that a process is in."""
    return Path(f"/proc/{pid}/cgroup").read_text()


def read(made, controller, name, file):
    folder = made.folders["all" if made.version == 2 else controller]
    return (folder / name / file).read_text().split()


def test_an_instance_gets_groups_joins_them_and_leaves_none(made, sleeper):
    made.make("one")
    assert made.has("one")
    assert not made.has("two")
    made.attach("one", [sleeper.pid], 256)
    joined = [line for line in of(sleeper.pid).splitlines() if f"{NAME}/one" in line]
    assert len(joined) == len(made.folders)
    made.end("one")
    assert sleeper.wait(10) == -signal.SIGKILL
    made.end("one")  # the first time it may still have been in it
    assert not made.has("one")


def test_a_process_of_a_zygotes_tree_joins_by_the_files_it_is_told(made, sleeper):
    made.make("one")
    for folder in made.told["folders"]:
        (made.folders[folder] / "one" / "cgroup.procs").write_text(str(sleeper.pid))
    assert of(sleeper.pid).count(f"{NAME}/one") == len(made.folders)
    for folder, file in made.told["memory"]:
        if "memory" in made.controllers:
            (made.folders[folder] / "one" / file).write_text(str(128 << 20))


def test_limits_are_the_kernels(made):
    made.make("one")
    made.attach("one", [], 256)
    made.limit_cpu("one", 1769 // 2)
    if made.version == 2:
        expected = {
            "memory": {"memory.max": [str(256 << 20)], "memory.swap.max": ["0"], "memory.oom.group": ["1"]},
            "cpu": {"cpu.max": ["9994", "20000"]},
            "pids": {"pids.max": ["1024"]},
        }
    else:
        expected = {
            "memory": {"memory.limit_in_bytes": [str(256 << 20)], "memory.swappiness": ["0"]},
            "cpu": {"cpu.cfs_quota_us": ["9994"], "cpu.cfs_period_us": ["20000"]},
            "pids": {"pids.max": ["1024"]},
        }
    for controller in made.controllers:
        for file, value in expected[controller].items():
            assert read(made, controller, "one", file) == value


def test_groups_of_a_runner_that_is_gone_are_swept(made, sleeper):
    dead = subprocess.Popen(["true"])
    dead.wait()
    root = next(iter(made.folders.values())).parent
    left = root / f"tule-{dead.pid}-1"
    (left / "one").mkdir(parents=True)
    (left / "one" / "cgroup.procs").write_text(str(sleeper.pid))
    base = root.parent if made.version == 1 else root
    groups.sweep(base)
    assert sleeper.wait(10) == -signal.SIGKILL
    assert groups.sweep(base) == 0
    assert not left.exists()


@pytest.mark.parametrize(
    ("memory_mb", "quota"), [(1769, 20_000), (3538, 40_000), (885, 10_005), (128, 1447), (10240, 115_771), (1, 1000)]
)
def test_a_function_has_the_part_of_the_cores_that_goes_with_its_memory(memory_mb, quota):
    assert groups.quota_us(memory_mb) == quota
