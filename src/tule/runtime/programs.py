"""Runtimes that are programs of their own and ask for work over the Runtime API: what is started for each."""

from pathlib import Path
from typing import Any, Final

from tule.runtime.hosts import Interpreter
from tule.runtime.supervised import Program

PROVIDED: Final = "provided"
OWN_RUNTIMES: Final = frozenset({"python", "node"})
"""Kinds that Tule's own bootstraps serve; all others are programs."""


def is_program(interpreter: Interpreter) -> bool:
    return interpreter.kind not in OWN_RUNTIMES


def program_of(claim: dict[str, Any], *, tree: bool) -> Program:
    """What runs for a function in its environment."""
    task = claim["environment"]["LAMBDA_TASK_ROOT"]
    opt = "/opt" if tree else str(claim["opt"] or "/opt")
    return Program((f"{task}/bootstrap", f"{opt}/bootstrap"))


def managed(command: list[str]) -> Program:
    """One of Tule's own bootstraps, under a supervisor."""
    return Program((command[0],), tuple(command[1:]), framed=True)


def has_extensions(layers: str) -> bool:
    """Whether the merged layers bring external extensions."""
    return bool(layers) and Path(layers, "extensions").is_dir()
