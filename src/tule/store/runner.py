"""Runs handlers again over a remote backend, once what they asked for has been fetched.

A shard has one fetch at a time. What misses meanwhile waits behind it, in order, and is fetched together next. While
a fetch is under way the shard's overlay is pinned, so nothing fetched can stand before a newer write.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from tule.kernel.context import RequestContext
from tule.kernel.errors import ServiceUnavailableError
from tule.store.backend import Pair, Range, RemoteBackend
from tule.store.cache import MISSING, Cache
from tule.store.contract import Done
from tule.store.shard import Shard
from tule.store.space import COUNTER
from tule.store.view import Miss

if TYPE_CHECKING:
    from tule.store.engine import Engine

MAX_ROUNDS = 10_000
"""Runs of one handler before it is given up: each run but the last read at least one thing more (ours)."""

_log = structlog.get_logger("tule.store")


class Run:
    """A handler's run that waits for what it missed."""

    __slots__ = ("context", "done", "handler", "keys", "plain", "ranges", "request", "rounds", "shard")

    def __init__(
        self,
        shard: Shard,
        handler: Callable[[Any, Any], Any],
        request: Any,
        context: RequestContext,
        done: Done,
        *,
        plain: bool,
    ) -> None:
        self.shard = shard
        self.handler = handler
        self.request = request
        self.context = context
        self.done = done
        self.plain = plain
        """Whether it only reads."""
        self.rounds = 0
        self.keys: list[bytes] = []
        self.ranges: list[Range] = []


class RemoteReader:
    """Reads of one shard: from the cache, from what was fetched for the runs that wait, or a miss."""

    __slots__ = ("_cache", "_shard")

    def __init__(self, shard: Shard, cache: Cache) -> None:
        self._shard = shard
        self._cache = cache

    def get(self, key: bytes) -> bytes | None:
        fetched = self._shard.fetched
        if key in fetched:
            return fetched[key]
        value = self._cache.get(key)
        if value is MISSING:
            raise Miss((key,))
        found: bytes | None = value
        return found

    def range(self, start: bytes, end: bytes, limit: int, reverse: bool) -> list[Pair]:  # noqa: FBT001 - as `Reader`
        asked = Range(start, end, limit, reverse)
        rows = self._shard.fetched_ranges.get(asked)
        if rows is None:
            raise Miss((), (asked,))
        return list(rows)

    def refresh(self) -> None: ...


class Runner:
    """The fetches of all shards."""

    __slots__ = ("_backend", "_cache", "_current", "_engine", "_missed_again", "busy")

    def __init__(self, engine: "Engine", backend: RemoteBackend, cache: Cache) -> None:
        self._engine = engine
        self._backend = backend
        self._current: Run | None = None
        self._missed_again = False
        self._cache = cache
        self.busy = 0
        """Shards with a fetch under way."""

    def reader(self, shard: Shard) -> RemoteReader:
        return RemoteReader(shard, self._cache)

    def missed(self, run: Run, miss: Miss, hints: list[bytes] | None) -> None:
        """Fetch what `run` missed, with what it hinted at, and run it again."""
        shard = run.shard
        run.rounds += 1
        run.ranges = list(miss.ranges)
        run.keys = [*miss.keys, *(key for key in hints or () if key not in shard.fetched and key not in self._cache)]
        if run.rounds > MAX_ROUNDS:
            run.done(None, RuntimeError(f"A handler missed {MAX_ROUNDS} times in a row; it reads by chance."))
        elif run is self._current:
            self._missed_again = True
        else:
            shard.waiting.append(run)
            if not shard.fetching:
                shard.fetching = True
                shard.overlay.pin()
                self.busy += 1
                self._engine.tasks.spawn("store fetch", self._serve(shard))

    async def _serve(self, shard: Shard) -> None:
        try:
            while shard.waiting:
                runs, shard.waiting = shard.waiting, []
                if await self._fetch(shard, runs):
                    self._run_again(shard, runs)
        finally:
            shard.fetching = False
            self._let_go(shard)
            shard.overlay.unpin()
            for run in shard.waiting:
                run.done(None, ServiceUnavailableError("Tule is stopping."))
            shard.waiting = []
            self.busy -= 1
            self._engine.settled()

    async def _fetch(self, shard: Shard, runs: list[Run]) -> bool:
        keys = list(dict.fromkeys(key for run in runs for key in run.keys if key not in shard.fetched))
        ranges = list(dict.fromkeys(asked for run in runs for asked in run.ranges if asked not in shard.fetched_ranges))
        try:
            values, rows = await self._backend.fetch(keys, ranges)
        except Exception as error:  # noqa: BLE001 - whatever a connection may raise
            if isinstance(error, ServiceUnavailableError):
                refusal = error
                _log.error("fetch failed", shard=shard.key, error=str(error))
            else:
                refusal = ServiceUnavailableError(f"The store could not be read: {error}")
                _log.exception("fetch failed", shard=shard.key, keys=len(keys), ranges=len(ranges))
            for run in runs:
                run.done(None, refusal)
            return False
        shard.fetched.update(zip(keys, values, strict=True))
        shard.fetched_ranges.update(zip(ranges, rows, strict=True))
        counters = shard.prefix + COUNTER
        for key, value in zip(keys, values, strict=True):
            # Pinned since before the snapshot: what the overlay lacks was not written since. Counters are not in it.
            if key not in shard.overlay.entries and not key.startswith(counters):
                self._cache.put(key, value)
        return True

    def _run_again(self, shard: Shard, runs: list[Run]) -> None:
        again = []
        for run in runs:
            self._current, self._missed_again = run, False
            self._engine.run_again(run)
            if self._missed_again:
                again.append(run)
        self._current = None
        shard.waiting[:0] = again
        if not again:
            # Nobody builds on what was fetched so far: let the overlay go, then begin with a new snapshot.
            self._let_go(shard)
            shard.overlay.unpin()
            shard.overlay.pin()

    def _let_go(self, shard: Shard) -> None:
        shard.fetched.clear()
        shard.fetched_ranges.clear()
