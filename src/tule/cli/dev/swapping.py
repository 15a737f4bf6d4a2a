"""Putting changed code into a function: built, packed, sent, and in force when this returns."""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tule.cli.deploy.build import build
from tule.cli.deploy.packing import pack
from tule.cli.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tule.cli.deploy.build import Function
    from tule.cli.deploy.session import Session

INLINE_MAX_BYTES: Final = 40 * 1024 * 1024
"""Larger packages go by S3: a request may have 70 MB, and base64 makes a third more of a package (Lambda quotas)."""

LOOK_EVERY_S: Final = 0.003
"""Between two looks at an update that is under way; it takes a few milliseconds."""

UPDATED_WITHIN_S: Final = 60.0
"""A guard against an update that never ends (ours)."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A function with new code, and how long each step took."""

    function: str
    build_ms: float
    pack_ms: float
    update_ms: float


@dataclass(frozen=True, slots=True)
class Target:
    """A function of the stack whose code is here."""

    logical_id: str
    name: str
    """As Lambda knows it."""
    function: Function
    code: Path


class Swapper:
    """Puts code into functions. Says nothing: it returns or raises `Failure`."""

    def __init__(self, session: Session, stack: str, home: Path, say: Callable[[str], None]) -> None:
        self._session = session
        self._stack = stack
        self._home = home
        self._say = say

    def swap(self, targets: Iterable[Target]) -> list[Swap]:
        """Give every target the code that is there now; targets that share a package share the work."""
        swaps = []
        packed: dict[tuple[Path, str], tuple[bytes, float, float]] = {}
        for target in targets:
            key = (target.code, target.function.fingerprint())
            if key not in packed:
                packed[key] = self._packed(target)
            archive, build_ms, pack_ms = packed[key]
            started = time.perf_counter()
            self._update(target, archive)
            swaps.append(Swap(target.logical_id, build_ms, pack_ms, _ms_since(started)))
        return swaps

    def _packed(self, target: Target) -> tuple[bytes, float, float]:
        check_syntax(target.logical_id, target.function, target.code)
        with tempfile.TemporaryDirectory(prefix="tule-dev-") as scratch:
            started = time.perf_counter()
            folder = build(target.function, target.code, Path(scratch), self._home, _silent)
            build_ms, started = _ms_since(started), time.perf_counter()
            archive = Path(scratch) / "package.zip"
            pack(folder, archive)
            return archive.read_bytes(), build_ms, _ms_since(started)

    def _update(self, target: Target, archive: bytes) -> None:
        code: dict[str, Any] = {"ZipFile": archive}
        if len(archive) > INLINE_MAX_BYTES:
            with tempfile.NamedTemporaryFile(suffix=".zip") as file:
                Path(file.name).write_bytes(archive)
                bucket, key = self._session.upload(self._stack, Path(file.name), ".zip")
            code = {"S3Bucket": bucket, "S3Key": key}
        answer = self._session.call("lambda", "update_function_code", FunctionName=target.name, **code)
        deadline = time.monotonic() + UPDATED_WITHIN_S
        while answer["LastUpdateStatus"] == "InProgress" and time.monotonic() < deadline:
            threading.Event().wait(LOOK_EVERY_S)
            answer = self._session.call("lambda", "get_function_configuration", FunctionName=target.name)
        if answer["LastUpdateStatus"] != "Successful":
            reason = answer.get("LastUpdateStatusReason", f"its update is {answer['LastUpdateStatus']}")
            raise Failure(f"{target.logical_id} kept its old code: {reason}")


def check_syntax(logical_id: str, function: Function, code: Path) -> None:
    """Refuse Python that can't be compiled, by name and line: the function would fail, and say so later."""
    if not function.runtime.startswith("python"):
        return
    files = code.rglob("*.py") if code.is_dir() else [code]
    for file in files:
        if "node_modules" in file.parts or ".venv" in file.parts:
            continue
        try:
            compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            what = getattr(error, "msg", None) or str(error)
            raise Failure(f"{file}:{line}: {what}", f"{logical_id} keeps its old code until that is mended.") from error
        except OSError:
            continue  # it went while we looked, or is no text: packing will meet it


def _silent(_: str) -> None:
    """Every change builds; that it does is no news."""


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
