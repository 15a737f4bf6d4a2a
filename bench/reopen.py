"""Table 5: opening a large store again after a crash. `python -m bench.reopen`."""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.harness import RUNS, Bench, Row, exchange, main
from bench.signing import Signer
from bench.workloads import same

BODY = "x" * 1024
MANY, QUICK = 1_000_000, 100_000
FRESH = 5_000
"""Messages sent just before each kill, so that the log has something to recover."""
FILLERS = 16
QUEUE = "bench-reopened"


def _fill(bench: Bench, messages: int) -> None:
    """Send so many messages through the API."""
    entries = [{"Id": str(number), "MessageBody": BODY} for number in range(10)]
    parameters = {"QueueUrl": _url(bench), "Entries": entries}
    batch: dict[str, Any] = {"target": "AmazonSQS.SendMessageBatch", "parameters": parameters, "units": 10}
    result = bench.run(same("sqs", FILLERS, batch, run_s=None, run_units=messages, runs=1, warmup_s=0))
    if result["errors"]:
        raise RuntimeError(f"filling failed: {result['first_error']}")


def _url(bench: Bench) -> str:
    return f"{bench.url}/000000000000/{QUEUE}"


def _reopen(bench: Bench) -> float:
    """Kill Tule; seconds from the command that starts it again to the first message it gives."""
    assert bench.tule is not None, "a peer is not killed"
    _fill(bench, FRESH)
    bench.tule.kill()
    began = time.perf_counter()
    bench.tule.start()
    bench.url = bench.tule.url.replace("localhost", "127.0.0.1")
    signer = Signer(bench.url, "sqs", *bench.keys)
    body = json.dumps({"QueueUrl": _url(bench), "WaitTimeSeconds": 0}).encode()
    answer = exchange(signer, "ReceiveMessage", signer.json("AmazonSQS.ReceiveMessage", body))
    took = time.perf_counter() - began
    if not answer.get("Messages"):
        raise RuntimeError(f"nothing was received after the start: {answer}")
    return took


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """With nothing else to compare it to, the start of an almost empty store stands beside it."""
    many = QUICK if bench.quick else MANY
    name = f"kill -9, start to first message, {many:,} more"
    if bench.peer or not wanted(name):
        return
    bench.call("sqs", "AmazonSQS.CreateQueue", {"QueueName": QUEUE})
    _reopen(bench)  # warms what the first start has to fetch from the disk
    yield _measured(bench, Row("kill -9, start to first message, few waiting", None, "s", at_most=True))
    _fill(bench, many)
    yield _measured(bench, Row(name, 1.0, "s", at_most=True))


def _measured(bench: Bench, row: Row) -> Row:
    figures = [_reopen(bench) for _ in range(RUNS)]
    row.reached, row.low, row.high = statistics.median(figures), min(figures), max(figures)
    row.runs = [{"figure": figure} for figure in figures]
    return row


if __name__ == "__main__":
    main("Reopening", rows)
