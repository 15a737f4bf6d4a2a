"""Files that change, from the kernel's own notices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from watchfiles._rust_notify import RustNotify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

QUIET_MS: Final = 15
"""Editors write a file in several steps: a change counts when nothing more has come for so long (ours)."""

LATEST_MS: Final = 400
"""A change counts after so long at the latest, however much is written (ours)."""

ADDED: Final = 1
"""What the library calls a file that is new (watchfiles.Change.added)."""

LEFT_OUT: Final = frozenset(
    {"__pycache__", ".git", "node_modules", ".venv", ".aws-sam", ".mypy_cache", ".pytest_cache"}
)  # fmt: skip
"""Folders in which nobody edits code."""


States = dict[Path, tuple[int, int] | None]
"""Time and size of files; None for one that is gone."""


class Watch:
    """Notices of changes below some places, from the moment it is made.

    `states` remembers files as they were when they were last told of; the next watch goes on with it.
    """

    def __init__(self, places: Iterable[Path], states: States) -> None:
        self._places = list(places)
        self._states = states
        # The library's watch() begins only when its first change is awaited, which loses those of the meantime.
        self._notify = RustNotify(
            list(map(str, self._places)),
            debug=False, force_polling=False, poll_delay_ms=300, recursive=True, ignore_permission_denied=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notify.close()

    def next(self) -> set[Path]:
        """What changed next; raises KeyboardInterrupt on Ctrl-C."""
        while True:
            found = self._notify.watch(LATEST_MS, QUIET_MS, 0, None)
            if isinstance(found, str):
                raise KeyboardInterrupt
            brief = {name for kind, name in found if kind == ADDED and not Path(name).exists()}  # editors' own files
            paths = {Path(name) for _, name in found if name not in brief}
            changed = {path for path in paths if counts(path) and self._is_new(path)}
            if changed:
                return changed

    def since(self, instant_s: float) -> set[Path]:
        """What was written after an instant, in seconds since the epoch."""
        return {path for path in self._files() if path.stat().st_mtime > instant_s and self._is_new(path)}

    def _is_new(self, path: Path) -> bool:
        """Whether a file is another than when it was last looked at: one save may bring several notices."""
        try:
            found = path.stat()
            state = (found.st_mtime_ns, found.st_size)
        except OSError:
            state = None
        if path in self._states and self._states[path] == state:
            return False
        self._states[path] = state
        return True

    def _files(self) -> Iterator[Path]:
        for place in self._places:
            if place.is_file():
                yield place
            for root, folders, names in os.walk(place):
                folders[:] = [name for name in folders if name not in LEFT_OUT]
                yield from (path for name in names if (path := Path(root) / name).is_file() and counts(path))


def counts(path: Path) -> bool:
    """Whether people write such a file."""
    return not LEFT_OUT & set(path.parts) and not path.name.endswith(("~", ".swp", ".pyc"))
