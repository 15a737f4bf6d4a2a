"""`python -m bench.ordinary_user MODULE ARGUMENTS`: a table as an ordinary user, started by root."""

import os
import runpy
import sys
from pathlib import Path

from tule.runtime.bootstrap import namespaces, tree

USER = 54_321


def show_interpreter() -> None:
    """Where this Python lies in a home that only its owner may enter, show it, and nothing else of that home."""
    prefix = Path(sys.base_prefix)
    closed = next((one for one in reversed(prefix.parents) if not one.stat().st_mode & 0o001), None)
    if closed is None:
        return
    namespaces.unshare(namespaces.CLONE_NEWNS)
    tree.mount("", "/", "", tree.MS_REC | tree.MS_PRIVATE)
    held = os.open(prefix, os.O_PATH)
    tree.mount("none", str(closed), "tmpfs", 0, "mode=755")
    prefix.mkdir(parents=True)
    tree.bind(f"/proc/self/fd/{held}", str(prefix))
    os.close(held)


if __name__ == "__main__":
    show_interpreter()
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    os.environ["HOME"] = "/nonexistent"
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
