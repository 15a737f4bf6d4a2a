"""What waits for the writer is bounded: first the sockets pause, then callers are throttled."""

from collections import deque
from collections.abc import Callable

from tule.kernel.clocks import MachineClock
from tule.kernel.errors import AwsError
from tule.kernel.limits import MAX_WAITING_BYTES, MAX_WAITING_S
from tule.store.batch import Batch

THROTTLE_FACTOR = 2
"""Callers are refused at this many times the bounds at which sockets pause (ours)."""
ROW_BYTES = 64
"""What a written row is reckoned to take beside its value (ours)."""


class StoreBusyError(AwsError):
    """The disk doesn't keep up with what is sent; SDKs wait and try again."""

    code = "ThrottlingException"
    status = 400

    def __init__(self) -> None:
        super().__init__("Rate exceeded: the store has not yet written what was sent before.")


class Pressure:
    """Counts what is closed and not durable."""

    __slots__ = ("_batches", "_bytes", "_machine", "_on_change", "paused", "refused", "throttling")

    def __init__(self, machine: MachineClock, on_change: Callable[[bool], None]) -> None:
        self._machine = machine
        self._on_change = on_change
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self.paused = False
        """Sockets should not be read."""
        self.throttling = False
        self.refused = 0
        """Requests that were throttled."""

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def closed(self, batch: Batch) -> None:
        batch.bytes += ROW_BYTES * len(batch.writes)
        batch.closed_s = self._machine.monotonic_s()
        self._bytes += batch.bytes
        self._batches.append(batch)
        self._judge()

    def done(self, batch: Batch) -> None:
        self._batches.popleft()
        self._bytes -= batch.bytes
        if self.paused:
            self._judge()

    def clear(self) -> None:
        self._batches.clear()
        self._bytes = 0
        self._judge()

    def refusal(self) -> StoreBusyError | None:
        """The error for a request that came while throttling, if that still holds."""
        self._judge()
        if not self.throttling:
            return None
        self.refused += 1
        return StoreBusyError()

    def _judge(self) -> None:
        age_s = self._machine.monotonic_s() - self._batches[0].closed_s if self._batches else 0.0
        share = max(self._bytes / MAX_WAITING_BYTES, age_s / MAX_WAITING_S)
        self.throttling = share >= THROTTLE_FACTOR
        paused = share >= (0.5 if self.paused else 1.0)
        if paused != self.paused:
            self.paused = paused
            self._on_change(paused)
