"""Logs of functions whose LogFormat is JSON."""

import json
import re

import pytest

REQUEST = "8f5b7f4c-0f0f-4d5e-9a51-000000000077"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
TRACING = {"spanId": "53995c3f42cd8ad8", "type": "X-Amzn-Trace-Id", "value": TRACE}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

SOURCE = """
import logging
logging.info("while importing")
def handler(event, context):
    print("plain")
    print('{"level": "debug", "of": "mine"}')
    log = logging.getLogger("shop")
    log.debug("quiet")
    log.warning("low on %s", "stock", extra={"item": "tea"})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("divided")
"""


@pytest.fixture
def logged(bench):
    """Invoke a function once; the lines of its log."""

    def invoke(files, *, application="INFO", system="INFO", **fields):
        levels = {"log_format": "JSON", "application_level": application, "system_level": system}
        version = bench.version(files, **levels, **fields)
        seen = len(bench.logs.events)
        bench.invoke(version, request_id=REQUEST, trace_header=TRACE)
        return [text for _, _, text in bench.logs.events[seen:]]

    return invoke


def objects(lines):
    """The lines that are JSON objects, with their instants taken out after a look at them."""
    found = [json.loads(line) for line in lines if line.startswith("{")]
    for each in found:
        for name in ("time", "timestamp"):
            if name in each:
                assert TIME.fullmatch(each.pop(name))
    return found


def said(lines):
    """What the function said, without Tule's remark on the version that serves it."""
    found = [each for each in objects(lines) if "level" in each]
    return [each for each in found if not str(each.get("message")).startswith("Tule: ")]


def events(lines):
    return {each["type"].removeprefix("platform."): each["record"] for each in objects(lines) if "type" in each}


def test_the_platforms_lines_are_events(logged):
    lines = logged({"app.py": "def handler(e, c): return 'x'"})

    told = events(lines)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    assert told["start"] == {"requestId": REQUEST, "functionArn": arn, "version": "$LATEST", "tracing": TRACING}
    report = told["report"]
    metrics = report.pop("metrics")
    assert report == {"requestId": REQUEST, "tracing": TRACING, "status": "success"}
    assert metrics["billedDurationMs"] >= metrics["durationMs"] > 0
    assert (metrics["memorySizeMB"], metrics["maxMemoryUsedMB"] > 0, metrics["initDurationMs"] > 0) == (128, True, True)
    assert len(lines) == 2


def test_records_of_pythons_logging_are_objects_and_prints_stay_as_they_are(logged):
    lines = logged({"app.py": SOURCE})

    assert "plain" in lines
    first, warning, error = [each for each in objects(lines) if "logger" in each]
    assert first == {"level": "INFO", "message": "while importing", "logger": "root", "requestId": ""}
    assert warning == {
        "level": "WARNING", "message": "low on stock", "logger": "shop", "requestId": REQUEST, "item": "tea",
    }  # fmt: skip
    assert (error["level"], error["errorType"], error["errorMessage"]) == (
        "ERROR",
        "ZeroDivisionError",
        "division by zero",
    )
    assert "1 / 0" in error["stackTrace"][0]
    assert error["location"].endswith("app.py:handler:13")


def test_levels_leave_out_what_is_less_severe(logged):
    text = "\n".join(logged({"app.py": SOURCE}, application="ERROR", system="WARN"))

    assert "divided" in text
    for missing in ("plain", "mine", "low on stock", "quiet", "platform."):
        assert missing not in text


def test_levels_let_through_what_is_asked_for(logged):
    lines = logged({"app.py": SOURCE}, application="DEBUG", system="DEBUG")

    text = "\n".join(lines)
    for shown in ("plain", "mine", "low on stock", "quiet"):
        assert shown in text
    told = events(lines)
    assert list(told) == ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"]
    assert told["initStart"]["functionName"] == "f"
    assert told["initReport"]["metrics"]["durationMs"] > 0
    assert (told["runtimeDone"]["status"], told["runtimeDone"]["metrics"]["producedBytes"]) == ("success", 4)


def test_a_failure_is_an_object_and_a_status(logged):
    lines = logged({"app.py": "def handler(e, c): raise ValueError('boom')"}, system="WARN")

    (error,) = [each for each in objects(lines) if each.get("level") == "ERROR"]
    assert (error["errorType"], error["errorMessage"], error["requestId"]) == ("ValueError", "boom", REQUEST)
    assert error["stackTrace"]
    told = events(lines)
    assert list(told) == ["runtimeDone", "report"]
    assert (told["report"]["status"], told["report"]["errorType"]) == ("error", "Runtime.Unknown")


@pytest.mark.parametrize(
    ("source", "status", "error_type"),
    [
        ("import time\ndef handler(e, c): time.sleep(60)", "timeout", None),
        ("import os\ndef handler(e, c): os._exit(3)", "error", "Runtime.ExitError"),
        ("def other(e, c): pass", "error", "Runtime.HandlerNotFound"),
    ],
    ids=["timeout", "exit", "no handler"],
)
def test_the_report_says_how_it_ended(logged, source, status, error_type):
    report = events(logged({"app.py": source}, timeout_s=1))["report"]

    assert (report["status"], report.get("errorType")) == (status, error_type)


def test_nodes_console_writes_objects(logged):
    source = """
export const handler = async () => {
  console.log("hello", 7);
  console.debug("quiet");
  console.info({ order: 1 });
  console.warn("odd", new TypeError("bad"));
  process.stdout.write("plain\\n");
  throw new RangeError("far");
};
"""
    lines = logged({"index.mjs": source}, runtime="nodejs22.x", handler="index.handler")

    assert "plain" in lines
    hello, order, odd, error = said(lines)
    assert hello == {"level": "INFO", "requestId": REQUEST, "message": "hello 7"}
    assert order == {"level": "INFO", "requestId": REQUEST, "message": {"order": 1}}
    assert (odd["level"], odd["errorType"], odd["errorMessage"]) == ("WARN", "TypeError", "bad")
    assert odd["stackTrace"][0] == "TypeError: bad"
    message = error["message"]
    assert (error["level"], message["errorType"], message["errorMessage"]) == ("ERROR", "RangeError", "far")
    assert events(lines)["report"]["status"] == "error"


def test_nodes_levels_silence_methods(logged):
    source = "export const handler = async () => { console.log('low'); console.trace('t'); console.fatal('high'); }"
    lines = logged({"index.mjs": source}, application="FATAL", runtime="nodejs22.x", handler="index.handler")

    assert [each["message"] for each in said(lines)] == ["high"]
