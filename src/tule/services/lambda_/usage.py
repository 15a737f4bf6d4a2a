"""What invocations used, counted in memory and written every second: an Invoke has no batch of its own to count in."""

from tule.kernel.context import RequestContext
from tule.observe.metering import meter
from tule.services.declaration import Environment
from tule.services.lambda_ import state
from tule.services.lambda_.models import Function
from tule.store.transaction import Txn

FLUSH_S = 1.0
"""At most this much is missing from the bill after a crash (ours; the bill's documentation says so)."""

REQUESTS = "lambda.requests"
MEGABYTE_MS = "lambda.mb_ms"
"""Whole units of duration times memory; the price book divides by 1,024,000 for GB-seconds."""


class Usage:
    """Counts per function until the next flush."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._counts: dict[tuple[str, str, str], list[int]] = {}

    def add(self, function: Function, billed_ms: int) -> None:
        counts = self._counts.get((function.account, function.region, function.name))
        if counts is None:
            if not self._counts:
                self._env.machine.call_later(FLUSH_S, self._flush_soon)
            counts = self._counts[(function.account, function.region, function.name)] = [0, 0]
        counts[0] += 1
        counts[1] += billed_ms * function.memory_mb

    def _flush_soon(self) -> None:
        self._env.tasks.spawn("lambda usage", self.flush())

    async def flush(self) -> None:
        counts, self._counts = self._counts, {}
        for (account, region, name), (requests, megabyte_ms) in counts.items():

            def count(txn: Txn, requests: int = requests, megabyte_ms: int = megabyte_ms) -> None:
                meter(txn, REQUESTS, requests)
                meter(txn, MEGABYTE_MS, megabyte_ms)

            context: RequestContext = self._env.background(account, region)
            await self._env.store.transact(state.function_shard(account, region, name), count, context)
