"""Spans on their way to `traces.db`: a bounded queue, a writer thread, compressed chunks.

Nothing here may delay an answer. The loop appends to a list; a thread encodes, compresses and writes. What does not
fit is shed and counted, never waited for.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog

from tule.kernel.clocks import Handle, MachineClock
from tule.kernel.context import RequestContext
from tule.kernel.ports import Span
from tule.observe.metering import units
from tule.observe.tracefile import StoredSpan, TraceFile

FLUSH_AFTER_S: Final = 0.25
"""How long a span may wait in memory before it is written (ours: a trace shows up within half a second)."""

FLUSH_AT: Final = 2_000
"""Spans that start a flush at once."""

MAX_PENDING: Final = 50_000
"""Spans in memory, waiting or being written, beyond which new ones are shed (about 25 MB)."""

CHUNK_SPANS: Final = 500
"""Spans in one compressed row: about 25 KB before and 4 KB after compression."""

_log = structlog.get_logger("tule.spans")

Call = tuple[RequestContext, str, int, int, str, Any]
"""(context, operation, start, end in ns of the monotonic clock, status, what it was about): an API call, as the gateway
tells it, without making an object of it on the request's path."""


class SpanRecorder:
    """The `Spans` port."""

    def __init__(self, machine: MachineClock, file: TraceFile) -> None:
        self._machine = machine
        self._file = file
        self._pending: list[Span | Call] = []
        self._writing = 0
        self._alarm: Handle | None = None
        self._thread = ThreadPoolExecutor(1, "traces")
        self._lock = threading.Lock()
        self._closed = False
        self.shed = 0
        """Spans that found no room since the start."""
        self.recorded = 0

    def record(self, span: Span) -> None:
        """Keep `span` unless there is no room."""
        self.record_call(span)

    def record_call(self, span: Span | Call) -> None:
        """Keep the span of an API call."""
        pending = self._pending
        waiting = len(pending)
        if waiting + self._writing >= MAX_PENDING or self._closed:
            self.shed += 1
            return
        self.recorded += 1
        pending.append(span)
        if waiting == 0:
            self._alarm = self._machine.call_later(FLUSH_AFTER_S, self._flush_soon)
        elif waiting == FLUSH_AT:
            self._flush_soon()

    def _flush_soon(self) -> None:
        spans, self._pending = self._pending, []
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if spans and not self._closed:
            self._writing += len(spans)
            self._thread.submit(self._write, spans, self._epoch_offset_us())

    def _epoch_offset_us(self) -> int:
        return self._machine.wall_ms() * 1000 - self._machine.monotonic_ns() // 1000

    def _write(self, spans: list[Span | Call], offset_us: int) -> None:
        """Runs in the writer thread."""
        try:
            for start in range(0, len(spans), CHUNK_SPANS):
                self._file.append([_stored(span, offset_us) for span in spans[start : start + CHUNK_SPANS]])
        except Exception:  # noqa: BLE001 - traces are relaxed: losing them must not end what they describe
            self.shed += len(spans)
            _log.exception("spans could not be written", spans=len(spans))
        finally:
            with self._lock:
                self._writing -= len(spans)

    def settle(self) -> None:
        """Hand what is waiting to the writer now; queries do so first."""
        self._flush_soon()

    def trace(self, root: str) -> list[StoredSpan]:
        """All spans of one trace by start; blocks, so call it in a thread after `settle`."""
        return self._thread.submit(self._file.trace, root).result()

    def recent(self, limit: int) -> list[StoredSpan]:
        """The newest spans that began a trace, newest first; blocks like `trace`."""
        return self._thread.submit(self._file.recent_roots, limit).result()

    def clear(self) -> None:
        """Forget every span; blocks."""
        self._pending.clear()
        self._thread.submit(self._file.clear).result()

    def close(self) -> None:
        """Write what is waiting and close the file; blocks."""
        self._flush_soon()
        self._closed = True
        self._thread.submit(self._file.close).result()
        self._thread.shutdown()


def _stored(span: Span | Call, offset_us: int) -> StoredSpan:
    if isinstance(span, Span):
        trace = span.trace
        return StoredSpan(
            trace.root, trace.span, trace.parent, span.name, span.kind, span.start_us, span.end_us, span.account,
            span.region, span.resource, span.status, span.request_id, tuple(span.units), tuple(span.notes),
        )  # fmt: skip
    context, name, start_ns, end_ns, status, about = span
    trace = context.trace
    subject = about if isinstance(about, str) else ""
    if subject:
        name = f"{name} {_short(subject)}"
    return StoredSpan(
        trace.root, trace.span, trace.parent, name, "api", start_ns // 1000 + offset_us, end_ns // 1000 + offset_us,
        context.account, context.region, subject, status, context.request_id, units(context.usage), (),
    )  # fmt: skip


def _short(subject: str) -> str:
    """A queue's name of its URL, a function's of its ARN: what a person calls it. Paths of requests stay whole."""
    if subject.startswith("arn:"):
        return subject.rpartition(":")[2]
    if subject.startswith(("http://", "https://")):
        return subject.rpartition("/")[2]
    return subject
