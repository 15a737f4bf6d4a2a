"""Table 7: many instances. `python -m bench.lambda_scaling`."""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterator

import psutil

from bench.harness import Bench, Job, Row, main
from bench.lambda_ import client, package
from bench.lambda_cold import BURNERS, burning, make
from bench.signing import Signer
from bench.workloads import same

CROWD = 200
SENDERS = 16

SLEEP = {
    "python3.13": (
        "app.py",
        "import time\n\ndef handler(event, context):\n    at = time.time()\n    time.sleep(event)\n    return at\n",
    ),
    "nodejs22.x": (
        "app.mjs",
        """
export const handler = async (event) => {
  const at = Date.now() / 1000;
  await new Promise((done) => setTimeout(done, event * 1000));
  return at;
};
""",
    ),
}


async def crowd(bench: Bench, name: str, count: int, seconds: float) -> tuple[float, list[float]]:
    """So many requests at once on open connections: when they were sent, and when each handler was entered."""
    signer = Signer(bench.url, "lambda", *bench.keys)
    host, _, port = bench.url.partition("://")[2].rstrip("/").partition(":")
    streams = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    raw = signer.request("POST", f"/2015-03-31/functions/{name}/invocations", body=json.dumps(seconds).encode())

    async def answer(reader: asyncio.StreamReader) -> float:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or b"x-amz-function-error" in head.lower():
            raise RuntimeError(head.decode(errors="replace")[:300])
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return float(await reader.readexactly(int(length.partition(b":")[2])))

    started = time.time()
    for _, writer in streams:
        writer.write(raw)
    entered = await asyncio.gather(*(answer(reader) for reader, _ in streams))
    for _, writer in streams:
        writer.close()
    return started, entered


def reach(row: Row, figures: list[float], figure: float | None = None) -> Row:
    row.reached = statistics.median(figures) if figure is None else figure
    row.low, row.high = min(figures), max(figures)
    row.runs = [{"requests": len(figures), "figures": figures}]
    return row


def from_nothing(bench: Bench, row: Row) -> Row:
    """Seconds until the last of a crowd was in the handler. Each run has a function of its own."""
    figures = []
    for number in range(1 if bench.quick else 5):
        name = f"crowd-{number}"
        make(bench, [name], "python3.13", package(*SLEEP["python3.13"]), 1769)
        time.sleep(1.0)
        started, entered = asyncio.run(crowd(bench, name, CROWD, 2.0))
        figures.append(max(entered) - started)
        client(bench, "lambda").delete_function(FunctionName=name)
        time.sleep(2.0)
    return reach(row, figures)


def memory_mb(bench: Bench) -> float:
    """What all processes that run functions have, pages that are shared counted by their share."""
    total = 0
    for process in bench.processes()[1:]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 2**20


def each(bench: Bench, row: Row, runtime: str) -> Row:
    """Megabytes that one more idle instance takes: of so many more, all idle."""
    few, many = (5, 15) if bench.quick else (10, 30)
    name = f"many-{runtime[:4]}"
    make(bench, [name], runtime, package(*SLEEP[runtime]), 1769)
    asyncio.run(crowd(bench, name, few, 1.0))
    time.sleep(2.0)
    before = memory_mb(bench)
    asyncio.run(crowd(bench, name, many, 1.0))
    time.sleep(2.0)
    return reach(row, [(memory_mb(bench) - before) / (many - few)])


def idle(bench: Bench, row: Row) -> Row:
    """Percent of a core that everything takes while 50 instances wait."""
    for runtime, source in SLEEP.items():
        name = f"idle-{runtime[:4]}"
        make(bench, [name], runtime, package(*source), 1769)
        asyncio.run(crowd(bench, name, 25, 1.0))
    time.sleep(5.0)
    figures = []
    for _ in range(1 if bench.quick else 3):
        before, started = _cpu_s(bench), time.monotonic()
        time.sleep(10.0)
        figures.append((_cpu_s(bench) - before) / (time.monotonic() - started) * 100)
    return reach(row, figures)


def _cpu_s(bench: Bench) -> float:
    total = 0.0
    for process in bench.processes():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def beside_burners(bench: Bench, row: Row) -> Row:
    """How much longer the slowest in a hundred of SendMessage takes while functions burn all cores."""
    sqs = client(bench, "sqs")
    url = sqs.create_queue(QueueName="beside-burners")["QueueUrl"]
    arguments = {"target": "AmazonSQS.SendMessage", "parameters": {"QueueUrl": url, "MessageBody": "x" * 1024}}
    most = bench.run(same("sqs", SENDERS, arguments, run_s=2.0, runs=1))["runs"][0]
    rate = most["units"] / most["seconds"] / 2
    gap_s = max(0.001, SENDERS / rate - most["p50_ms"] / 2000)
    run_s = 2.0 if bench.quick else 4.0
    runs = 1 if bench.quick else 3

    def p99s() -> list[float]:
        job: Job = same("sqs", SENDERS, arguments, run_s=run_s, gap_s=gap_s, runs=runs)
        return [run["p99_ms"] for run in bench.run(job)["runs"]]

    alone = statistics.median(p99s())
    with burning(bench, 8.0 + run_s * runs):
        together = p99s()
    row.note = f"{rate:,.0f}/s; p99 alone {alone:.2f} ms, beside them {statistics.median(together):.2f} ms"
    return reach(row, [figure / alone for figure in together])


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The rows, one after the other."""
    if wanted(name := f"0 to {CROWD} instances, all entered"):
        yield from_nothing(bench, Row(name, 1, "s", at_most=True))
    if bench.peer:
        return
    if wanted(name := "memory of one more idle instance, Python"):
        yield each(bench, Row(name, 3, "MB PSS", at_most=True), "python3.13")
    if wanted(name := "memory of one more idle instance, Node"):
        yield each(bench, Row(name, 14, "MB PSS", at_most=True), "nodejs22.x")
    if wanted(name := "50 warm instances, idle"):
        yield idle(bench, Row(name, 1, "% of a core", at_most=True))
    if wanted(name := f"SQS p99 beside {BURNERS} burning functions"):
        yield beside_burners(bench, Row(name, 2, "times", at_most=True))


if __name__ == "__main__":
    main("Lambda: many instances", rows)
