"""Cold starts of one version, summed up: medians by phase and module, and what would be worth deferring."""

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

from tule.runtime.cold_starts import RESTORE, ColdStart, Module, VersionStarts

WORTH_MS: Final = 1.0
"""What deferring an import must save to be named (ours)."""

PASSED_ON: Final = 0.8
"""A module that spends this share of its time on one import of another package is not named itself (ours)."""


class ModuleTime(msgspec.Struct, frozen=True):
    """One import, in milliseconds: the median of its own time, and of that with all that it imported in turn."""

    name: str
    depth: int
    own_ms: float
    ms: float


class Deferrable(msgspec.Struct, frozen=True):
    """The import that costs most: done where it is needed first, it delays no cold start that doesn't need it."""

    module: str
    imported_by: str
    saving_ms: float


class ColdStartReport(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over the cold starts of one version that are kept."""

    function: str
    version: str
    kind: str
    """The newest one's: init, restore (from a SnapStart snapshot), or plain init (SnapStart asked for and off)."""
    note: str
    """Why there is no snapshot, if one was asked for."""
    count: int
    total_ms: float
    unpacked_ms: float
    """What unpacking the package took, once, when it was deployed: no cold start waits for it."""
    phases: dict[str, float]
    """Milliseconds, in order."""
    modules: list[ModuleTime]
    """In the order of imports; depth says who imported whom."""
    defer: Deferrable | None
    starts: list[ColdStart]


def report(kept: VersionStarts) -> ColdStartReport:
    """The medians of starts of the newest one's kind: a restore and an init have nothing to do with each other."""
    newest = kept.starts[-1]
    alike = [start for start in kept.starts if start.kind == newest.kind]
    names = {name: None for start in alike for name in start.phases}
    phases = {name: _median([start.phases.get(name, 0.0) for start in alike]) for name in names}
    modules = [] if newest.kind == RESTORE else _modules(alike)
    return ColdStartReport(
        function=kept.arn, version=kept.version, kind=newest.kind, note=newest.note, count=len(alike),
        total_ms=_median([start.total_ms for start in alike]), unpacked_ms=newest.unpacked_ms, phases=phases,
        modules=modules, defer=_deferrable(modules), starts=kept.starts,
    )  # fmt: skip


def _modules(starts: Sequence[ColdStart]) -> list[ModuleTime]:
    """Those of the newest start, in its order; a module that another start did not import took no time there."""
    times: list[dict[str, Module]] = [{module.name: module for module in start.modules} for start in starts]
    found = []
    for module in starts[-1].modules:
        seen = [time[module.name] for time in times if module.name in time]
        own, all_ = _median([one.own_us / 1000 for one in seen]), _median([one.us / 1000 for one in seen])
        found.append(ModuleTime(module.name, module.depth, own, all_))
    return found


def _deferrable(modules: Sequence[ModuleTime]) -> Deferrable | None:
    """The costliest of what the handler's module imports itself, or what that does little more than import."""
    if not modules:
        return None
    by, at = modules[0].name, 0
    found: ModuleTime | None = None
    while True:
        chosen = max(_imported(modules, at), key=lambda index: modules[index].ms, default=None)
        if chosen is None:
            break
        child = modules[chosen]
        if found is not None and (_package(child.name) == _package(found.name) or child.ms < PASSED_ON * found.ms):
            break
        by, found, at = modules[at].name, child, chosen
    if found is None or found.ms < WORTH_MS:
        return None
    return Deferrable(found.name, by, found.ms)


def _imported(modules: Sequence[ModuleTime], at: int) -> list[int]:
    """Which modules the one at `at` imported itself, but for the packages that it lies in."""
    found = []
    for index in range(at + 1, len(modules)):
        if modules[index].depth <= modules[at].depth:
            break
        if modules[index].depth == modules[at].depth + 1 and not modules[at].name.startswith(f"{modules[index].name}."):
            found.append(index)
    return found


def _package(module: str) -> str:
    """The name before the first dot, in Node that before the first slash, or the second if it begins with "@"."""
    if "/" in module:
        return "/".join(module.split("/")[: 2 if module.startswith("@") else 1])
    return module.partition(".")[0]


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)
