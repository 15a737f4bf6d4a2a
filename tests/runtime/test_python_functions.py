"""Python handlers: what they get, what they answer, and what is said when they fail."""

import asyncio
import base64
import json

import pytest

REQUEST = "8f5b7f4c-0f0f-4d5e-9a51-000000000001"


def error_of(outcome):
    assert outcome.error == "Unhandled"
    return json.loads(outcome.payload)


def test_an_event_comes_back_as_json(bench):
    version = bench.version({"app.py": "def handler(event, context): return {'got': event, 'text': 'é'}"})
    outcome = bench.invoke(version, b'{"a": [1, 2.5, null]}')
    assert outcome.error is None
    assert json.loads(outcome.payload) == {"got": {"a": [1, 2.5, None]}, "text": "é"}
    assert outcome.cold
    assert outcome.init_ms > 0
    again = bench.invoke(version)
    assert not again.cold
    assert again.init_ms is None


def test_the_context_says_what_aws_says(bench):
    source = """
def handler(event, c):
    return [c.aws_request_id, c.function_name, c.function_version, c.invoked_function_arn, c.memory_limit_in_mb,
            c.log_group_name, c.log_stream_name, 0 < c.get_remaining_time_in_millis() <= 5000,
            c.client_context.custom, c.client_context.client.installation_id, c.identity.cognito_identity_id]
"""
    version = bench.version({"app.py": source}, memory_mb=256)
    client = base64.b64encode(b'{"custom": {"k": 1}, "client": {"installation_id": "i"}}').decode()
    outcome = bench.invoke(version, request_id=REQUEST, client_context=client, invoked_arn=version.arn + ":x")
    assert json.loads(outcome.payload) == [
        REQUEST, "f", "$LATEST", version.arn + ":x", "256", "/aws/lambda/f", outcome.log_stream, True, {"k": 1}, "i",
        None,
    ]  # fmt: skip


def test_the_environment_is_lambdas_and_nothing_of_the_hosts(bench, monkeypatch):
    monkeypatch.setenv("TULE_HOST_SECRET", "leaked")
    source = "import os, time\ndef handler(event, context): return [dict(os.environ), time.tzname[0]]"
    version = bench.version({"app.py": source}, environment={"MINE": "yes"})
    variables, zone = json.loads(bench.invoke(version).payload)
    assert zone == "UTC"
    assert variables.pop("AWS_LAMBDA_LOG_STREAM_NAME")
    assert variables.pop("_X_AMZN_TRACE_ID").startswith("Root=1-")
    assert variables.pop("PATH").endswith(":/opt/bin")
    assert variables.pop("LD_LIBRARY_PATH").endswith(":/opt/lib")
    variables.pop("TMPDIR", None)
    assert variables.pop("LAMBDA_TASK_ROOT")
    assert variables.pop("LAMBDA_RUNTIME_DIR")
    assert variables == {
        "MINE": "yes", "HOME": "/tmp", "LANG": "en_US.UTF-8", "TZ": ":UTC", "_HANDLER": "app.handler",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f", "AWS_ACCESS_KEY_ID": "ASIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token", "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "handler", "kind", "message"),
    [
        ({"app.py": "def handler(e, c): raise ValueError('boom')"}, "app.handler", "ValueError", "boom"),
        (
            {"app.py": "import nothing_there"},
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_there'",
        ),
        ({"app.py": ""}, "app.nope", "Runtime.HandlerNotFound", "Handler 'nope' missing on module 'app'"),
        (
            {"app.py": "def handler(: pass"},
            "app.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app': invalid syntax (app.py, line 1)",
        ),
        (
            {"app.py": ""},
            "app",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        (
            {"app.py": "def handler(e, c): return {1, 2}"},
            "app.handler",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type set is not JSON serializable",
        ),
        ({"app.py": "raise KeyError('at import')"}, "app.handler", "KeyError", "'at import'"),
    ],
)
def test_failures_are_told_in_awss_words(bench, files, handler, kind, message):
    outcome = bench.invoke(bench.version(files, handler=handler), request_id=REQUEST)
    error = error_of(outcome)
    assert (error["errorType"], error["errorMessage"], error["requestId"]) == (kind, message, REQUEST)
    assert isinstance(error["stackTrace"], list)
    assert outcome.error_type == kind
    assert f"[ERROR] {kind}: {message}" in outcome.log_tail.decode()


def test_a_stack_trace_begins_in_the_functions_own_code(bench):
    version = bench.version({"app.py": "def deep(): raise OSError('x')\ndef handler(e, c): deep()"})
    first, second = error_of(bench.invoke(version))["stackTrace"]
    assert (
        first.endswith("in handler\n    def handler(e, c): deep()\n                       ^^^^^^\n")
        or "handler" in first
    )
    assert 'app.py", line 1, in deep' in second


def test_leaving_is_an_exit_error_and_the_next_request_is_served(bench):
    ends = "  if e == 1: sys.exit(7)\n  if e == 2: os.kill(os.getpid(), 9)\n  if e == 3: os._exit(0)\n"
    source = f"import sys, os\ndef handler(e, c):\n{ends}  return 'fine'"
    version = bench.version({"app.py": source})
    texts = {
        b"1": "Runtime exited with error: exit status 7",
        b"2": "Runtime exited with error: signal: killed",
        b"3": "Runtime exited without providing a reason",
    }
    for payload, text in texts.items():
        error = error_of(bench.invoke(version, payload, request_id=REQUEST))
        assert error == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {REQUEST} Error: {text}"}
        assert bench.invoke(version).payload == b'"fine"'


def test_a_timeout_ends_the_instance_and_says_so(bench):
    source = (
        "import time\nseen = []\ndef handler(e, c):\n  seen.append(1)\n  if e == 1: time.sleep(60)\n  return len(seen)"
    )
    version = bench.version({"app.py": source}, timeout_s=1)
    assert bench.invoke(version).payload == b"1"
    outcome = bench.invoke(version, b"1", request_id=REQUEST)
    assert error_of(outcome) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {REQUEST} Error: Task timed out after 1.00 seconds",
    }
    assert f"{REQUEST} Task timed out after 1.00 seconds" in outcome.log_tail.decode()
    assert "Status: timeout" in outcome.log_tail.decode()
    assert outcome.duration_ms == 1000.0
    after = bench.invoke(version)
    assert after.cold
    assert after.payload == b"1"


def test_memory_over_the_limit_is_killed(bench):
    source = "def handler(e, c):\n  kept = b'x' * (400 << 20)\n  import time; time.sleep(5)\n  return len(kept)"
    version = bench.version({"app.py": source}, timeout_s=30)
    error = error_of(bench.invoke(version, request_id=REQUEST))
    assert error["errorMessage"] == f"RequestId: {REQUEST} Error: Runtime exited with error: signal: killed"


def test_an_answer_larger_than_awss_limit_is_refused(bench):
    version = bench.version({"app.py": "def handler(e, c): return 'x' * e"})
    assert error_of(bench.invoke(version, b"6291555"))["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(bench.invoke(version, b"6291554").payload) == 6291556


def test_large_events_arrive_whole(bench):
    version = bench.version({"app.py": "def handler(e, c): return len(e)"})
    assert bench.invoke(version, json.dumps("x" * 6_000_000).encode()).payload == b"6000000"


def test_the_log_has_what_aws_prints(bench):
    source = """
import logging, os, sys
def handler(e, c):
    print("to stdout")
    sys.stderr.write("to stderr\\n")
    os.system("echo from a child")
    logging.getLogger().setLevel("INFO")
    logging.info("told\\nin two lines")
    print("no newline", end="")
"""
    version = bench.version({"app.py": source}, name="logged")
    bench.logs.events.clear()
    outcome = bench.invoke(version, request_id=REQUEST)
    texts = [text for stream, _, text in bench.logs.events if stream == outcome.log_stream]
    assert texts[0] == f"START RequestId: {REQUEST} Version: $LATEST"
    assert texts[1:4] == ["to stdout", "to stderr", "from a child"]
    level, _, request, message = texts[4].split("\t")
    assert (level, request, message) == ("[INFO]", REQUEST, "told\nin two lines")
    assert texts[5:7] == ["no newline", f"END RequestId: {REQUEST}"]
    report, xray = texts[7].split("\n")
    assert report.startswith(f"REPORT RequestId: {REQUEST}\tDuration: ")
    assert "\tMemory Size: 128 MB\tMax Memory Used: " in report
    assert "\tInit Duration: " in report
    assert xray == "XRAY TraceId: 1-5759e988-bd862e3fe1be46a994272793\tSegmentId: 53995c3f42cd8ad8\tSampled: true\t"
    assert outcome.log_tail.decode().startswith("START RequestId")


def test_what_a_package_bundles_wins_and_boto3_is_there_for_all_others(bench):
    source = "import boto3\ndef handler(e, c): return [boto3.__version__, hasattr(boto3, 'client')]"
    bundled = bench.version({"app.py": source, "boto3/__init__.py": "__version__ = 'mine'"})
    assert json.loads(bench.invoke(bundled).payload) == ["mine", False]
    found, real = json.loads(bench.invoke(bench.version({"app.py": source})).payload)
    assert found != "mine"
    assert real


def test_nothing_of_ours_can_shadow_a_packages_modules(bench):
    names = ["zygote", "instance", "channel", "context", "handling", "confinement", "tule", "msgspec", "click"]
    source = f"import {', '.join(names)}\ndef handler(e, c): return [m.own for m in ({', '.join(names)},)]"
    files = {f"{name}.py": "own = True" for name in names}
    assert json.loads(bench.invoke(bench.version({"app.py": source, **files})).payload) == [True] * len(names)


def test_variables_that_act_at_start_are_obeyed(bench):
    source = "import sys, os\ndef handler(e, c): return [sys.flags.hash_randomization, os.environ['PYTHONHASHSEED']]"
    version = bench.version({"app.py": source}, environment={"PYTHONHASHSEED": "0"})
    assert json.loads(bench.invoke(version).payload) == [0, "0"]


def test_requests_at_once_get_instances_of_their_own(bench):
    source = "import os, time\nME = os.urandom(6).hex()\ndef handler(e, c):\n  time.sleep(0.05)\n  return ME"
    version = bench.version({"app.py": source})

    async def several():
        return await asyncio.gather(*(bench.invoke_soon(version) for _ in range(5)))

    assert len({outcome.payload for outcome in bench.wait(several())}) == 5


def test_random_numbers_differ_between_instances(bench):
    source = "import random, time\ndef handler(e, c):\n  time.sleep(0.05)\n  return random.random()"
    version = bench.version({"app.py": source})

    async def several():
        return await asyncio.gather(*(bench.invoke_soon(version) for _ in range(3)))

    assert len({outcome.payload for outcome in bench.wait(several())}) == 3
