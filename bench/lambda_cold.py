"""Table 6: cold starts. `python -m bench.lambda_cold`.

Functions are made ahead, and each is called once, 50 ms apart: nothing is hot by accident, and what was used up of the
pool has that long to be made anew. Answers prove that a start was cold: they tell when the module was imported.
"""

import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.harness import ROOT, Bench, Row, main
from bench.lambda_ import PAYLOAD, ROLE, TRIVIAL, binary_package, client, package, timed
from bench.signing import Signer

GAP_S = 0.05
BURNERS = 8

BURN = """
import time

def handler(event, context):
    end = time.time() + event["s"]
    while time.time() < end:
        pass
"""
NODE_SDK = """
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
const client = new DynamoDBClient({});
const at = Date.now() / 1000;
export const handler = async () => at;
"""


def make(
    bench: Bench, names: list[str], runtime: str, code: bytes, memory_mb: int, handler: str = "app.handler"
) -> None:
    """Functions of one package, active."""
    lambda_ = client(bench, "lambda")
    for name in names:
        lambda_.create_function(
            FunctionName=name, Runtime=runtime, Role=ROLE, Handler=handler, Timeout=60, MemorySize=memory_mb,
            Code={"ZipFile": code},
        )  # fmt: skip
    for name in names:
        lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})


def call_once(bench: Bench, row: Row, names: list[str]) -> Row:
    """Each function once, so far apart."""
    signer = Signer(bench.url, "lambda", *bench.keys)
    connection = http.client.HTTPConnection(bench.url.partition("://")[2], timeout=60)
    connection.connect()
    took = []
    for name in names:
        raw = signer.request("POST", f"/2015-03-31/functions/{name}/invocations", body=PAYLOAD)
        time.sleep(GAP_S)
        took.append(timed(connection, raw))
    connection.close()
    took.sort()
    row.p50_ms, row.p99_ms = statistics.median(took), took[min(len(took) - 1, len(took) * 99 // 100)]
    row.reached = row.p99_ms if row.unit.endswith("p99") else row.p50_ms
    row.low, row.high = took[0], took[-1]
    row.runs = [{"requests": len(took), "ms": took}]
    return row


@contextlib.contextmanager
def burning(bench: Bench, seconds: float) -> Iterator[None]:
    """Functions that compute as fast as they may, for so long."""
    names = [f"burner-{number}" for number in range(BURNERS)]
    lambda_ = client(bench, "lambda")
    if not any(one["FunctionName"] == names[0] for one in lambda_.list_functions()["Functions"]):
        make(bench, names, "python3.13", package("app.py", BURN), 1769)
    for name in names:
        lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"s": seconds}))
    time.sleep(1.0)
    ends = time.monotonic() + seconds
    yield
    if time.monotonic() > ends:
        raise RuntimeError("the other functions stopped burning before the row was measured")
    time.sleep(max(0.0, ends - time.monotonic()) + 0.5)


def provided(folder: str) -> bytes | None:
    """The package of a static binary that is its own runtime, if it can be compiled here."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = Path(folder, "bootstrap")
    source = Path(__file__).with_name("provided.c")
    command = [compiler, "-O2", "-static", "-D_GNU_SOURCE", "-o", str(program), str(source)]
    if subprocess.run(command, check=False).returncode:
        return None
    return binary_package("bootstrap", program.read_bytes())


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The rows, one after the other."""
    rounds = 20 if bench.quick else 100
    turn = iter(range(100))

    def cold(row: Row, runtime: str, code: bytes, memory_mb: int = 1769, handler: str = "app.handler") -> Row:
        names = [f"cold-{number}-{one}" for number in [next(turn)] for one in range(rounds)]
        make(bench, names, runtime, code, memory_mb, handler)
        time.sleep(1.0)
        return call_once(bench, row, names)

    python, node = (package(*TRIVIAL[runtime]) for runtime in ("python3.13", "nodejs22.x"))
    if wanted(name := "cold invoke, Python, trivial handler"):
        first = cold(Row(name, 6, "ms p50", at_most=True), "python3.13", python)
        yield first
        last = Row("the same, p99", 15, "ms p99", at_most=True, low=first.low, high=first.high, runs=first.runs)
        last.reached, last.p50_ms, last.p99_ms = first.p99_ms, first.p50_ms, first.p99_ms
        yield last
    if wanted(name := "cold invoke, Python, 128 MB"):
        yield cold(Row(name, None, "ms p50", at_most=True), "python3.13", python, 128)
    if wanted(name := f"cold invoke, Python, {BURNERS} functions burning"):
        names = [f"beside-{number}" for number in range(rounds)]
        make(bench, names, "python3.13", python, 1769)
        with burning(bench, 10.0 + rounds * 0.3):
            yield call_once(bench, Row(name, 10, "ms p50", at_most=True), names)
    if wanted(name := "cold invoke, Node, trivial handler"):
        yield cold(Row(name, 10, "ms p50", at_most=True), "nodejs22.x", node)
    if wanted(name := "cold invoke, Node, 128 MB"):
        yield cold(Row(name, None, "ms p50", at_most=True), "nodejs22.x", node, 128)
    if wanted(name := "cold invoke, Node, SDK client not bundled"):
        yield cold(Row(name, 45, "ms p50", at_most=True), "nodejs22.x", package("app.mjs", NODE_SDK))
    if wanted(name := "cold invoke, provided.al2023, static binary"):
        with tempfile.TemporaryDirectory() as folder:
            code = provided(folder)
        row = Row(name, 15, "ms p50", at_most=True, note="" if code else "no C compiler with a static library here")
        yield cold(row, "provided.al2023", code, handler="bootstrap") if code else row
    if not bench.peer:
        yield from _without_pool(bench, wanted, python, node)
        yield from _as_ordinary_user(bench, wanted)


def _without_pool(bench: Bench, wanted: Callable[[str], bool], python: bytes, node: bytes) -> Iterator[Row]:
    """Cold starts of a Tule that keeps nothing ready."""
    codes = {"python3.13": ("Python", python), "nodejs22.x": ("Node", node)}
    names = {runtime: f"cold invoke, {language}, empty pool" for runtime, (language, _) in codes.items()}
    if not any(map(wanted, names.values())):
        return
    bare = Bench(bench.options, {"TULE_PARKED": "0"})
    try:
        for runtime, name in names.items():
            if wanted(name):
                functions = [f"bare-{runtime[:4]}-{number}" for number in range(10 if bench.quick else 40)]
                make(bare, functions, runtime, codes[runtime][1], 1769)
                yield call_once(bare, Row(name, None, "ms p50", at_most=True), functions)
    finally:
        bare.close()


def _as_ordinary_user(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The first rows again, of a Tule that an ordinary user runs: the rung without privileges."""
    measured = ("cold invoke, Python, trivial handler", "cold invoke, Node, trivial handler")
    names = {name: f"{name}, ordinary user" for name in measured}
    if not any(map(wanted, names.values())) or os.geteuid() != 0:
        return
    user = [sys.executable, "-m", "bench.ordinary_user", "bench.lambda_cold", "--json", "--nested", "--only"]
    for name, told in names.items():
        if wanted(told):
            command = [*user, name, *(["--quick"] if bench.quick else [])]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            try:
                found: dict[str, Any] = json.loads(done.stdout)["rows"][0]
            except (ValueError, LookupError):
                yield Row(told, None, "ms p50", at_most=True, note=done.stderr.strip()[-200:])
                continue
            found.pop("verdict")
            yield Row(**{**found, "name": told, "asked": None})


if __name__ == "__main__":
    main("Lambda: cold starts", rows)
