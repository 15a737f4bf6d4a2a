"""Strangers' zips and programs, in a process that has limits."""

import asyncio
import hashlib
import io
import os
import stat
import subprocess
import sys
import zipfile

import pytest

from tule.kernel.clocks import SystemClock
from tule.kernel.ports import BlobRef
from tule.runtime.contract import PackageError, UnpackingError
from tule.runtime.worker import Worker, WorkerBrokenError, WorkerError

BAD = "Could not unzip uploaded file. Please check your file, then try to upload again."
MATCH = "tule.services.cloudformation.sam:match_patterns"


def zipped(*entries, method=zipfile.ZIP_DEFLATED):
    """(name or ZipInfo, content) pairs as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def unpack(bench, data):
    digest = hashlib.sha256(data).hexdigest()
    path = bench.home / f"{digest}.zip"
    path.write_bytes(data)
    name = bench.wait(bench.functions.unpack(BlobRef(digest, len(data)), str(path)))
    return bench.home / "packages" / name


def test_a_package_is_unpacked_once_and_whole(bench):
    program = zipfile.ZipInfo("bin/run")
    program.external_attr = (stat.S_IFREG | 0o755) << 16
    data = zipped(("app.py", "x = 1"), ("lib/a.txt", "a"), (program, "#!"), (link("lib/link"), "a.txt"))
    folder = unpack(bench, data)
    assert (folder / "app.py").read_text() == "x = 1"
    assert (folder / "bin/run").stat().st_mode & 0o777 == 0o555
    assert (folder / "app.py").stat().st_mode & 0o777 == 0o444
    assert (folder / "lib/link").read_text() == "a"
    inode = folder.stat().st_ino
    assert unpack(bench, data).stat().st_ino == inode


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip at all",
        zipped(("a", "x" * 100))[:-30],
        zipped(("../outside", "x")),
        zipped(("/absolute", "x")),
        zipped(("a/../../b", "x")),
        zipped((link("escape"), "../../etc/passwd")),
        zipped((link("absolute"), "/etc/passwd")),
        zipped((link("folder"), "."), ("folder/../../x", "x")),
    ],
    ids=["empty", "text", "torn", "parent", "absolute", "climbing", "link out", "link to root", "through a link"],
)
def test_what_is_no_honest_zip_is_refused_and_leaves_nothing(bench, data):
    before = set((bench.home / "packages").iterdir())
    with pytest.raises(PackageError) as refusal:
        unpack(bench, data)
    assert str(refusal.value) == BAD
    assert set((bench.home / "packages").iterdir()) == before


def test_a_bomb_is_refused_by_its_real_size(bench):
    data = zipped(("zeros", bytes(262_144_000)))
    assert len(data) < 300_000
    with pytest.raises(PackageError, match="Unzipped size must be smaller than 262144000 bytes"):
        unpack(bench, data)


def test_a_bomb_that_lies_about_its_size_is_refused(bench):
    honest = zipped(("zeros", bytes(1_000_000)))
    lying = honest.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(PackageError):
        unpack(bench, lying)


def call(entry, payload, **limits):
    return asyncio.run(Worker(SystemClock()).call(entry, payload, **limits))


def test_a_worker_answers():
    assert call(MATCH, [["a+", "aaa"], ["a+", "b"]]) == [1]


def test_work_that_never_ends_is_ended():
    with pytest.raises(WorkerBrokenError, match=r"longer than 0\.5 s"):
        call(MATCH, [["(a+)+b", "a" * 60]], time_limit_s=0.5)


def test_work_that_needs_too_much_memory_is_refused():
    with pytest.raises(WorkerError, match=r"memory|limit"):
        call(MATCH, [["a", "b" * 200_000_000]], memory_limit_bytes=300_000_000)


def test_a_worker_that_cannot_be_started_says_so(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(WorkerBrokenError, match=r"could not be started: .*No such file"):
        call(MATCH, [])


def test_a_package_is_not_refused_when_the_worker_fails(make_bench):
    bench = make_bench()
    (bench.home / "packages").rename(bench.home / "away")
    data = zipped(("app.py", "x = 1"))
    with pytest.raises(UnpackingError, match="FileNotFoundError"):
        unpack(bench, data)
    (bench.home / "away").rename(bench.home / "packages")
    assert (unpack(bench, data) / "app.py").exists()


def test_a_full_disk_is_not_the_packages_fault(make_bench):
    bench = make_bench()
    if os.geteuid() != 0:
        pytest.skip("Only root can mount a small file system.")
    packages = bench.home / "packages"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", packages], check=False)
    if mounted.returncode:
        pytest.skip("This machine lets nobody mount a file system.")
    try:
        with pytest.raises(UnpackingError, match="No space left"):
            unpack(bench, zipped(("big", os.urandom(300_000))))
        assert not list(packages.iterdir())
    finally:
        subprocess.run(["umount", packages], check=True)


def test_nothing_but_the_listed_work_is_run():
    with pytest.raises(WorkerError, match="os:getcwd is nothing a worker may run"):
        call("os:getcwd", None)


def test_failures_of_the_work_are_told():
    with pytest.raises(WorkerError, match="ValueError"):
        call(MATCH, [["only one"]])
