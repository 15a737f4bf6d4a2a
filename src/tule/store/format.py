"""The version of what is stored: an older store is backed up and brought up to date, a newer one is left alone."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from tule.store.backend import Range, StoreUnusableError
from tule.store.keys import after
from tule.store.space import FORMAT_KEY, NUMBER

if TYPE_CHECKING:
    from tule.store.engine import Engine

FORMAT_VERSION = 1

Migration = Callable[["Engine"], Awaitable[None]]
"""Brings every row from one version to the next, by transactions; may have been interrupted before and run again."""

MIGRATIONS: Mapping[int, Migration] = {}
"""By the version they start from."""

_log = structlog.get_logger("tule.store")


class StoreFormatError(StoreUnusableError):
    """The store is of a version that this Tule can't read."""


async def check_format(
    engine: "Engine", version: int = FORMAT_VERSION, migrations: Mapping[int, Migration] = MIGRATIONS
) -> None:
    """Stamp a new store; refuse a newer one; back up an older one (if the backend can) and migrate it step by step."""
    found = await stored_version(engine)
    if found is None:
        await engine.stamp(FORMAT_KEY, NUMBER.pack(version))
        return
    if found > version:
        raise StoreFormatError(
            f"This store has format {found}, written by a newer Tule; this one reads up to {version}. "
            "Install that Tule again, or choose another --dir."
        )
    if found == version:
        return
    missing = [step for step in range(found, version) if step not in migrations]
    if missing:
        raise StoreFormatError(
            f"This store has format {found}, and this Tule can't bring it to {version}. Open it with the Tule that "
            "comes between once, or choose another --dir."
        )
    backup = getattr(engine.backend, "backup", None)
    place = backup(f"format-{found}") if backup is not None else "none: the database has its own"
    _log.info("migrating the store", found=found, wanted=version, backup=place)
    for step in range(found, version):
        await migrations[step](engine)
        await engine.stamp(FORMAT_KEY, NUMBER.pack(step + 1))


async def stored_version(engine: "Engine") -> int | None:
    """The stamp, or None of a store that has none because it is new."""
    rows = await engine.rows(Range(FORMAT_KEY, after(FORMAT_KEY), 1))
    return None if not rows else int(NUMBER.unpack(rows[0][1])[0])
