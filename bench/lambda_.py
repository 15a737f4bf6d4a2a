"""Table 3: warm functions. `python -m bench.lambda_`."""

import http.client
import io
import json
import statistics
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from bench.harness import Bench, Job, Row, main
from bench.signing import Signer
from bench.workloads import VARIANTS

PAYLOAD = json.dumps({"text": "x" * 116}).encode()
"""128 bytes."""

ROLE = "arn:aws:iam::000000000000:role/bench"
ECHO = {
    "python3.13": ("app.py", "def handler(event, context):\n    return event\n"),
    "nodejs22.x": ("app.mjs", "export const handler = async (event) => event;\n"),
}
TRIVIAL = {
    "python3.13": ("app.py", "import time\nAT = time.time()\n\ndef handler(event, context):\n    return AT\n"),
    "nodejs22.x": ("app.mjs", "const at = Date.now() / 1000;\nexport const handler = async () => at;\n"),
}
"""Answer with the instant at which the module was imported, which proves that a start was cold."""

CLOCK_STEP_S = 0.002
"""How much earlier an import may seem than the request that caused it: Node's instants are whole milliseconds."""

ENTERED = """
import time

def handler(event, context):
    now = time.time()
    for record in event["Records"]:
        print("entered", (now - float(record["body"])) * 1000)
"""

KINDS = ("1 conn, 50 ms apart", "1 connection", "16 connections")
NODE_PART = 0.8
"""Node is to be within a fifth of Python."""


class Invoke:
    """Warm invocations of one function; a unit is one answer."""

    def __init__(self, signer: Signer, _lanes: int, *, name: str) -> None:
        self.units = 0
        path = f"/2015-03-31/functions/{name}/invocations"
        self._requests = [signer.request("POST", path, body=PAYLOAD) for _ in range(VARIANTS)]
        self._turn = 0

    def next(self, _lane: int, status: int, _body: bytes) -> bytes:
        if status == 200:
            self.units += 1
        self._turn = (self._turn + 1) % VARIANTS
        return self._requests[self._turn]


def client(bench: Bench, service: str) -> Any:
    """A boto3 client, for preparing."""
    import boto3

    key, secret = bench.keys
    session: Any = boto3.session.Session(key, secret, region_name="us-east-1")
    return session.client(service, endpoint_url=bench.url)


def package(file: str, source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(file, source)
    return buffer.getvalue()


def binary_package(file: str, data: bytes) -> bytes:
    """The same of a program."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(file)
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, data)
    return buffer.getvalue()


def deploy(bench: Bench, name: str, runtime: str, file: str, source: str, memory_mb: int = 1769) -> str:
    """A function that is active; its ARN."""
    lambda_ = client(bench, "lambda")
    lambda_.create_function(
        FunctionName=name, Runtime=runtime, Role=ROLE, Handler="app.handler", Timeout=10,
        MemorySize=memory_mb, Code={"ZipFile": package(file, source)},
    )  # fmt: skip
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
    arn: str = lambda_.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    return arn


def timed(connection: http.client.HTTPConnection, raw: bytes) -> float:
    """Milliseconds from a request to its answer on an open connection, if the start was cold: the function's module was
    first imported after the request was sent."""
    assert connection.sock is not None
    sent, started = time.time(), time.perf_counter()
    connection.sock.sendall(raw)
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    body = answer.read()
    took = (time.perf_counter() - started) * 1000
    if answer.status != 200 or answer.headers.get("x-amz-function-error"):
        raise RuntimeError(f"{answer.status} {body[:300]!r}")
    if json.loads(body) < sent - CLOCK_STEP_S:
        raise RuntimeError("the module was imported before the request came: this was no cold start")
    return took


def entered(bench: Bench, row: Row, messages: int) -> Row:
    """From before SendMessage is called to the first line of the handler, which prints it, 50 ms apart."""
    lambda_, sqs, logs = client(bench, "lambda"), client(bench, "sqs"), client(bench, "logs")
    deploy(bench, "bench-entered", "python3.13", "app.py", ENTERED)
    url = sqs.create_queue(QueueName="bench-entered")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    lambda_.create_event_source_mapping(EventSourceArn=arn, FunctionName="bench-entered")
    times: list[float] = []
    warm = 20
    for _ in range(messages + warm):
        sqs.send_message(QueueUrl=url, MessageBody=repr(time.time()))
        time.sleep(0.05)
    while len(times) < messages + warm:
        time.sleep(0.2)
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/lambda/bench-entered", filterPattern="entered"
        )
        times = [float(event["message"].split()[1]) for page in pages for event in page["events"]]
    times = sorted(times[warm:])
    row.reached, row.low, row.high = statistics.median(times), times[0], times[-1]
    row.p50_ms, row.p99_ms = row.reached, times[int(len(times) * 0.99)]
    row.runs = [{"requests": len(times), "ms": times}]
    return row


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The rows, one after the other."""
    run_s = 0.7 if bench.quick else 2.0
    python_rate = 0.0
    for runtime, (file, source) in ECHO.items():
        language = _language(runtime)
        python = language == "Python"

        def warm(function: str, connections: int, **more: Any) -> Job:
            return Job("bench.lambda_", "Invoke", "lambda", connections, {"name": function}, run_s=run_s, **more)

        for memory_mb in (1769, 128):
            function = f"bench-{language.lower()}-{memory_mb}"
            told = f"warm invoke, {language}" if memory_mb == 1769 else f"warm invoke, {language}, 128 MB"
            if not any(map(wanted, (f"{told}, {kind}" for kind in KINDS))):
                continue
            deploy(bench, function, runtime, file, source, memory_mb)
            asked = memory_mb == 1769
            if wanted(name := f"{told}, {KINDS[0]}"):
                row = Row(name, 0.6 if asked and python else None, "ms p50", at_most=True)
                yield bench.latency(row, warm(function, 1, gap_s=0.05, runs=3))
            if asked and wanted(name := f"{told}, {KINDS[1]}"):
                yield bench.rate(Row(name, None, "invokes/s"), warm(function, 1))
            if wanted(name := f"{told}, {KINDS[2]}"):
                least = (5_000 if python else NODE_PART * python_rate or None) if asked else None
                row = bench.rate(Row(name, least, "invokes/s"), warm(function, 16))
                if asked and python:
                    python_rate = row.reached
                yield row
    if wanted(name := "message sent to function entered"):
        yield entered(bench, Row(name, 8, "ms p50", at_most=True), 40 if bench.quick else 200)


def _language(runtime: str) -> str:
    return "Python" if runtime.startswith("python") else "Node"


if __name__ == "__main__":
    main("Lambda: warm functions", rows)
