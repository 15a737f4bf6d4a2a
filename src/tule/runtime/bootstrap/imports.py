"""How long each module took to import, in an execution environment that starts cold."""

import sys
import time
from collections.abc import Callable
from typing import Any

LEAST_S = 0.0001
"""Imports that took less, with all that they imported, are not told (ours): a cold start has hundreds."""
MOST = 400
"""Imports that are told at most; of more, the quickest are left out."""

# Named like the import system's own code, the function's frames are cut from tracebacks together with it.
_TIMED = """
def _find_and_load(name, import_):
    entry = [name, len(stack), 0.0, 0.0]
    entries.append(entry)
    stack.append(entry)
    began = clock()
    try:
        return find(name, import_)
    finally:
        took = clock() - began
        stack.pop()
        entry[2] += took
        if stack:
            stack[-1][3] += took
"""
_CODE = compile(_TIMED, "<frozen importlib._bootstrap>", "exec")


class ImportTimes:
    """Times imports between `start` and `stop`. Modules that are loaded already cost nothing and are not seen."""

    def __init__(self) -> None:
        self._entries: list[list[Any]] = []
        self._system: Any = sys.modules.get("_frozen_importlib")
        self._find: Callable[..., Any] | None = None

    def start(self) -> None:
        if self._system is None:
            return
        self._find = self._system._find_and_load  # noqa: SLF001 - the one place that every import passes
        namespace: dict[str, Any] = {
            "find": self._find, "entries": self._entries, "stack": [], "clock": time.perf_counter,
        }  # fmt: skip
        exec(_CODE, namespace)  # noqa: S102 - the constant above
        self._system._find_and_load = namespace["_find_and_load"]  # noqa: SLF001 - as above

    def stop(self) -> None:
        if self._find is not None:
            self._system._find_and_load = self._find  # noqa: SLF001 - as above

    def told(self) -> list[list[Any]]:
        """[module, depth, microseconds of its own, microseconds with what it imported], in the order of imports."""
        least = LEAST_S
        kept = [entry for entry in self._entries if entry[2] >= least]
        if len(kept) > MOST:
            least = sorted((entry[2] for entry in kept), reverse=True)[MOST - 1]
            kept = [entry for entry in kept if entry[2] >= least]
        return [[name, depth, round((all_s - below) * 1e6), round(all_s * 1e6)] for name, depth, all_s, below in kept]


def sources(root: str) -> list[str]:
    """The files below `root` that were imported, by their path from there."""
    found = []
    for module in list(sys.modules.values()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if isinstance(origin, str) and origin.endswith(".py") and origin.startswith(f"{root}/"):
            found.append(origin[len(root) + 1 :])
    return found
