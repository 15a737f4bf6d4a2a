"""The load generator: connections that keep sending what a workload gives them, in a process of its own.

`python -m bench.client` reads a job (JSON) from its input and writes what it measured to its output.
"""

import asyncio
import importlib
import json
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

import uvloop

from bench.signing import Signer

_HANGS_UP = re.compile(rb"^HTTP/1\.0 |\r\nconnection: *close", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Workload(Protocol):
    """What is sent. A lane is one connection; it has one request under way."""

    units: int
    """What was done so far, in the unit of the row: messages, calls."""

    def __init__(self, signer: Signer, lanes: int, **arguments: Any) -> None: ...

    def next(self, lane: int, status: int, body: bytes) -> bytes | None:
        """The lane's next request, after the answer to its last one (status 0: there was none). None ends the lane."""


class Lane(asyncio.Protocol):
    """One connection."""

    def __init__(self, number: int, load: "Load") -> None:
        self._number = number
        self._load = load
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport
        self._answer = (0, b"")
        self._again = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclasses of it
        self._again = False
        self._send(*self._answer)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._buffer = data
            return
        match = _LENGTH.search(data, 0, head_end + 2)
        length = int(match[1]) if match else 0
        if len(data) - head_end - 4 < length:
            self._buffer = data
            return
        self._buffer = b""
        status = int(data[9:12])
        load = self._load
        load.answered(time.perf_counter() - self._sent_at, status, data, head_end)
        self._answer = (status, data[head_end + 4 :])
        if _HANGS_UP.search(data, 0, head_end + 2):
            self._again = True  # a peer that keeps no connection is asked over a new one
            self._transport.close()
        elif load.gap_s:
            asyncio.get_running_loop().call_later(load.gap_s, self._send, *self._answer)
        else:
            self._send(*self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._again and not self._load.ended:
            self._load.reopen(self)
        else:
            self._load.closed(exc)

    def _send(self, status: int, body: bytes) -> None:
        load = self._load
        request = None if load.ended else load.workload.next(self._number, status, body)
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


class Load:
    """One job: warm-up, then some timed runs without a pause between them."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.gap_s: float = job.get("gap_s", 0.0)
        self.ended = False
        self._lanes: int = job["connections"]
        self._open = self._lanes
        self._latencies: list[float] = []
        self.errors = 0
        self.first_error = ""
        self._done: asyncio.Future[None]
        self._opening: set[asyncio.Task[None]] = set()
        signer = Signer(job["url"], job["service"], job["access_key_id"], job["secret"])
        made = getattr(importlib.import_module(job["module"]), job["workload"])
        self.workload: Workload = made(signer, self._lanes, **job.get("arguments", {}))

    def answered(self, seconds: float, status: int, data: bytes, head_end: int) -> None:
        self._latencies.append(seconds)
        if status >= 300:
            self.errors += 1
            if not self.first_error:
                self.first_error = f"{status} {data[head_end + 4 :][:300].decode(errors='replace')}"

    def closed(self, error: Exception | None) -> None:
        self._open -= 1
        if not self.ended and error is not None:
            self.errors += 1
            self.first_error = self.first_error or repr(error)
        if self._open == 0 and not self._done.done():
            self._done.set_result(None)

    def reopen(self, lane: Lane) -> None:
        """Connect a lane anew, after the gap if there is one."""
        loop = asyncio.get_running_loop()
        loop.call_later(self.gap_s, lambda: self._opening.add(loop.create_task(self._connect(lambda: lane))))

    async def _connect(self, lane: Callable[[], Lane]) -> None:
        host, _, port = self.job["url"].partition("://")[2].rstrip("/").partition(":")
        try:
            await asyncio.get_running_loop().create_connection(lane, host, int(port or 80))
        except OSError as error:
            self.closed(error)

    async def run(self) -> dict[str, Any]:
        self._done = asyncio.get_running_loop().create_future()
        for number in range(self._lanes):
            await self._connect(partial(Lane, number, self))
        await self._until(self.job.get("warmup_s", 0.0), self.job.get("warmup_units"))
        runs = [await self._timed() for _ in range(self.job.get("runs", 5)) if not self._done.done()]
        self.ended = True
        await asyncio.wait({self._done}, timeout=10)
        return {
            "runs": runs,
            "errors": self.errors,
            "first_error": self.first_error,
            "all_units": self.workload.units,
        }

    async def _timed(self) -> dict[str, Any]:
        self._latencies = []
        units, cpu, start = self.workload.units, time.process_time(), time.perf_counter()
        await self._until(self.job.get("run_s"), self.job.get("run_units"))
        elapsed = time.perf_counter() - start
        latencies = sorted(self._latencies) or [0.0]
        return {
            "seconds": elapsed,
            "requests": len(self._latencies),
            "units": self.workload.units - units,
            "p50_ms": latencies[len(latencies) // 2] * 1000,
            "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
            "max_ms": latencies[-1] * 1000,
            "client_cpu": (time.process_time() - cpu) / elapsed,
        }

    async def _until(self, seconds: float | None, units: int | None) -> None:
        """For so long, or until so much more was done, or the workload ended by itself."""
        if units is None:
            await asyncio.wait({self._done}, timeout=seconds)
            return
        goal = self.workload.units + units
        while self.workload.units < goal and not self._done.done():
            await asyncio.wait({self._done}, timeout=0.002)


def main() -> None:
    job = json.load(sys.stdin)
    load = Load(job)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(load.run()), sys.stdout)


if __name__ == "__main__":
    main()
