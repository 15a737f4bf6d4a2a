"""Table 0: starting. `python -m bench.start`."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from bench.harness import RUNS, Bench, Row, exchange, main
from bench.signing import Signer
from tule.testing.server import Tule

MIB = 1024 * 1024


def _start() -> tuple[float, float, float]:
    """Seconds from the command to the first answer of an API; memory of the control process and of all, in MiB."""
    directory = tempfile.mkdtemp(prefix="tule-bench-")
    began = time.perf_counter()
    running = Tule(Path(directory) / "home")
    try:
        signer = Signer(running.url, "sqs", "test", "test")
        exchange(signer, "ListQueues", signer.json("AmazonSQS.ListQueues", b"{}"))
        took = time.perf_counter() - began
        main_process = psutil.Process(running.process.pid)
        control = main_process.memory_info().rss / MIB
        every = control + sum(child.memory_info().rss for child in main_process.children(recursive=True)) / MIB
    finally:
        running.close()
        shutil.rmtree(directory, ignore_errors=True)
    return took, control, every


def _filled(row: Row, figures: list[float]) -> Row:
    row.reached, row.low, row.high = statistics.median(figures), min(figures), max(figures)
    row.runs = [{"figure": figure} for figure in figures]
    return row


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """Starts of fresh stores; the Tule that the harness started is left alone."""
    if bench.peer or not wanted("start"):
        return
    measured = [_start() for _ in range(RUNS)]
    yield _filled(Row("start: command to first API answer", 0.5, "s", at_most=True), [one[0] for one in measured])
    yield _filled(Row("start: memory of the control process", 80, "MiB", at_most=True), [one[1] for one in measured])
    yield _filled(Row("start: memory of all processes", None, "MiB"), [one[2] for one in measured])


if __name__ == "__main__":
    main("Start", rows)
