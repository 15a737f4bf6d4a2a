"""Table 5: cold starts of packages that take long. `python -m bench.snapstart`.

Each measured request meets a new instance: the one before was ended by a request that exits the process. Packages with
NumPy and pandas are installed with pip into a cache beside the bench's lock; where that fails, their rows are left out.
"""

import http.client
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.harness import Bench, Row, main
from bench.lambda_ import ROLE, client
from bench.signing import Signer

PYTHON = "python3.13"
"""AWS has SnapStart from 3.12 on; this one has to be on the machine, for the packages are made for it."""

CACHE = Path(tempfile.gettempdir()) / "tule-bench-packages"
PATIENT = {"Delay": 0.1, "MaxAttempts": 3000}
PAUSE_S = 0.5
"""Between a request that ends the instance and the one that is measured: what was used up is parked anew by then."""

SOURCES = {
    "trivial": "def work(): return 1\n",
    "boto3": """
import boto3
client = boto3.client("dynamodb")
def work(): return client.meta.region_name
""",
    "numpy + pandas + boto3": """
import boto3
import numpy
import pandas
client = boto3.client("dynamodb")
def work(): return float(pandas.DataFrame({"k": [1, 2, 1], "v": numpy.arange(3.0)}).groupby("k").sum()["v"].sum())
""",
}
BROUGHT = {"trivial": [], "boto3": ["boto3"], "numpy + pandas + boto3": ["boto3", "numpy", "pandas"]}
ASKED_MS: dict[str, float | None] = {"trivial": None, "boto3": 8, "numpy + pandas + boto3": 16}
ASKED_FASTER = 15

HANDLER = """
import os
served = 0

def handler(event, context):
    global served
    if "end" in event:
        os._exit(0)
    served += 1
    work()
    return served
"""


NODE_SDK = """
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
const client = new DynamoDBClient({});
let served = 0;
export const handler = async (event) => {
  if (event.end) process.exit(0);
  return (served += 1);
};
"""


def packed(what: str) -> bytes | None:
    """The zip of a handler and what it brings; None where that can't be had."""
    version = PYTHON.removeprefix("python")
    folder = CACHE / f"{version}-{'-'.join(BROUGHT[what]) or 'none'}"
    if BROUGHT[what] and not folder.exists():
        draft = folder.with_name(f".{folder.name}")
        options = ["--no-warn-conflicts", "--python-version", version, "--only-binary", ":all:", "--target", str(draft)]
        command = [sys.executable, "-m", "pip", "install", "-q", *options, *BROUGHT[what]]
        if subprocess.run(command, check=False).returncode:
            return None
        draft.rename(folder)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr("app.py", SOURCES[what] + HANDLER)
        for path in sorted(folder.rglob("*")) if BROUGHT[what] else ():
            if path.is_file() and "tests" not in path.parts and path.suffix != ".pyi":
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


class Caller:
    """Invokes one version over one connection."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._signer = Signer(bench.url, "lambda", *bench.keys)
        self._connection = http.client.HTTPConnection(bench.url.partition("://")[2], timeout=120)
        self._connection.connect()
        self._path = f"/2015-03-31/functions/{name}/invocations"

    def __call__(self, payload: bytes) -> tuple[float, Any]:
        """(milliseconds, answer)."""
        raw = self._signer.request("POST", self._path, body=payload)
        assert self._connection.sock is not None
        started = time.perf_counter()
        self._connection.sock.sendall(raw)
        answer = http.client.HTTPResponse(self._connection.sock)
        answer.begin()
        body = answer.read()
        took = (time.perf_counter() - started) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {body[:300]!r}")
        return took, json.loads(body)

    def cold(self) -> float:
        """Milliseconds of a request that a new instance answers."""
        self(b'{"end": 1}')
        time.sleep(PAUSE_S)
        took, served = self(b"{}")
        if served != 1:
            raise RuntimeError(f"this instance has answered {served} requests: that was no cold start")
        return took


def deploy(bench: Bench, name: str, package: bytes, *, snap_start: bool = False, runtime: str = PYTHON) -> str:
    """A published version; the name to invoke it by."""
    lambda_ = client(bench, "lambda")
    lambda_.create_function(
        FunctionName=name, Runtime=runtime, Role=ROLE, Handler="app.handler", Timeout=60, MemorySize=1769,
        Code={"ZipFile": package}, SnapStart={"ApplyOn": "PublishedVersions" if snap_start else "None"},
    )  # fmt: skip
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=PATIENT)
    version = lambda_.publish_version(FunctionName=name)["Version"]
    waiter = lambda_.get_waiter("published_version_active")
    waiter.wait(FunctionName=name, Qualifier=version, WaiterConfig=PATIENT)
    found = lambda_.get_function_configuration(FunctionName=name, Qualifier=version)
    if snap_start and found["SnapStart"]["OptimizationStatus"] != "On":
        raise RuntimeError(f"no snapshot of {name} was taken")
    return f"{name}:{version}"


def starts(bench: Bench, row: Row, name: str, rounds: int) -> Row:
    """The median of cold starts of one version."""
    call = Caller(bench, name)
    call(b"{}")
    took = [call.cold() for _ in range(rounds)]
    row.reached, row.low, row.high = statistics.median(took), min(took), max(took)
    row.p50_ms, row.p99_ms = row.reached, max(took)
    row.runs = [{"requests": len(took), "ms": took}]
    return row


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The rows, one after the other."""
    rounds = 10 if bench.quick else 40
    if wanted(name := "cold invoke, Node, SDK v3 client that is not bundled"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.mjs", NODE_SDK)
        version = deploy(bench, "node-sdk", buffer.getvalue(), runtime="nodejs22.x")
        yield starts(bench, Row(name, 45, "ms p50", at_most=True), version, rounds)
    for number, what in enumerate(SOURCES):
        names = [f"SnapStart restore, Python, {what}", f"plain init, Python, {what}"]
        if not any(map(wanted, names)):
            continue
        package = packed(what)
        if package is None:
            continue
        target = ASKED_MS[what]
        restore = Row(names[0], target, "ms p50", at_most=True)
        yield starts(bench, restore, deploy(bench, f"snap-{number}", package, snap_start=True), rounds)
        plain = Row(names[1], None, "ms p50", at_most=True)
        yield starts(bench, plain, deploy(bench, f"plain-{number}", package), max(5, rounds // 4))
        faster = Row(f"restore against plain init, {what}", ASKED_FASTER if target else None, "times faster")
        faster.reached = faster.low = faster.high = plain.reached / restore.reached
        faster.runs = [{"requests": 1}]
        yield faster


if __name__ == "__main__":
    main("Cold starts", rows)
