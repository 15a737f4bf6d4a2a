"""Table 3: Lambda. `python -m bench.lambda_`."""

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

seen = []

def handler(event, context):
    now = time.time()
    if "report" in event:
        return seen
    seen.extend((now - float(record["body"])) * 1000 for record in event["Records"])
"""


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
    session = boto3.session.Session(key, secret, region_name="us-east-1")
    return session.client(service, endpoint_url=bench.url)


def package(file: str, source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(file, source)
    return buffer.getvalue()


def deploy(bench: Bench, name: str, runtime: str, file: str, source: str) -> str:
    """A function that is active; its ARN."""
    lambda_ = client(bench, "lambda")
    lambda_.create_function(
        FunctionName=name, Runtime=runtime, Role=ROLE, Handler="app.handler", Timeout=10,
        Code={"ZipFile": package(file, source)},
    )  # fmt: skip
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
    arn: str = lambda_.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    return arn


def _timed(connection: http.client.HTTPConnection, raw: bytes) -> float:
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


def parked(bench: Bench, runtime: str) -> int | None:
    """Execution environments that wait for a function of a runtime; None of another server, which doesn't say."""
    if bench.tule is None:
        return None
    kind = runtime[:4]
    found: list[dict[str, Any]] = bench.tule.admin("functions/instances")["instances"]
    return len([one for one in found if one["state"] == "parked" and one["runtime"].startswith(kind)])


def cold(bench: Bench, row: Row, runtime: str, rounds: int) -> Row:
    """Each round changes the function, so that no instance that has imported its module may serve the request."""
    name = f"bench-cold-{runtime[:4]}"
    deploy(bench, name, runtime, *TRIVIAL[runtime])
    lambda_ = client(bench, "lambda")
    pool: set[int | None] = set()
    signer = Signer(bench.url, "lambda", *bench.keys)
    connection = http.client.HTTPConnection(bench.url.partition("://")[2], timeout=60)
    connection.connect()
    took = []
    for number in range(rounds):
        lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": {"ROUND": str(number)}})
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
        time.sleep(0.2)
        pool.add(parked(bench, runtime))
        took.append(
            _timed(connection, signer.request("POST", f"/2015-03-31/functions/{name}/invocations", body=PAYLOAD))
        )
    connection.close()
    sizes = sorted(size for size in pool if size is not None)
    row.note = f"parked before each: {' or '.join(map(str, sizes))}" if sizes else ""
    row.reached, row.low, row.high = statistics.median(took), min(took), max(took)
    row.p50_ms, row.p99_ms = row.reached, max(took)
    row.runs = [{"requests": len(took), "ms": took}]
    return row


def entered(bench: Bench, row: Row, messages: int) -> Row:
    """From before SendMessage is called to the first line of the handler, 50 ms apart, on one warm instance."""
    lambda_, sqs = client(bench, "lambda"), client(bench, "sqs")
    deploy(bench, "bench-entered", "python3.13", "app.py", ENTERED)
    lambda_.put_function_concurrency(FunctionName="bench-entered", ReservedConcurrentExecutions=1)
    url = sqs.create_queue(QueueName="bench-entered")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    lambda_.create_event_source_mapping(EventSourceArn=arn, FunctionName="bench-entered")
    times: list[float] = []
    warm = 20
    for _ in range(messages + warm):
        sqs.send_message(QueueUrl=url, MessageBody=repr(time.time()))
        time.sleep(0.05)
    while len(times) < messages + warm:
        answer = lambda_.invoke(FunctionName="bench-entered", Payload=b'{"report": 1}')
        times = json.loads(answer["Payload"].read())
        time.sleep(0.2)
    times = sorted(times[warm:])
    row.reached, row.low, row.high = statistics.median(times), times[0], times[-1]
    row.p50_ms, row.p99_ms = row.reached, times[int(len(times) * 0.99)]
    row.runs = [{"requests": len(times), "ms": times}]
    return row


def rows(bench: Bench, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The rows, one after the other."""
    run_s = 0.7 if bench.quick else 2.0
    rounds = 10 if bench.quick else 40
    for runtime, (file, source) in ECHO.items():
        language = _language(runtime)
        function = f"bench-{language.lower()}"
        deploy(bench, function, runtime, file, source)
        python = language == "Python"
        if wanted(name := f"warm invoke, {language}, 128 B, 1 conn, 50 ms apart"):
            job = Job("bench.lambda_", "Invoke", "lambda", 1, {"name": function}, run_s=run_s, gap_s=0.05, runs=3)
            yield bench.latency(Row(name, 1.0 if python else None, "ms p50", at_most=True), job)
        if wanted(name := f"warm invoke, {language}, 128 B, 1 connection"):
            job = Job("bench.lambda_", "Invoke", "lambda", 1, {"name": function}, run_s=run_s)
            yield bench.rate(Row(name, None, "invokes/s"), job)
        if wanted(name := f"warm invoke, {language}, 128 B, 16 connections"):
            job = Job("bench.lambda_", "Invoke", "lambda", 16, {"name": function}, run_s=run_s)
            yield bench.rate(Row(name, 3_000 if python else None, "invokes/s"), job)
        if wanted(name := f"cold invoke, {language}, trivial handler"):
            yield cold(bench, Row(name, 15, "ms p50", at_most=True), runtime, rounds)
    yield from _without_pool(bench, wanted, rounds)
    if wanted(name := "message sent to function entered"):
        yield entered(bench, Row(name, 8, "ms p50", at_most=True), 40 if bench.quick else 200)


def _without_pool(bench: Bench, wanted: Callable[[str], bool], rounds: int) -> Iterator[Row]:
    """Cold starts of a Tule that keeps nothing ready."""
    names = {runtime: f"cold invoke, {_language(runtime)}, empty pool" for runtime in TRIVIAL}
    if bench.peer or not any(map(wanted, names.values())):
        return
    bare = Bench(bench.options, {"TULE_PARKED": "0"})
    try:
        for runtime, name in names.items():
            if wanted(name):
                yield cold(bare, Row(name, None, "ms p50", at_most=True), runtime, rounds)
    finally:
        bare.close()


def _language(runtime: str) -> str:
    return "Python" if runtime.startswith("python") else "Node"


if __name__ == "__main__":
    main("Lambda", rows)
