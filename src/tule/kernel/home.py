"""Tule's home on disk: who may read it, and where what lies."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

from tule.kernel.processes import lives
from tule.kernel.randomness import RandomSource

DATA: Final = "data"
SCRATCH: Final = "memory-"
TOKEN_FILE: Final = "admin-token"  # noqa: S105 - the name of a file, not a token


class HomeError(Exception):
    """The home can't be used: says why and what to do."""


class Home:
    """`path` with mode 0700, and in it: data/ (the store), log/, run/ (a note per running Tule), admin-token."""

    def __init__(self, path: Path, *, memory: bool) -> None:
        self.path = path
        try:
            _private_directory(path)
            for name in ("log", "run"):
                _private_directory(path / name)
            self.scratch = _scratch(path) if memory else path
        except OSError as error:
            raise HomeError(
                f"Tule's home {path} can't be used: {error.strerror or error}. "
                "Choose another with --dir, or make it writable."
            ) from error
        self._memory = memory
        self._note: Path | None = None

    @property
    def data(self) -> Path:
        """The store's own directory."""
        return self.path / DATA

    @property
    def log_file(self) -> Path:
        return self.path / "log" / "tule.log"

    @property
    def token_file(self) -> Path:
        return self.path / TOKEN_FILE

    def token(self, random: RandomSource) -> str:
        """The admin token, made once: a file that only its owner reads."""
        try:
            descriptor = os.open(self.token_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            token = self.token_file.read_text(encoding="ascii").strip()
            if len(token) >= 32:
                self.token_file.chmod(0o600)
                return token
            descriptor = os.open(self.token_file, os.O_TRUNC | os.O_WRONLY)
        token = random.token_hex(32)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
        return token

    def write_note(self, note: dict[str, Any]) -> None:
        """Say where this Tule is, for the command line."""
        self._note = self.path / "run" / f"{note['port']}.json"
        fresh = self._note.with_suffix(".new")
        descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(note, file)
        fresh.replace(self._note)

    def leave(self) -> None:
        """Take the note away, and what a Tule in memory put on disk."""
        if self._note is not None:
            self._note.unlink(missing_ok=True)
        if self._memory:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def forget(self) -> None:
        """Delete the store, the traces and everything else that requests made. Only after the store is closed."""
        for name in (DATA, "blobs", "traces.db", "traces.db-wal", "traces.db-shm"):
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)


def _scratch(path: Path) -> Path:
    """A folder for what a Tule in memory still needs files for; those of processes that are gone go first."""
    for left in path.glob(f"{SCRATCH}*"):
        owner = left.name.removeprefix(SCRATCH)
        if not owner.isdecimal() or int(owner) == os.getpid() or not lives(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    made = path / f"{SCRATCH}{os.getpid()}"
    made.mkdir(mode=0o700)
    return made


def _private_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
