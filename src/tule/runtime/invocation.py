"""One request on its way through an instance: init, handler, deadline, log, outcome."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from tule.kernel.clocks import MachineClock
from tule.kernel.ports import LogSink
from tule.kernel.randomness import RandomSource
from tule.runtime import outcomes
from tule.runtime.contract import INIT_LIMIT_S, MAX_RESPONSE_BYTES, FunctionVersion, InvokeOutcome, Phase
from tule.runtime.execution_environment import CLAIM, INVOKE, Instance, InstanceGoneError

Kill = Callable[[Instance], None]


class Invocation:
    """State of one request. `outcome` is what became of it."""

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
        self._init_ms: float | None = None
        self._duration_ms = 0.0
        self._memory_mb = 0
        self._payload = b""
        self._error_type = ""
        self._failed = False
        self._status = ""

    # -- the log

    def new_stream(self, random: RandomSource) -> str:
        """A log stream's name for a new instance, as AWS makes them."""
        from datetime import UTC, datetime

        day = datetime.fromtimestamp(self._machine.wall_ms() / 1000, UTC).strftime("%Y/%m/%d")
        return f"{day}/[{self._version.version}]{random.token_hex(16)}"

    def begin(self, instance: Instance) -> None:
        """From here on the instance's output belongs to this request."""
        self._stream = instance.log_stream
        instance.listen(self._heard)

    def add(self, lines: list[str]) -> None:
        """Lines for the log, written with the next ones."""
        now_ms = self._machine.wall_ms()
        self._lines += lines
        self._unwritten += [(now_ms, line) for line in lines]

    def _heard(self, lines: list[str]) -> None:
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

    async def init(self, instance: Instance, claim: dict[str, Any], kill: Kill) -> bool:
        """Give the instance its function. False if that failed."""
        start_us = self._now_us()
        self._phase("start", self._started_us, start_us)
        limit_s = INIT_LIMIT_S + self._version.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                head, _ = await instance.ask(CLAIM, claim)
        except TimeoutError:
            kill(instance)
            self._start_line()
            self._timed_out()
        except InstanceGoneError:
            self._start_line()
            await self._gone(instance)
        else:
            self._init_ms = float(head.get("ms") or 0.0)
            self._phase("init", start_us, self._now_us())
            if not head.get("error"):
                return True
            self._start_line()
            told = {**head["error"], "requestId": self._request_id} if "requestId" in head["error"] else head["error"]
            self._fail(told)
        self._phase("init", start_us, self._now_us())
        return False

    async def run(self, instance: Instance, head: dict[str, Any], payload: bytes, kill: Kill) -> None:
        """One request, from its START to its END."""
        self.begin(instance)
        self._start_line()
        instance.invocations += 1
        timeout_s = self._version.timeout_s
        started_s, start_us = self._machine.monotonic_s(), self._now_us()
        head["deadline_ms"] = (started_s + timeout_s) * 1000
        deadline = self._machine.call_later(timeout_s, lambda: self._too_long(instance, kill))
        try:
            answer, body = await instance.ask(INVOKE, head, payload)
        except InstanceGoneError:
            self._duration_ms = (self._machine.monotonic_s() - started_s) * 1000
            if self._status == "Status: timeout":
                self._duration_ms = timeout_s * 1000.0
                self._timed_out()
            else:
                await self._gone(instance)
        else:
            self._duration_ms = (self._machine.monotonic_s() - started_s) * 1000
            self._memory_mb = int(answer.get("memory_kb") or 0) // 1024
            self._take(str(answer.get("error") or ""), body)
        finally:
            deadline.cancel()
            self._phase("handler", start_us, self._now_us())
            instance.listen(None)

    def _too_long(self, instance: Instance, kill: Kill) -> None:
        self._status = "Status: timeout"
        kill(instance)

    def _take(self, error: str, body: bytes) -> None:
        if len(body) > MAX_RESPONSE_BYTES:
            self._fail(outcomes.too_large())
        elif error:
            self._failed, self._error_type, self._payload = True, error, body
        else:
            self._payload = body

    async def _gone(self, instance: Instance) -> None:
        told = outcomes.exit_error(self._request_id, await instance.exit_status())
        self._status = f"Status: error\tError Type: {outcomes.EXIT_ERROR}"
        self.add([told["errorMessage"]])
        self._memory_mb = self._version.memory_mb if "killed" in told["errorMessage"] else self._memory_mb
        self._fail(told)

    def _timed_out(self) -> None:
        told = outcomes.timed_out(self._request_id, self._version.timeout_s)
        from datetime import UTC, datetime

        moment = datetime.fromtimestamp(self._machine.wall_ms() / 1000, UTC)
        stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.add([f"{stamp} {self._request_id} Task timed out after {self._version.timeout_s:.2f} seconds"])
        self._status = "Status: timeout"
        self._fail(told)

    def _fail(self, told: dict[str, Any]) -> None:
        self._failed = True
        self._error_type = str(told.get("errorType", ""))
        self._payload = msgspec.json.encode(told)

    def _start_line(self) -> None:
        self.add([outcomes.start_line(self._request_id, self._version)])

    def _now_us(self) -> int:
        return self._machine.wall_ms() * 1000

    def _phase(self, name: str, start_us: int, end_us: int) -> None:
        self._phases.append(Phase(name, start_us, end_us))

    # -- the end

    def outcome(self, *, cold: bool) -> InvokeOutcome:
        """Write the log's last lines and say what became of the request."""
        version = self._version
        self.add(
            [
                outcomes.end_line(self._request_id),
                outcomes.report_line(
                    self._request_id,
                    version,
                    duration_ms=self._duration_ms,
                    init_ms=self._init_ms,
                    memory_mb=self._memory_mb,
                    trace_header=self._trace_header,
                    status=self._status,
                ),
            ]
        )
        self._write()
        return InvokeOutcome(
            payload=self._payload,
            error="Unhandled" if self._failed else None,
            error_type=self._error_type,
            log_tail=outcomes.tail(self._lines),
            duration_ms=self._duration_ms,
            billed_ms=outcomes.billed_ms(self._duration_ms, self._init_ms),
            init_ms=self._init_ms,
            max_memory_mb=self._memory_mb,
            cold=cold,
            phases=self._phases,
            log_stream=self._stream,
        )
