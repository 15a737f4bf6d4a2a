"""Extensions beside a function: their life, what they are told, and what telemetry they get."""

import asyncio
import json

import pytest
from test_runtime_api import LOOP, PROVIDED, PYTHON, bootstrap

EXTENSION = (
    PYTHON
    + """
import http.client, http.server, json, os, socketserver, sys, threading, time
name = os.path.basename(sys.argv[0])
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
identifier = ""
def call(method, path, body=None, **headers):
    headers = {k.replace("_", "-"): v for k, v in headers.items()}
    if identifier: headers["Lambda-Extension-Identifier"] = identifier
    api.request(method, path, body if body is None else json.dumps(body), headers)
    answer = api.getresponse()
    return answer.status, answer.read().decode(), answer.headers
def register(*events, **headers):
    global identifier
    headers["Lambda_Extension_Name"] = name
    status, body, told = call("POST", "/2020-01-01/extension/register", {"events": events}, **headers)
    identifier = told.get("Lambda-Extension-Identifier", "")
    return status, body
def event():
    return json.loads(call("GET", "/2020-01-01/extension/event/next")[1])
def say(*words):
    print(name, *words, flush=True)
"""
)
USUAL = """
register("INVOKE", "SHUTDOWN")
while True:
    told = event()
    say("got", told["eventType"], told.get("requestId") or told.get("shutdownReason"))
    if told["eventType"] == "SHUTDOWN": break
"""
INIT_ERROR = """register()
call('POST', '/2020-01-01/extension/init/error', {}, Lambda_Extension_Function_Error_Type='Extension.Own')
time.sleep(9)"""
MANAGED = {"app.py": "def handler(event, context):\n print('handled', event)\n return event"}
NODE = {"index.js": "exports.handler = async (event) => { console.log('handled', event); return event }"}
RUNTIMES = [
    ({"runtime": "python3.11"}, MANAGED),
    ({"runtime": "nodejs22.x", "handler": "index.handler"}, NODE),
    (PROVIDED, bootstrap("def handle(e, h):\n print('handled', e, flush=True); return e" + LOOP)),
]


def layer(bench, **sources: str) -> str:
    return bench.package({f"extensions/{name}": EXTENSION + source for name, source in sources.items()})


def lines(bench, *words: str) -> list[str]:
    return [line for line in bench.logs.text().splitlines() if any(word in line for word in words)]


async def rested(bench) -> None:
    """Wait until extensions have done their part of the last request."""
    for instance in list(bench.functions.supply.instances.values()):
        if instance.rest is not None:
            await instance.rest


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110 - a condition on lines of a log, which tells nobody
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("fields", "files"), RUNTIMES)
def test_an_extension_lives_beside_each_kind_of_runtime(make_bench, fields, files):
    bench = make_bench(parked=0)
    version = bench.version(files, layers=(layer(bench, watcher=USUAL),), timeout_s=20, **{"memory_mb": 1769, **fields})
    for number in (b"1", b"2"):
        assert bench.invoke(version, number, request_id=f"r-{number.decode()}").payload == number
        bench.wait(rested(bench))

    async def retire() -> None:
        await bench.functions.retire(version.arn)
        await until(lambda: not bench.functions.instances())

    bench.wait(retire())
    assert lines(bench, "watcher got") == [
        "watcher got INVOKE r-1", "watcher got INVOKE r-2", "watcher got SHUTDOWN spindown",
    ]  # fmt: skip


def test_what_an_extension_is_told(bench):
    source = """
import sys
say("registered", *register("INVOKE", Lambda_Extension_Accept_Feature="accountId"))
say("variables", [k for k in ("_HANDLER", "LAMBDA_TASK_ROOT", "AWS_EXECUTION_ENV", "MINE") if k in os.environ])
say("event", json.dumps(event()))
event()
"""
    version = bench.version(
        MANAGED, layers=(layer(bench, told=source),), memory_mb=1769, timeout_s=20, environment={"MINE": "1"}
    )
    bench.invoke(version, b"1", request_id="r-told", invoked_arn="arn:x")
    bench.wait(until(lambda: lines(bench, "told event")))
    registered, variables, event = (
        next(line for line in lines(bench, "told ") if word in line) for word in ("registered", "variables", "event")
    )
    assert json.loads(registered.partition("200 ")[2]) == {
        "functionName": "f", "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "000000000000",
    }  # fmt: skip
    assert variables == "told variables ['MINE']"
    told = json.loads(event.partition("event ")[2])
    assert told.pop("deadlineMs") > 1_700_000_000_000
    assert told == {
        "eventType": "INVOKE", "requestId": "r-told", "invokedFunctionArn": "arn:x",
        "tracing": {
            "type": "X-Amzn-Trace-Id",
            "value": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        },
    }  # fmt: skip


def test_the_answer_does_not_wait_for_extensions_but_the_next_request_does(bench):
    source = """
register("INVOKE")
first = event()
while not os.path.exists("/tmp/go"): time.sleep(0.01)
say("done with", first["requestId"])
event()
"""
    files = {
        "app.py": "import threading, os\ndef go(): open('/tmp/go', 'w').close()\n"
        "def handler(event, context):\n threading.Timer(0.3, go).start()\n return 'answered'"
    }
    version = bench.version(files, layers=(layer(bench, slow=source),), memory_mb=1769, timeout_s=20)
    assert bench.invoke(version, request_id="r-slow").payload == b'"answered"'
    assert not lines(bench, "slow done with")
    bench.wait(rested(bench))
    bench.wait(until(lambda: lines(bench, "slow done with")))


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("sys.exit(3)", "Extension.Crash", "failed"),
        (INIT_ERROR, "Extension.Own", "failed"),
        ("register(); event(); sys.exit(1)", "Extension.Crash", "failed"),
    ],
)  # fmt: skip
def test_an_extension_that_fails_fails_the_function(bench, source, kind, words):
    if "event()" in source:
        source = source.replace("register()", "register('INVOKE')")
    slow = {"app.py": "import time\ndef handler(event, context): time.sleep(9)"}
    version = bench.version(slow, layers=(layer(bench, failing=source),), memory_mb=1769, timeout_s=15)
    error = json.loads(bench.invoke(version).payload)
    assert error["errorType"] == kind
    assert words in error["errorMessage"]


def test_calls_out_of_turn_are_refused_in_awss_words(bench):
    source = """
say("1", *call("GET", "/2020-01-01/extension/event/next")[:2])
identifier = "no uuid"
say("2", *call("GET", "/2020-01-01/extension/event/next")[:2])
identifier = "00000000-0000-4000-8000-000000000000"
say("3", *call("GET", "/2020-01-01/extension/event/next")[:2])
identifier = ""
say("4", *call("POST", "/2020-01-01/extension/register", {"events": []})[:2])
say("5", *register("NAP"))
register("SHUTDOWN")
mine = identifier
say("6", *register("SHUTDOWN"))
identifier = mine
event()
"""
    bench.invoke(bench.version(MANAGED, layers=(layer(bench, odd=source),), memory_mb=1769, timeout_s=20))
    told = {line.split(" ")[1]: line.split(" ", 3)[2:] for line in lines(bench, "odd ")}
    kinds = {key: (status, json.loads(body)["errorType"]) for key, (status, body) in told.items()}
    assert kinds == {
        "1": ("403", "Extension.MissingExtensionIdentifier"), "2": ("403", "Extension.InvalidExtensionIdentifier"),
        "3": ("403", "Extension.UnknownExtensionIdentifier"), "4": ("403", "Extension.InvalidExtensionName"),
        "5": ("403", "Extension.InvalidEventType"), "6": ("403", "Extension.InvalidExtensionState"),
    }  # fmt: skip


LISTENER = """
seen = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for told in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            seen.append(told)
            if told["type"] in WANTED: say("telemetry", json.dumps(told))
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
"""


@pytest.mark.parametrize(
    ("path", "schema", "kinds"),
    [
        (
            "/2022-07-01/telemetry", "2022-12-13",
            ["platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.start",
             "platform.runtimeDone", "platform.report", "platform.telemetrySubscription", "platform.extension"],
        ),
        (
            "/2020-08-15/logs", "2021-03-18",
            ["platform.start", "platform.runtimeDone", "platform.report", "platform.logsSubscription",
             "platform.extension"],
        ),
    ],
)  # fmt: skip
def test_telemetry_of_the_platform_and_the_function(bench, path, schema, kinds):
    source = f"""
WANTED = {[*kinds, "function"]!r}
{LISTENER}
register("INVOKE")
say("subscribed", *call("PUT", "{path}", {{"schemaVersion": "{schema}", "types": ["platform", "function"],
    "buffering": {{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25}},
    "destination": {{"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{{server.server_address[1]}}/in"}}}})[:2])
while True:
    event()
"""
    name = f"lens-{schema}"
    version = bench.version(MANAGED, layers=(layer(bench, **{name: source}),), memory_mb=1769, timeout_s=20)
    bench.invoke(version, b'"telling"', request_id="r-lens")

    def seen() -> dict[str, dict]:
        events = [json.loads(line.partition("telemetry ")[2]) for line in lines(bench, f"{name} telemetry")]
        return {event["type"]: event for event in events}

    bench.wait(until(lambda: set(seen()) >= {*kinds, "function"}))
    events = seen()
    assert lines(bench, f"{name} subscribed") == [f'{name} subscribed 200 "OK"']
    assert events["function"]["record"] == "handled telling"
    assert events["platform.start"]["record"]["requestId"] == "r-lens"
    done, report = events["platform.runtimeDone"]["record"], events["platform.report"]["record"]
    assert (done["status"], report["status"], report["metrics"]["memorySizeMB"]) == ("success", "success", 1769)
    assert all(event["time"].endswith("Z") for event in events.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"types": ["nothing"]}, "types"),
        ({"destination": {"protocol": "HTTP", "URI": "http://example.com:80"}}, "destination.URI"),
        ({"destination": {"protocol": "TCP", "port": 80}}, "destination.protocol"),
        ({"buffering": {"maxItems": 1}}, "buffering.maxItems"),
        ({"schemaVersion": "1999-01-01"}, "schemaVersion"),
    ],
)
def test_a_subscription_that_can_not_be(bench, change, words):
    wanted = {
        "schemaVersion": "2022-12-13", "types": ["function"],
        "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}, **change,
    }  # fmt: skip
    source = (
        f'register("INVOKE")\nsay("answer", *call("PUT", "/2022-07-01/telemetry", {wanted!r})[:2])\nevent(); event()'
    )
    name = f"bad-{words.replace('.', '-')}"
    bench.invoke(bench.version(MANAGED, layers=(layer(bench, **{name: source}),), memory_mb=1769, timeout_s=20))
    (line,) = lines(bench, f"{name} answer")
    status, body = line.split(" ", 3)[2:]
    assert (status, json.loads(body)["errorType"]) == ("400", "ValidationError")
    assert words in json.loads(body)["errorMessage"]


def test_an_internal_extension_of_a_wrapped_function(bench):
    """A wrapper script changes the arguments of the runtime, and code inside the function may be an extension."""
    files = {
        "wrap": '#!/bin/sh\necho "wrapped $#"\nexport WRAPPED=yes\nexec "$@"\n',
        "app.py": "import http.client, json, os, threading\n"
        "api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
        "api.request('POST', '/2020-01-01/extension/register', json.dumps({'events': ['INVOKE']}), "
        "{'Lambda-Extension-Name': 'inner'})\n"
        "answer = api.getresponse(); answer.read()\n"
        "mine = {'Lambda-Extension-Identifier': answer.headers['Lambda-Extension-Identifier']}\n"
        "def listen():\n"
        " while True:\n"
        "  api.request('GET', '/2020-01-01/extension/event/next', headers=mine)\n"
        "  print('inner', json.loads(api.getresponse().read())['eventType'], flush=True)\n"
        "threading.Thread(target=listen, daemon=True).start()\n"
        "def handler(event, context): return os.environ['WRAPPED']",
    }
    version = bench.version(
        files, environment={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"}, memory_mb=1769, timeout_s=20
    )
    assert bench.invoke(version).payload == b'"yes"'
    bench.wait(until(lambda: lines(bench, "inner INVOKE")))
    assert lines(bench, "wrapped ") == ["wrapped 3"]
