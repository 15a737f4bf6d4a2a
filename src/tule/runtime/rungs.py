"""The sandbox ladder: what confines functions here, in words."""

import os
import sys
import tempfile
from typing import Any, Final

FULL: Final = "namespaces (processes, mounts), read-only tree, Landlock, no new privileges, limits"


def describe(hello: dict[str, Any], *, bare: bool = False) -> str:
    """The rung of the runner that runs, or of one that would run."""
    if not hello:
        hello = _look(bare=bare)
    parts = [FULL] if hello["tree"] else []
    if not hello["tree"]:
        parts.append("Landlock, no new privileges, limits" if hello["landlock"] else "no new privileges, limits")
        parts.append("no own /tmp (TMPDIR instead)")
    elif not hello["landlock"]:
        parts = [FULL.replace(" Landlock,", "")]
    if hello["tree"] and hello["root"]:
        parts.append("own user each")
    parts.append("memory by cgroup" if hello["memory"] else "memory watched")
    return ", ".join(parts)


def sandbox_rung() -> str:
    """What would confine functions on this machine, tried out in a child process."""
    return describe({})


def _look(*, bare: bool) -> dict[str, Any]:
    if sys.platform != "linux":
        return {"tree": False, "root": False, "memory": "", "landlock": 0}
    from tule.runtime.bootstrap import confinement

    with tempfile.TemporaryDirectory() as scratch:
        tree = not bare and confinement.probe(scratch)
    root = os.geteuid() == 0
    writable = any(os.access(path, os.W_OK) for path in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"))
    return {
        "tree": tree, "root": root, "memory": "yes" if tree and root and writable else "",
        "landlock": confinement.landlock_abi(),
    }  # fmt: skip
