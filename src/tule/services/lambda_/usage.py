"""What invocations used, counted in memory and written every second: an Invoke has no batch of its own to count in."""

from tule.observe.metering import meter
from tule.services.declaration import Environment
from tule.services.lambda_ import state
from tule.services.lambda_.models import Function
from tule.store.transaction import Txn

FLUSH_S = 1.0
"""At most this much is missing from the bill after a crash (ours; the bill's documentation says so)."""

REQUESTS = "lambda.requests"


def duration_meter(function: Function) -> str:
    """The meter of duration times memory in MB-milliseconds, whole parts of the GB-second that AWS sells."""
    return "lambda.mb_ms_arm64" if function.architecture == "arm64" else "lambda.mb_ms"


class Usage:
    """Counts per function and meter until the next flush."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._counts: dict[tuple[str, str, str], dict[str, int]] = {}

    def add(self, function: Function, billed_ms: int) -> None:
        key = (function.account, function.region, function.name)
        counts = self._counts.get(key)
        if counts is None:
            if not self._counts:
                self._env.machine.call_later(FLUSH_S, self._flush_soon)
            counts = self._counts[key] = {}
        counts[REQUESTS] = counts.get(REQUESTS, 0) + 1
        name = duration_meter(function)
        counts[name] = counts.get(name, 0) + billed_ms * function.memory_mb

    def _flush_soon(self) -> None:
        self._env.tasks.spawn("lambda usage", self.flush())

    async def flush(self) -> None:
        flushed, self._counts = self._counts, {}
        for (account, region, name), counts in flushed.items():

            def count(txn: Txn, counts: dict[str, int] = counts) -> None:
                for meter_name, n in counts.items():
                    meter(txn, meter_name, n)

            context = self._env.background(account, region)
            await self._env.store.transact(state.function_shard(account, region, name), count, context)
