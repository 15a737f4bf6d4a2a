"""Tule's own log: structured lines, one file that rotates, no secrets."""

import contextlib
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
KEPT_FILES: Final = 4
"""tule.log and three older ones (ours)."""

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

HIDDEN: Final = "[hidden]"

_SECRET_KEY: Final = re.compile(
    r"secret|password|passwd|token|authorization|signature|credential|private", re.IGNORECASE
)
_SECRET_TEXT: Final = re.compile(
    r"(?i)(bearer\s+|x-amz-signature=|x-amz-security-token=|signature=|secret[_-]?access[_-]?key\W{1,4})[^\s&,;\"']+"
)


def without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Hide values under telling names, and what looks like a credential inside any text."""
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = HIDDEN
        elif isinstance(value, str):
            event[key] = _SECRET_TEXT.sub(rf"\1{HIDDEN}", value)
    return event


class RotatingFile:
    """Appends lines to `path`; a full file becomes path.1, path.1 becomes path.2, and the oldest goes."""

    def __init__(self, path: Path, max_bytes: int = MAX_FILE_BYTES, kept: int = KEPT_FILES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._file: TextIO | None = None
        self._size = 0

    def line(self, text: str) -> None:
        if self._file is None or self._size > self._max_bytes:
            self._open()
        assert self._file is not None
        self._file.write(text + "\n")
        self._size += len(text) + 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
            self._shift()
        descriptor = os.open(self._path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self._file = os.fdopen(descriptor, "a", encoding="utf-8", errors="replace", buffering=1)
        self._size = os.fstat(descriptor).st_size

    def _shift(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)


class Sink:
    """structlog's logger: the file takes everything, the terminal what somebody should see.

    A log that can't be written (a terminal that has gone, a full disk) never fails the work that it tells of.
    """

    def __init__(self, file: RotatingFile | None, terminal: TextIO) -> None:
        self._file = file
        self._terminal = terminal

    def msg(self, text: str) -> None:
        if self._file is None:
            self._show(text)
            return
        with contextlib.suppress(OSError):
            self._file.line(text)

    def loud(self, text: str) -> None:
        self.msg(text)
        if self._file is not None:
            self._show(text)

    def _show(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._terminal.write(text + "\n")

    debug = info = msg
    warning = warn = error = critical = exception = fatal = failure = err = loud


def configure(level: str, path: Path | None) -> RotatingFile | None:
    """Send Tule's log to `path` (warnings to the terminal too), or all of it to the terminal for None."""
    file = RotatingFile(path) if path is not None else None
    sink = Sink(file, sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            without_secrets,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    return file
