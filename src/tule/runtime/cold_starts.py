"""What became of recent cold starts: where the time went, phase by phase and module by module.

Kept in memory, and in a file beside the packages with relaxed durability: it may lack the last seconds after a crash.
"""

import asyncio
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from tule.kernel.clocks import Handle, MachineClock

KEPT: Final = 20
"""Cold starts that are kept of a version (ours): enough for a median."""

VERSIONS: Final = 500
"""Versions whose cold starts are kept (ours); of more, those that started cold longest ago are forgotten."""

WRITE_AFTER_S: Final = 1.0

INIT, RESTORE, PLAIN = "init", "restore", "plain init"
"""How an instance came to be: by its init phase, from a snapshot, or by its init phase because there is no snapshot."""

_log = structlog.get_logger("tule.runtime")


class Module(msgspec.Struct, frozen=True, array_like=True):
    """One import: `own_us` without what it imported in turn, `us` with it."""

    name: str
    depth: int
    own_us: int
    us: int


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    """One cold start. Times in milliseconds."""

    at_ms: int
    """Machine time."""
    kind: str
    phases: dict[str, float]
    """In order: queue, fetch, unpack, process, sandbox, init; restore and hooks instead of init from a snapshot."""
    total_ms: float
    """From the request until the handler could run."""
    modules: list[Module] = []
    note: str = ""
    """Why there was no snapshot, if one was asked for."""
    unpacked_ms: float = 0.0
    """What unpacking the package took, when it was deployed."""


class VersionStarts(msgspec.Struct, frozen=True):
    """The cold starts of one version, the oldest first."""

    arn: str
    version: str
    starts: list[ColdStart]


class ColdStarts:
    """The recent cold starts of every version."""

    def __init__(self, machine: MachineClock, file: Path) -> None:
        self._machine = machine
        self._file = file
        self._kept: dict[tuple[str, str], deque[ColdStart]] = {}
        self._alarm: Handle | None = None
        self._writing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Take up what an earlier process noted; a file that can't be read is as good as none."""
        try:
            found = msgspec.json.decode(self._file.read_bytes(), type=list[VersionStarts])
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("earlier cold starts are not known", file=str(self._file), why=str(error))
            return
        for one in found:
            self._kept[one.arn, one.version] = deque(one.starts, KEPT)

    def add(self, arn: str, version: str, start: ColdStart) -> None:
        """Keep one."""
        key = (arn, version)
        starts = self._kept.pop(key, None) or deque(maxlen=KEPT)
        starts.append(start)
        self._kept[key] = starts  # the last one is the one that started cold last
        while len(self._kept) > VERSIONS:
            del self._kept[next(iter(self._kept))]
        if self._alarm is None:
            self._alarm = self._machine.call_later(WRITE_AFTER_S, self._write_soon)

    def of(self, function: str, version: str = "") -> list[VersionStarts]:
        """Of one function (by ARN, or by name in whichever account and region): all of its versions, or one."""
        return [
            VersionStarts(key[0], key[1], list(starts))
            for key, starts in self._kept.items()
            if function in (key[0], key[0].rpartition(":")[2]) and version in ("", key[1])
        ]

    def forget(self, arn: str) -> None:
        """A function was deleted."""
        for key in [key for key in self._kept if key[0] == arn]:
            del self._kept[key]

    def _write_soon(self) -> None:
        self._alarm = None
        data = self._encoded()
        self._writing = asyncio.get_running_loop().create_task(asyncio.to_thread(self._write, data))

    def _encoded(self) -> bytes:
        return msgspec.json.encode(
            [VersionStarts(arn, version, list(kept)) for (arn, version), kept in self._kept.items()]
        )

    def _write(self, data: bytes) -> None:
        draft = self._file.with_suffix(f".{os.getpid()}")
        try:
            draft.write_bytes(data)
            draft.replace(self._file)
        except OSError as error:
            _log.warning("cold starts not written", file=str(self._file), why=str(error))

    async def close(self) -> None:
        """Write what has not been written."""
        if self._writing is not None:
            await self._writing
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
            await asyncio.to_thread(self._write, self._encoded())


class Timeline:
    """Takes the times of one request's start as it happens."""

    def __init__(self, machine: MachineClock) -> None:
        self._machine = machine
        self._at_ms = machine.wall_ms()
        self._began_s = self._last_s = machine.monotonic_s()
        self._phases: dict[str, float] = {}
        self.note = ""
        self.unpacked_ms = 0.0
        self.modules: list[Module] = []

    def passed(self, phase: str) -> None:
        """What happened since the last mark was `phase`."""
        now_s = self._machine.monotonic_s()
        self._phases[phase] = (now_s - self._last_s) * 1000
        self._last_s = now_s

    def split(self, phase: str, parts: Iterable[tuple[str, float]]) -> None:
        """What happened since the last mark was the named parts, in ms, and `phase` for the rest."""
        self.passed(phase)
        for name, took_ms in parts:
            self._phases[name] = took_ms
            self._phases[phase] = max(0.0, self._phases[phase] - took_ms)

    @property
    def total_ms(self) -> float:
        return (self._last_s - self._began_s) * 1000

    def told(self, kind: str) -> ColdStart:
        """All of it."""
        phases = {name: round(took_ms, 3) for name, took_ms in self._phases.items()}
        return ColdStart(
            at_ms=self._at_ms, kind=kind, phases=phases, total_ms=round(self.total_ms, 3), modules=self.modules,
            note=self.note, unpacked_ms=self.unpacked_ms,
        )  # fmt: skip
