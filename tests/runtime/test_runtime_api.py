"""Functions that bring their own runtime: provided.*, against the Runtime API as AWS has it."""

import asyncio
import json
import os
import sys

import pytest

PROVIDED = {"runtime": "provided.al2023", "handler": "h", "memory_mb": 1769}

PYTHON = f"#!{os.path.realpath(sys.executable)} -IS"
CLIENT = """
import http.client, json, os, sys, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None, **headers):
    api.request(method, "/2018-06-01/runtime" + path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = api.getresponse()
    return answer.status, answer.read().decode(), answer.headers
def following():
    _, event, headers = call("GET", "/invocation/next")
    return headers["Lambda-Runtime-Aws-Request-Id"], event, headers
def respond(name, value):
    return call("POST", f"/invocation/{name}/response", json.dumps(value))[:2]
"""
LOOP = """
while True:
    name, event, headers = following()
    respond(name, handle(json.loads(event), headers))
"""


def bootstrap(source: str) -> dict[str, str]:
    return {"bootstrap": PYTHON + CLIENT + source}


def test_a_bootstrap_serves_one_request_after_the_other(bench):
    version = bench.version(bootstrap("n = 0\ndef handle(e, h):\n global n; n += 1; return [e, n]" + LOOP), **PROVIDED)
    first, second = bench.invoke(version, b'{"a": 1}'), bench.invoke(version, b"2")
    assert (json.loads(first.payload), json.loads(second.payload)) == ([{"a": 1}, 1], [2, 2])
    assert (first.cold, second.cold, first.error) == (True, False, None)
    assert first.init_ms > 0
    assert first.max_memory_mb > 0


def test_what_a_runtime_is_told_of_a_request(bench):
    source = "def handle(e, h): return {**dict(h), 'now': time.time() * 1000}" + LOOP
    outcome = bench.invoke(
        bench.version(bootstrap(source), timeout_s=30, **PROVIDED),
        request_id="8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        client_context="eyJjdXN0b20iOiB7ImEiOiAiYiJ9fQ==",
        invoked_arn="arn:aws:lambda:us-east-1:000000000000:function:f:live",
    )
    told = json.loads(outcome.payload)
    assert told["Lambda-Runtime-Aws-Request-Id"] == "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
    assert told["Lambda-Runtime-Invoked-Function-Arn"].endswith(":f:live")
    assert told["Lambda-Runtime-Trace-Id"].startswith("Root=1-5759e988-")
    assert json.loads(told["Lambda-Runtime-Client-Context"]) == {"custom": {"a": "b"}}
    assert told["Content-Type"] == "application/json"
    assert 0 < int(told["Lambda-Runtime-Deadline-Ms"]) - told["now"] <= 30_000


def test_what_a_runtime_finds_around_it(bench, monkeypatch):
    monkeypatch.setenv("TULE_HOST_SECRET", "leaked")
    source = """
def handle(e, h):
    get = os.environ.get
    return [os.getcwd() == get('LAMBDA_TASK_ROOT'), get('_HANDLER'), get('MINE'), get('TULE_HOST_SECRET'),
            get('AWS_EXECUTION_ENV'), sorted(os.listdir('/proc/self/fd'))[:3]]
"""
    version = bench.version(bootstrap(source + LOOP), environment={"MINE": "yes"}, **PROVIDED)
    assert json.loads(bench.invoke(version).payload) == [
        True, "h", "yes", None, "AWS_Lambda_provided.al2023", ["0", "1", "2"],
    ]  # fmt: skip


def test_what_a_runtime_prints_is_the_functions_log(bench):
    version = bench.version(bootstrap("def handle(e, h):\n print('said', flush=True); return 1" + LOOP), **PROVIDED)
    lines = bench.invoke(version, request_id="r-9").log_tail.decode().splitlines()
    assert [line.split(" ")[0] for line in lines[:4]] == ["START", "said", "END", "REPORT"]


def test_an_error_is_answered_as_the_runtime_tells_it(bench):
    source = """
name, *_ = following()
body = '{"errorType": "Mine.Broken", "errorMessage": "so"}'
call("POST", f"/invocation/{name}/error", body, Lambda_Runtime_Function_Error_Type="Mine.Header")
following()
"""
    outcome = bench.invoke(bench.version(bootstrap(source), **PROVIDED))
    assert (outcome.error, outcome.error_type) == ("Unhandled", "Mine.Header")
    assert json.loads(outcome.payload) == {"errorType": "Mine.Broken", "errorMessage": "so"}


def test_calls_out_of_turn_are_refused_in_awss_words(bench):
    source = """
early = call("POST", "/invocation/none/response", "1")[:2]
name, *_ = following()
wrong = call("POST", "/invocation/other/error", "{}")[:2]
mode = call("POST", f"/invocation/{name}/response", "1", Lambda_Runtime_Function_Response_Mode="odd")[:2]
again = following()[0] == name
sent = respond(name, "first")
twice = respond(name, "second")
late = call("POST", "/init/error", "{}")[:2]
lost = call("GET", "/nothing")[0]
name, *_ = following()
respond(name, [early, wrong, mode, again, sent, twice, late, lost])
following()
"""
    version = bench.version(bootstrap(source), **PROVIDED)
    assert bench.invoke(version).payload == b'"first"'
    early, wrong, mode, again, sent, twice, late, lost = json.loads(bench.invoke(version).payload)
    refusal = '{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}'
    assert early == wrong == [400, refusal]
    assert mode == [400, '{"errorMessage":"Invalid function response mode","errorType":"InvalidFunctionResponseMode"}']
    assert again is True
    assert sent == [202, '{"status":"OK"}']
    states = "State transition from ResponseSent to {} failed for runtime. Error: State transition is not allowed"
    assert [twice[0], json.loads(twice[1])] == [
        403, {"errorMessage": states.format("InvocationResponse"), "errorType": "InvalidStateTransition"},
    ]  # fmt: skip
    assert json.loads(late[1])["errorMessage"] == states.format("InitError")
    assert lost == 404


def test_a_response_that_is_too_large(bench):
    source = """
name, *_ = following()
answer = call("POST", f"/invocation/{name}/response", "x" * 6291557)[:2]
name, *_ = following()
respond(name, answer)
following()
"""
    version = bench.version(bootstrap(source), **PROVIDED)
    assert bench.invoke(version).error_type == "Function.ResponseSizeTooLarge"
    assert json.loads(bench.invoke(version).payload) == [
        413,
        '{"errorMessage":"Exceeded maximum allowed payload size (6291556 bytes).","errorType":"RequestEntityTooLarge"}',
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"other": "x"}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": "exit 0"}, "fork/exec /var/task/bootstrap: permission denied"),
        ({"bootstrap": "#!/no/such/program\n"}, "fork/exec /var/task/bootstrap: no such file or directory"),
        ({"bootstrap": b"\x7fELF is not enough"}, "fork/exec /var/task/bootstrap: exec format error"),
    ],
)
def test_an_entry_point_that_is_none(bench, files, message):
    error = json.loads(bench.invoke(bench.version(files, **PROVIDED), request_id="r-1").payload)
    assert error == {"errorType": "Runtime.InvalidEntrypoint", "errorMessage": f"RequestId: r-1 Error: {message}"}


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("sys.exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), 9)", "signal: killed"),
        ("os.kill(os.getpid(), 11)", "signal: segmentation fault"),
    ],
)
def test_a_runtime_that_ends_during_a_request_is_replaced(bench, end, words):
    source = f"""
def handle(e, h):
    if e == 1: {end}
    return os.path.exists('/tmp/left') or open('/tmp/left', 'w').close()
"""
    version = bench.version(bootstrap(source + LOOP), **PROVIDED)
    assert bench.invoke(version).payload == b"null"
    error = json.loads(bench.invoke(version, b"1", request_id="r-2").payload)
    assert error == {
        "errorType": "Runtime.ExitError", "errorMessage": f"RequestId: r-2 Error: Runtime exited with error: {words}",
    }  # fmt: skip
    assert bench.invoke(version).payload == b"null"


def test_a_runtime_that_ends_with_nothing_to_say(bench):
    error = json.loads(bench.invoke(bench.version(bootstrap("following(); sys.exit(0)"), **PROVIDED)).payload)
    assert error["errorMessage"].endswith("Error: Runtime exited without providing a reason")


def test_a_timeout_ends_the_environment(bench):
    version = bench.version(bootstrap("def handle(e, h):\n while e == 1: pass" + LOOP), timeout_s=1, **PROVIDED)
    assert bench.invoke(version, b"1").error_type == "Sandbox.Timedout"
    assert bench.invoke(version).payload == b"null"


def test_a_failed_init_phase_is_tried_once_more(bench):
    source = """
if not os.path.exists('/tmp/tried'):
    open('/tmp/tried', 'w').close()
    sys.exit(7)
def handle(e, h): return "second time"
"""
    outcome = bench.invoke(bench.version(bootstrap(source + LOOP), **PROVIDED))
    assert outcome.payload == b'"second time"'
    line = next(line for line in outcome.log_tail.decode().splitlines() if line.startswith("INIT_REPORT"))
    assert line.endswith("ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError")


def test_an_init_error_is_answered_in_the_runtimes_words(bench):
    source = """
body = '{"errorType": "Init.Wrong", "errorMessage": "no luck"}'
call("POST", "/init/error", body, Lambda_Runtime_Function_Error_Type="Init.Wrong")
sys.exit(1)
"""
    outcome = bench.invoke(bench.version(bootstrap(source), **PROVIDED))
    assert json.loads(outcome.payload) == {"errorType": "Init.Wrong", "errorMessage": "no luck"}
    phases = [line.split("\t")[1] for line in outcome.log_tail.decode().splitlines() if "INIT_REPORT" in line]
    assert phases == ["Phase: init", "Phase: invoke"]


class Caller:
    """Takes a streamed response."""

    def __init__(self) -> None:
        self.content_type = ""
        self.chunks: list[bytes] = []

    async def __call__(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        await asyncio.sleep(0)


STREAM = """
import socket
def stream(name, pieces, trailers=""):
    host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
    sock = socket.create_connection((host, int(port)))
    sock.sendall((f"POST /2018-06-01/runtime/invocation/{name}/response HTTP/1.1\\r\\nHost: x\\r\\n"
        "Content-Type: text/odd\\r\\nLambda-Runtime-Function-Response-Mode: streaming\\r\\n"
        "Transfer-Encoding: chunked\\r\\n"
        "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n").encode())
    for piece in pieces:
        sock.sendall(b"%x\\r\\n%b\\r\\n" % (len(piece), piece))
    if trailers is not None:
        sock.sendall(f"0\\r\\n{trailers}\\r\\n".encode())
        sock.recv(4096)
    sock.close()
"""


def test_a_runtime_streams_its_response(bench):
    version = bench.version(
        bootstrap(STREAM + "name, *_ = following()\nstream(name, [b'a', b'b' * 300000])\nfollowing()"), **PROVIDED
    )
    caller = Caller()
    outcome = bench.invoke(version, response=caller)
    assert (b"".join(caller.chunks), caller.content_type) == (b"a" + b"b" * 300_000, "text/odd")
    assert (outcome.payload, outcome.error) == (b"", None)


def test_an_error_midstream_comes_in_trailers(bench):
    source = """
import base64
body = base64.b64encode(b'{"errorType": "Late", "errorMessage": "midway"}').decode()
name, *_ = following()
word = "Lambda-Runtime-Function-Error"
stream(name, [b'half'], f"{word}-Type: Late\\r\\n{word}-Body: {body}\\r\\n")
following()
"""
    caller = Caller()
    outcome = bench.invoke(bench.version(bootstrap(STREAM + source), **PROVIDED), response=caller)
    assert (b"".join(caller.chunks), outcome.error_type) == (b"half", "Late")
    assert json.loads(outcome.payload)["errorMessage"] == "midway"


def test_a_stream_that_breaks_off_is_an_error(bench):
    version = bench.version(
        bootstrap(STREAM + "name, *_ = following()\nstream(name, [b'half'], None)\nfollowing()"), **PROVIDED
    )
    assert bench.invoke(version, response=Caller()).error_type == "Runtime.TruncatedResponse"


def test_a_layer_may_bring_the_runtime(bench):
    layer = bench.package(bootstrap("def handle(e, h): return 'from ' + sys.argv[0]" + LOOP))
    version = bench.version({"data": "x"}, layers=(layer,), **PROVIDED)
    assert bench.invoke(version).payload == b'"from /opt/bootstrap"'


def test_a_runtime_on_the_lowest_rung(make_bench):
    bench = make_bench(bare=True)
    version = bench.version(bootstrap("def handle(e, h): return e" + LOOP), **PROVIDED)
    assert bench.invoke(version, b"5").payload == b"5"


def test_a_retired_instance_ends_with_all_its_processes(make_bench):
    bench = make_bench(parked=0)
    source = "import subprocess; subprocess.Popen(['sleep', '1000'])\ndef handle(e, h): return e"
    version = bench.version(bootstrap(source + LOOP), **PROVIDED)
    bench.invoke(version, b"5")

    async def retire() -> None:
        (instance,) = bench.functions.supply.instances.values()
        await bench.functions.retire(version.arn)
        await instance.exit_code

    bench.wait(retire())
    assert not bench.functions.instances()


def test_a_runtime_that_takes_too_much_memory_is_killed_alone(bench):
    source = (
        "def handle(e, h):\n  if e == 1: x = bytearray(700 << 20); x[::4096] = b'1' * len(x[::4096])\n  return e" + LOOP
    )
    version = bench.version(bootstrap(source), **{**PROVIDED, "memory_mb": 256, "timeout_s": 60})
    error = json.loads(bench.invoke(version, b"1", request_id="r-oom").payload)
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].startswith("RequestId: r-oom Error: Runtime exited with error: ")
    assert bench.invoke(version, b"2").payload == b"2"


def test_many_at_once_each_have_their_own_listener(bench):
    version = bench.version(bootstrap("def handle(e, h):\n time.sleep(0.2); return e" + LOOP), **PROVIDED)

    async def all_of_them() -> list[bytes]:
        outcomes = await asyncio.gather(*(bench.invoke_soon(version, b"%d" % n) for n in range(12)))
        return [outcome.payload for outcome in outcomes]

    assert bench.wait(all_of_them()) == [b"%d" % n for n in range(12)]


def test_an_idle_runtime_that_ends_is_noticed(bench):
    source = "import threading\nthreading.Timer(0.3, lambda: os._exit(4)).start()\ndef handle(e, h): return e"
    version = bench.version(bootstrap(source + LOOP), **PROVIDED)
    assert bench.invoke(version, b"1").payload == b"1"

    async def gone() -> None:
        (instance,) = [one for one in bench.functions.supply.instances.values() if one.version is version]
        await instance.exit_code

    instance = next(one for one in bench.functions.supply.instances.values() if one.version is version)
    instance.thaw()
    bench.wait(gone())
    assert bench.invoke(version, b"2").payload == b"2"
