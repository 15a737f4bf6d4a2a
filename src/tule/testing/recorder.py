"""A disk that remembers in which order it was written, synced and spoken of; and what a power cut leaves of it.

`Recorder` is an SQLite VFS over the system's own. It notes every write, truncation, deletion and sync of the database
and its log, and `told` notes answers, all in one order. `left_after` then builds the files as they may be when the
power goes at one point of that order: what was synced is whole, what was not is kept, dropped or torn, by chance.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import apsw

from tule.kernel.randomness import RandomSource

SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all; a torn write ends at one of these."""

Fate = Literal["kept", "dropped", "torn"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a file, or an answer that was given."""

    kind: Literal["write", "truncate", "delete", "sync", "told"]
    file: str = ""
    offset: int = 0
    data: bytes = b""
    told: Any = None


class Recorder(apsw.VFS):
    """Registered under `name`; pass that to `SqliteBackend` as its `vfs`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[Event] = []
        self._lock = threading.Lock()
        super().__init__(name, "")

    def note(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)

    def told(self, answer: Any) -> None:
        """An answer left Tule now."""
        self.note(Event("told", told=answer))

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return RecordedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001 - SQLite's name and signature
        super().xDelete(filename, syncdir)
        self.note(Event("delete", Path(filename).name))


class RecordedFile(apsw.VFSFile):
    """One open file."""

    def __init__(self, recorder: Recorder, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._recorder = recorder
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path).name if path else ""
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self._note(Event("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._note(Event("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        self._note(Event("sync", self._name))

    def _note(self, event: Event) -> None:
        # Temporary files have no name and don't survive anything.
        if self._name:
            self._recorder.note(event)


def left_after(events: list[Event], point: int, random: RandomSource) -> tuple[dict[str, bytes], list[Any]]:
    """The files after the power went just before event `point`, and what had been told by then.

    A file's unsynced writes are kept, dropped or torn each on its own, in their order: a disk may write later ones
    first.
    """
    files: dict[str, bytearray] = {}
    waiting: dict[str, list[Event]] = {}
    told = []
    for event in events[:point]:
        if event.kind == "told":
            told.append(event.told)
        elif event.kind == "sync":
            for change in waiting.pop(event.file, ()):
                _apply(files, change, "kept", random)
        elif event.kind == "delete":
            # The directory is synced by the journal's own rules; a WAL is deleted only when its database is whole.
            files.pop(event.file, None)
            waiting.pop(event.file, None)
        else:
            waiting.setdefault(event.file, []).append(event)
    for changes in waiting.values():
        for change in changes:
            _apply(files, change, _fate(random), random)
    return {name: bytes(content) for name, content in files.items()}, told


def _fate(random: RandomSource) -> Fate:
    drawn = random.below(4)
    return "kept" if drawn == 0 else "torn" if drawn == 1 else "dropped"


def _apply(files: dict[str, bytearray], event: Event, fate: Fate, random: RandomSource) -> None:
    if fate == "dropped":
        return
    content = files.setdefault(event.file, bytearray())
    if event.kind == "truncate":
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
        return
    data = event.data
    if fate == "torn":
        data = data[: SECTOR_BYTES * random.below(1 + len(data) // SECTOR_BYTES)]
    if len(content) < event.offset:
        content.extend(bytes(event.offset - len(content)))
    content[event.offset : event.offset + len(data)] = data
