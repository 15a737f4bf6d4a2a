"""What every table shares: one bench at a time, a Tule to measure, jobs for the client, and a verdict."""

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.signing import Signer
from tule.testing.server import Tule

ROOT = Path(__file__).parent.parent
LOCK = Path(tempfile.gettempdir()) / "tule-bench.lock"
RUNS = 5
BUSY_LOAD = 1.0
"""A load average above this before a bench begins makes its figures doubtful."""


@dataclass
class Row:
    """One line of a table. `asked` is a floor for rates and a ceiling for times ("at_most")."""

    name: str
    asked: float | None
    unit: str
    at_most: bool = False
    reached: float = 0.0
    low: float = 0.0
    high: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    server_cpu: float = 0.0
    server_us: float = 0.0
    """CPU time of Tule's processes for each unit, warm-up included: the figure that a busy machine spoils least."""
    client_cpu: float = 0.0
    ceiling: float | None = None
    errors: int = 0
    note: str = ""
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if self.errors:
            return f"{self.errors} errors"
        if not self.runs:
            return "nothing was answered"
        if self.asked is None:
            return "-"
        good = self.reached <= self.asked if self.at_most else self.reached >= self.asked
        return "reached" if good else f"short: {self.reached / self.asked:.0%} of asked"


@dataclass
class Job:
    """Work for the client: see `bench.client`."""

    module: str
    workload: str
    service: str
    connections: int
    arguments: dict[str, Any] = field(default_factory=dict)
    run_s: float | None = 2.0
    run_units: int | None = None
    warmup_s: float = 1.0
    warmup_units: int | None = None
    gap_s: float = 0.0
    runs: int = RUNS


class Bench:
    """The server under measurement, and what is known of it."""

    def __init__(self, options: argparse.Namespace, environment: dict[str, str] | None = None) -> None:
        self.options = options
        self.quick: bool = options.quick
        self.peer: str = options.peer or ""
        self.tule: Tule | None = None
        self._directory = ""
        if self.peer:
            self.url = self.peer.rstrip("/")
            self.keys = ("test", "test")
        else:
            self._directory = tempfile.mkdtemp(prefix="tule-bench-", dir=options.disk)
            self.tule = Tule(self._directory, verify_signatures=True, environment=environment or {})
            pair = self.tule.root_keys()
            self.url = self.tule.url.replace("localhost", "127.0.0.1")
            self.keys = (pair["aws_access_key_id"], pair["aws_secret_access_key"])

    def close(self) -> None:
        if self.tule is not None:
            self.tule.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Tule's own, all of them."""
        if self.tule is None:
            return []
        main = psutil.Process(self.tule.process.pid)
        return [main, *main.children(recursive=True)]

    def call(self, service: str, target: str, parameters: dict[str, Any], version: str = "1.0") -> dict[str, Any]:
        """One signed call of the JSON protocol, for preparing."""
        signer = Signer(self.url, service, *self.keys)
        return exchange(signer, target, signer.json(target, json.dumps(parameters).encode(), version))

    def run(self, job: Job, url: str = "") -> dict[str, Any]:
        """Have the client do a job."""
        access_key_id, secret = self.keys
        text = json.dumps({**asdict(job), "url": url or self.url, "access_key_id": access_key_id, "secret": secret})
        before = self._cpu_s()
        started = os.times().elapsed
        done = subprocess.run(
            [sys.executable, "-m", "bench.client"], input=text, capture_output=True, text=True, cwd=ROOT, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the client failed: {done.stderr[-2000:]}")
        result: dict[str, Any] = json.loads(done.stdout)
        used_s = self._cpu_s() - before
        result["server_cpu"] = used_s / (os.times().elapsed - started)
        result["server_us"] = used_s / max(1, result["all_units"]) * 1_000_000
        return result

    def rate(self, row: Row, job: Job, *, ceiling: bool = True) -> Row:
        """Fill a row with what a job did a second: the median of its runs."""
        return self._fill(row, self.run(job), job, ceiling, lambda run: run["units"] / run["seconds"])

    def latency(self, row: Row, job: Job) -> Row:
        """Fill a row with a job's median latency in milliseconds."""
        return self._fill(row, self.run(job), job, False, lambda run: run["p50_ms"])

    def _fill(
        self,
        row: Row,
        result: dict[str, Any],
        job: Job,
        ceiling: bool,  # noqa: FBT001 - private
        figure: Callable[[dict[str, Any]], float],
    ) -> Row:
        runs = [run for run in result["runs"] if run["requests"]]
        figures = [figure(run) for run in runs] or [0.0]
        row.reached, row.low, row.high = statistics.median(figures), min(figures), max(figures)
        row.p50_ms = statistics.median([run["p50_ms"] for run in runs] or [0.0])
        row.p99_ms = statistics.median([run["p99_ms"] for run in runs] or [0.0])
        row.client_cpu = statistics.median([run["client_cpu"] for run in runs] or [0.0])
        row.server_cpu, row.server_us = result["server_cpu"], result["server_us"]
        row.errors, row.runs = result["errors"], runs
        row.note = row.note or result["first_error"]
        if ceiling:
            row.ceiling = self.ceiling(job)
        return row

    def ceiling(self, job: Job) -> float:
        """What the same client reaches against a server that only answers."""
        responder = subprocess.Popen(
            [sys.executable, "-m", "bench.responder"], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            assert responder.stdout is not None
            port = int(responder.stdout.readline())
            short = Job(
                job.module, job.workload, job.service, job.connections, job.arguments, 0.5, runs=3, warmup_s=0.3
            )
            runs = self.run(short, f"http://127.0.0.1:{port}")["runs"]
        finally:
            responder.terminate()
            responder.wait(10)
        return float(statistics.median(run["requests"] / run["seconds"] for run in runs))

    def _cpu_s(self) -> float:
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def exchange(signer: Signer, target: str, raw: bytes) -> dict[str, Any]:
    """Send one signed call and read its JSON."""
    head, _, body = raw.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    connection = http.client.HTTPConnection(signer.host, timeout=60)
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"{target}: {answer.status} {data[:300]!r}")
    result: dict[str, Any] = json.loads(data or b"{}")
    return result


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One bench at a time on a machine: the second waits for nobody and says so."""
    with contextlib.suppress(OSError):
        LOCK.touch(0o666)  # whoever measures as another user finds it
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"Another bench is running ({LOCK} is locked); figures of two at once say nothing. Wait for it.")
        yield


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    made.add_argument("--peer", metavar="URL", help="run the same client work against another server")
    made.add_argument(
        "--quick", action="store_true", help="smaller amounts and shorter runs: a look, not a measurement"
    )
    made.add_argument("--nested", action="store_true", help=argparse.SUPPRESS)  # another bench waits for this one
    made.add_argument("--only", default="", help="only rows whose name contains this")
    made.add_argument("--disk", default=None, help="where to put the store (default: the temporary directory)")
    return made


def main(title: str, rows: Callable[[Bench, Callable[[str], bool]], Iterator[Row]]) -> None:
    """Measure a table and print it."""
    options = parser(title).parse_args()
    load = os.getloadavg()[0]
    found: list[Row] = []
    with contextlib.nullcontext() if options.nested else alone():
        bench = Bench(options)
        try:
            if not options.json:
                print(heading(title, bench, load), flush=True)
            for row in rows(bench, lambda name: options.only in name):
                found.append(row)
                if not options.json:
                    print(line(row), flush=True)
        finally:
            bench.close()
    if options.json:
        print(json.dumps({"title": title, "machine": machine(load), "rows": [report(row) for row in found]}, indent=2))
    sys.exit(any(row.verdict not in ("reached", "-") for row in found))


def machine(load: float) -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": platform.python_version(), "load_before": load, "busy": load > BUSY_LOAD}


def report(row: Row) -> dict[str, Any]:
    return {**asdict(row), "verdict": row.verdict}


def heading(title: str, bench: Bench, load: float) -> str:
    busy = "  THE MACHINE IS BUSY: figures are doubtful" if load > BUSY_LOAD else ""
    where = f"peer {bench.peer}" if bench.peer else "Tule: durable SQLite, signatures verified"
    return (
        f"{title} ({where})\n{os.cpu_count()} cores, load before {load:.2f}{busy}\n"
        f"{'':<46} {'asked':>9} {'reached':>9} {'spread':>17} {'p50 ms':>7} {'p99 ms':>7} "
        f"{'CPU srv/cli':>11} {'us/unit':>7} {'ceiling':>8}  verdict"
    )


def line(row: Row) -> str:
    asked = "-" if row.asked is None else f"{row.asked:,.6g}"
    ceiling = "" if row.ceiling is None else f"{row.ceiling:,.0f}"
    digits = 2 if row.reached < 100 else 0
    spread = f"{row.low:,.{digits}f}..{row.high:,.{digits}f}"
    note = f"  {row.note}" if row.note else ""
    return (
        f"{row.name:<46} {asked:>9} {row.reached:>9,.{digits}f} {spread:>17} {row.p50_ms:>7.2f} {row.p99_ms:>7.2f} "
        f"{row.server_cpu:>5.2f}/{row.client_cpu:<5.2f} {row.server_us:>7.1f} {ceiling:>8}  {row.verdict}{note}"
    )
