"""Table 1: SQS. `python -m bench.sqs`."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from bench.harness import Bench, Job, Row, main
from bench.signing import Signer
from bench.workloads import same

BODY = "x" * 1024


class Cycle:
    """Receive ten, delete the ten, and so on; a unit is a message deleted."""

    def __init__(self, signer: Signer, lanes: int, *, queue: str) -> None:
        self.units = 0
        self._signer = signer
        self._queue = queue
        self._taken = [0] * lanes
        ask = {"QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0, "VisibilityTimeout": 600}
        self._receive = signer.json("AmazonSQS.ReceiveMessage", json.dumps(ask).encode())

    def next(self, lane: int, status: int, body: bytes) -> bytes:
        if self._taken[lane]:
            if status == 200:
                self.units += self._taken[lane]
            self._taken[lane] = 0
            return self._receive
        messages = json.loads(body).get("Messages", []) if status == 200 else []
        if not messages:
            return self._receive
        self._taken[lane] = len(messages)
        entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
        request = json.dumps({"QueueUrl": self._queue, "Entries": entries}).encode()
        return self._signer.json("AmazonSQS.DeleteMessageBatch", request)


def _cycle(queue: str, each: int) -> Job:
    return Job("bench.sqs", "Cycle", "sqs", 16, {"queue": queue}, run_s=None, run_units=each, warmup_units=each)


def _send(queue: str) -> dict[str, Any]:
    return {"target": "AmazonSQS.SendMessage", "parameters": {"QueueUrl": queue, "MessageBody": BODY}}


def _batch(queue: str) -> dict[str, Any]:
    entries = [{"Id": str(n), "MessageBody": BODY} for n in range(10)]
    parameters = {"QueueUrl": queue, "Entries": entries}
    return {"target": "AmazonSQS.SendMessageBatch", "parameters": parameters, "units": 10}


def _fill(bench: Bench, queue: str, messages: int) -> None:
    job = same("sqs", 16, _batch(queue), run_s=None, run_units=messages, runs=1, warmup_s=0)
    result = bench.run(job)
    if result["errors"]:
        raise RuntimeError(f"filling failed: {result['first_error']}")


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The rows, one after the other."""
    run_s = 0.7 if bench.quick else 2.0

    def create(name: str) -> str:
        made: str = bench.call("sqs", "AmazonSQS.CreateQueue", {"QueueName": name})["QueueUrl"]
        return made

    queue = create("bench-sends")
    if wanted(name := "SendMessage 1 KiB, 1 connection, 50 ms apart"):
        job = same("sqs", 1, _send(queue), gap_s=0.05, run_s=run_s, runs=3)
        yield bench.latency(Row(name, None, "ms p50"), job)
    for connections, asked in ((1, 1_800), (64, 12_000)):
        if wanted(name := f"SendMessage 1 KiB, {connections} connection(s)"):
            yield bench.rate(Row(name, asked, "messages/s"), same("sqs", connections, _send(queue), run_s=run_s))
    if wanted(name := "SendMessageBatch 10 x 1 KiB, 64 connections"):
        yield bench.rate(Row(name, 30_000, "messages/s"), same("sqs", 64, _batch(queue), run_s=run_s))
    if wanted(name := "ReceiveMessage, empty queue, 64 connections"):
        empty = {"QueueUrl": create("bench-empty"), "WaitTimeSeconds": 0}
        job = same("sqs", 64, {"target": "AmazonSQS.ReceiveMessage", "parameters": empty}, run_s=run_s)
        yield bench.rate(Row(name, None, "calls/s"), job)
    yield from _cycles(bench, wanted, create)


def _cycles(bench: Bench, wanted: Callable[[str], bool], create: Callable[[str], str]) -> Iterator[Row]:
    """Receive and delete with little and with much waiting, in one run of the bench, so that they compare."""
    many = 100_000 if bench.quick else 1_000_000
    each = 5_000 if bench.quick else 20_000
    few_name = "receive 10 + delete 10, 16 conns, 10,000 waiting"
    many_name = f"receive 10 + delete 10, 16 conns, {many:,} waiting"
    if not (wanted(few_name) or wanted(many_name)):
        return
    few = create("bench-few")
    # All that will be taken, so that at no time fewer than 10,000 wait.
    _fill(bench, few, 10_000 + each * 6)
    job = _cycle(few, each)
    little = bench.rate(Row(few_name, 14_000, "messages/s"), job, ceiling=False)
    yield little
    lot = create("bench-many")
    _fill(bench, lot, many)
    job = _cycle(lot, each)
    much = bench.rate(Row(many_name, round(little.reached / 1.3), "messages/s"), job, ceiling=False)
    much.note = much.note or "asked: 1/1.3 of the row above"
    yield much


if __name__ == "__main__":
    main("SQS", rows)
