"""One request on its way through an instance: init, handler, deadline, log, outcome."""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tule.kernel.clocks import MachineClock
from tule.kernel.ports import LogSink
from tule.kernel.randomness import RandomSource
from tule.runtime import outcomes, platform_events, snapshots
from tule.runtime.cold_starts import INIT, PLAIN, RESTORE, ColdStart, Module, Timeline
from tule.runtime.contract import (
    INIT_LIMIT_S,
    MAX_RESPONSE_BYTES,
    FunctionVersion,
    InvokeOutcome,
    Phase,
    ResponseSink,
    RestoreFailedError,
    RestoreTimeoutError,
)
from tule.runtime.execution_environment import CLAIM, INVOKE, Instance, InstanceGoneError, OrphanedError
from tule.runtime.response_stream import STREAMED_MAX_BYTES, Gathered, ResponseStream

Kill = Callable[[Instance], None]

_TYPELESS = frozenset({platform_events.SUCCESS, platform_events.TIMEOUT})
"""Fates that need no error's type to be understood."""


def new_stream(version: FunctionVersion, machine: MachineClock, random: RandomSource) -> str:
    """A log stream's name for a new instance, as AWS makes them."""
    from datetime import UTC, datetime

    day = datetime.fromtimestamp(machine.wall_ms() / 1000, UTC).strftime("%Y/%m/%d")
    return f"{day}/[{version.version}]{random.token_hex(16)}"


UNLIMITED_S: Final = 86_400
"""For functions that are debugged: a day."""


class Invocation:
    """State of one request. `outcome` is what became of it."""

    initialization = "on-demand"
    """What makes an instance that it starts: as AWS_LAMBDA_INITIALIZATION_TYPE says."""

    def __init__(
        self, machine: MachineClock, logs: LogSink, version: FunctionVersion, request_id: str, trace_header: str
    ) -> None:
        self._machine = machine
        self._logs = logs
        self._version = version
        self._request_id = request_id
        self._trace_header = trace_header
        self._phases: list[Phase] = []
        self._lines: list[str] = []
        self._unwritten: list[tuple[int, str]] = []
        self._stream = ""
        self._started_us = self._now_us()
        self.timeline = Timeline(machine)
        self.cold_start: ColdStart | None = None
        """Of an instance that this request made, once it is ready."""
        self.sources: list[str] = []
        """What a new instance imported of its package, if it was asked."""
        self._init_ms: float | None = None
        self._restore: outcomes.Restore | None = None
        self._duration_ms = 0.0
        self._memory_mb = 0
        self._payload = b""
        self._streamed: ResponseStream | None = None
        self._sink: ResponseSink | Gathered | None = None
        self._instance: Instance
        self._kill: Kill
        self._error_type = ""
        self._failed = False
        self._status = ""
        self._ended = False
        self._fate = platform_events.SUCCESS
        self._events: platform_events.PlatformEvents | None = None
        if version.log_format == "JSON":
            self._events = platform_events.PlatformEvents(version, request_id, trace_header, self.initialization)

    # -- the log

    def begin(self, instance: Instance) -> None:
        """From here on the instance's output belongs to this request."""
        self._stream = instance.log_stream
        instance.listen(self._heard)

    def add(self, lines: list[str]) -> None:
        """Lines for the log, written with the next ones."""
        now_ms = self._machine.wall_ms()
        self._lines += lines
        self._unwritten += [(now_ms, line) for line in lines]

    def notice(self, text: str) -> None:
        """A remark of Tule's own, among the function's lines."""
        self.add([text if self._events is None else self._events.notice(self._machine.wall_ms(), text)])

    def _add_events(self, *lines: str) -> None:
        self.add([line for line in lines if line])

    def _heard(self, lines: list[str]) -> None:
        if self._events is not None:
            level = self._version.application_level
            lines = [line for line in lines if platform_events.kept(line, level)]
        first = not self._unwritten
        self.add(lines)
        if first:
            self._machine.call_later(0.2, self._write)  # a long run is followed as it goes, a short one written once

    def _write(self) -> None:
        if self._unwritten and self._stream:
            version = self._version
            events, self._unwritten = self._unwritten, []
            self._logs.write(version.account, version.region, version.log_group, self._stream, events)

    # -- phases

    def admitted(self) -> None:
        """The request has leave to start an instance; what it waited for that was the queue's."""
        self.timeline.passed("queue")
        now_us = self._now_us()
        if now_us > self._started_us:
            self._phase("queue", self._started_us, now_us)
            self._started_us = now_us

    async def init(self, instance: Instance, claim: dict[str, Any], kill: Kill) -> bool:
        """Give the instance its function. False if that failed. Raises `OrphanedError`."""
        start_us = self._now_us()
        self.timeline.passed("process")
        self._phase("start", self._started_us, start_us)
        if self._events is not None:
            self._add_events(self._events.init_start(self._machine.wall_ms()))
        try:
            async with asyncio.timeout(self._init_limit_s()):
                head, _ = await instance.ask(CLAIM, claim)
        except TimeoutError:
            kill(instance)
            self._start_line()
            self._timed_out()
        except InstanceGoneError:
            await instance.exit_status()
            if instance.orphaned:
                raise OrphanedError from None
            self._start_line()
            await self._gone(instance)
        else:
            self._init_ms = float(head.get("ms") or 0.0)
            self._phase("init", start_us, self._now_us())
            if not head.get("error"):
                self._started(head)
                self._init_lines(self._init_ms)
                return True
            self._start_line()
            told = outcomes.with_request(head["error"], self._request_id)
            if "requestId" in told:
                told = {**told, "requestId": self._request_id}
            self._fail(told)
        self._init_lines((self._now_us() - start_us) / 1000)
        self._phase("init", start_us, self._now_us())
        return False

    def _init_limit_s(self) -> float | None:
        return None if self._version.debug_port else INIT_LIMIT_S + self._version.timeout_s

    def _started(self, head: dict[str, Any]) -> None:
        """Note where the time of a cold start went, in an instance's own words."""
        place_ms = float(head.get("place_ms") or 0.0)
        self.sources = head.get("sources") or []
        self.timeline.split("sandbox", [("init", max(0.0, (self._init_ms or 0.0) - place_ms))])
        self.timeline.modules = [Module(*told) for told in head.get("modules") or ()]
        self.cold_start = self.timeline.told(PLAIN if self.timeline.note else INIT)

    async def restore(self, instance: Instance, claim: dict[str, Any]) -> bool:
        """Have a fork of a snapshot become an instance. Raises `RestoreFailedError` and `RestoreTimeoutError`."""
        start_us = self._now_us()
        self.timeline.passed("process")
        status, fate = "", platform_events.SUCCESS
        hooks_ms = 0.0
        try:
            head = await snapshots.ask(instance, claim)
            hooks_ms = float(head.get("hooks_ms") or 0.0)
        except RestoreTimeoutError:
            status, fate = "Status: timeout", platform_events.TIMEOUT
            raise
        except RestoreFailedError:
            status, fate = f"Status: error\tError Type: {snapshots.AFTER_ERROR}", platform_events.ERROR
            raise
        finally:
            self.timeline.split("restore", [("hooks", hooks_ms)])
            self._restore = outcomes.Restore(self.timeline.total_ms, math.ceil(hooks_ms))
            self._phase("restore", start_us, self._now_us())
            self._restore_lines(self._restore, status, fate)
            if fate != platform_events.SUCCESS:
                self._write()
        self.cold_start = self.timeline.told(RESTORE)
        return True

    def _restore_lines(self, restore: outcomes.Restore, status: str, fate: str) -> None:
        if self._events is None:
            self.add(outcomes.restore_lines(restore, status))
        else:
            error_type = snapshots.AFTER_ERROR if fate == platform_events.ERROR else ""
            self._add_events(*self._events.restored(self._machine.wall_ms(), restore.ms, fate, error_type))

    def _init_lines(self, duration_ms: float) -> None:
        if self._events is not None:
            error_type = "" if self._fate == platform_events.SUCCESS else outcomes.told_type(self._error_type)
            self._add_events(*self._events.init_end(self._machine.wall_ms(), duration_ms, self._fate, error_type))

    async def run(
        self,
        instance: Instance,
        head: dict[str, Any],
        payload: bytes,
        kill: Kill,
        sink: ResponseSink | None = None,
    ) -> None:
        """One request, from its START to its END. What the function streams goes to `sink`, or becomes the payload."""
        self.begin(instance)
        self._instance, self._kill, self._sink = instance, kill, sink
        instance.on_chunk = self._stream_on
        self._start_line()
        instance.invocations += 1
        timeout_s = UNLIMITED_S if self._version.debug_port else self._version.timeout_s
        started_s, start_us = self._machine.monotonic_s(), self._now_us()
        head["deadline_ms"] = (started_s + timeout_s) * 1000
        deadline = self._machine.call_later(timeout_s, self._too_long)
        try:
            answer, body = await instance.ask(INVOKE, head, payload)
        except InstanceGoneError:
            self._duration_ms = (self._machine.monotonic_s() - started_s) * 1000
            if self._status == "Status: timeout":
                self._duration_ms = timeout_s * 1000.0
                self._timed_out()
            elif self._streamed is not None and self._streamed.too_large:
                self._fail(outcomes.too_large(STREAMED_MAX_BYTES))
            else:
                await self._gone(instance)
        else:
            self._duration_ms = (self._machine.monotonic_s() - started_s) * 1000
            self._memory_mb = int(answer.get("memory_kb") or 0) // 1024
            self._take(str(answer.get("error") or ""), body)
            if self._streamed is not None:
                await self._end_stream(self._streamed)
        finally:
            deadline.cancel()
            instance.on_chunk = None
            self._phase("handler", start_us, self._now_us())
            instance.listen(None)

    def _too_long(self) -> None:
        self._status = "Status: timeout"
        self._kill(self._instance)

    def _stream_on(self, kind: str, chunk: bytes) -> None:
        """Pass a chunk on; the first one begins the stream."""
        stream = self._streamed
        if stream is None:
            instance = self._instance
            if self._sink is None:
                self._sink = Gathered(MAX_RESPONSE_BYTES)
            stream = self._streamed = ResponseStream(self._sink, instance.pause, instance.resume)
        stream.feed(kind, chunk)
        if stream.too_large:
            self._kill(self._instance)

    async def _end_stream(self, stream: ResponseStream) -> None:
        """Wait for the caller to have all that was streamed; what was gathered is the payload."""
        await stream.finish()
        if isinstance(self._sink, Gathered) and not self._failed:
            gathered = self._sink.payload()
            if gathered is None:
                self._fail(outcomes.too_large())
            else:
                self._payload = gathered

    def _take(self, error: str, body: bytes) -> None:
        if len(body) > MAX_RESPONSE_BYTES:
            self._fail(outcomes.too_large())
        elif error:
            self._failed, self._error_type, self._payload = True, error, body
            self._fate = platform_events.ERROR
        else:
            self._payload = body

    async def _gone(self, instance: Instance) -> None:
        told = outcomes.exit_error(self._request_id, await instance.exit_status())
        self._status = f"Status: error\tError Type: {outcomes.EXIT_ERROR}"
        if self._events is None:
            self.add([told["errorMessage"]])
        self._memory_mb = self._version.memory_mb if "killed" in told["errorMessage"] else self._memory_mb
        self._fail(told)

    def _timed_out(self) -> None:
        told = outcomes.timed_out(self._request_id, self._version.timeout_s)
        if self._events is None:
            stamp = platform_events.iso(self._machine.wall_ms())
            self.add([f"{stamp} {self._request_id} Task timed out after {self._version.timeout_s:.2f} seconds"])
        self._status = "Status: timeout"
        self._fail(told)
        self._fate = platform_events.TIMEOUT

    def _fail(self, told: dict[str, Any]) -> None:
        self._failed, self._fate = True, platform_events.ERROR
        self._error_type = str(told.get("errorType", ""))
        self._payload = msgspec.json.encode(told)

    def _start_line(self) -> None:
        if self._events is None:
            self.add([outcomes.start_line(self._request_id, self._version)])
        else:
            self._add_events(self._events.start(self._machine.wall_ms()))

    def _now_us(self) -> int:
        return self._machine.wall_ms() * 1000

    def _phase(self, name: str, start_us: int, end_us: int) -> None:
        self._phases.append(Phase(name, start_us, end_us))

    # -- the end

    def outcome(self, *, cold: bool) -> InvokeOutcome:
        """Say what became of the request. The log's last lines are written right after, off the caller's way."""
        self._machine.call_later(0, self._end)
        return InvokeOutcome(
            payload=self._payload,
            error="Unhandled" if self._failed else None,
            error_type=self._error_type,
            tail=self._tail,
            duration_ms=self._duration_ms,
            billed_ms=outcomes.billed_ms(self._duration_ms, self._init_ms, self._restore),
            init_ms=self._init_ms,
            max_memory_mb=self._memory_mb,
            cold=cold,
            phases=self._phases,
            log_stream=self._stream,
        )

    def _tail(self) -> bytes:
        self._end()
        return outcomes.tail(self._lines)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._end_lines()
            self._write()

    def _end_lines(self) -> None:
        if self._events is not None:
            error_type = "" if self._fate in _TYPELESS else outcomes.told_type(self._error_type)
            metrics = outcomes.metrics(self._version, self._duration_ms, self._init_ms, self._memory_mb, self._restore)
            produced = len(self._payload)
            self._add_events(*self._events.end(self._machine.wall_ms(), self._fate, error_type, metrics, produced))
            return
        report = outcomes.report_line(
            self._request_id,
            self._version,
            duration_ms=self._duration_ms,
            init_ms=self._init_ms,
            memory_mb=self._memory_mb,
            trace_header=self._trace_header,
            status=self._status,
            restore=self._restore,
        )
        self.add([outcomes.end_line(self._request_id), report])
