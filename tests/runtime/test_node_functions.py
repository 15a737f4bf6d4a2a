"""Node handlers in each form that AWS takes."""

import json

import pytest

NODE = {"runtime": "nodejs22.x", "handler": "index.handler"}


@pytest.mark.parametrize(
    ("files", "handler", "answer"),
    [
        ({"index.mjs": "export const handler = async (e) => ({ got: e })"}, "index.handler", {"got": {"a": 1}}),
        ({"index.js": "exports.handler = async (e) => ({ got: e })"}, "index.handler", {"got": {"a": 1}}),
        ({"index.js": "exports.handler = (e, c, cb) => setTimeout(() => cb(null, e), 3)"}, "index.handler", {"a": 1}),
        ({"index.js": "exports.handler = (e, c) => { c.succeed(e) }"}, "index.handler", {"a": 1}),
        ({"index.js": "exports.handler = () => {}"}, "index.handler", None),
        ({"index.js": "exports.handler = async () => {}"}, "index.handler", None),
        ({"src/api/orders.js": "exports.a = { b: async () => 'nested' }"}, "src/api/orders.a.b", "nested"),
        ({"index.cjs": "exports.handler = async () => 'cjs'"}, "index.handler", "cjs"),
        (
            {"package.json": '{"type": "module"}', "index.js": "export const handler = async () => 'esm'"},
            "index.handler",
            "esm",
        ),
        (
            {
                "index.mjs": "import own from 'own'; export const handler = async () => own",
                "node_modules/own/index.js": "module.exports = 'bundled'",
            },
            "index.handler",
            "bundled",
        ),
    ],
)
def test_a_handler_answers(bench, files, handler, answer):
    outcome = bench.invoke(bench.version(files, **{**NODE, "handler": handler}), b'{"a": 1}')
    assert outcome.error is None, outcome.payload
    assert json.loads(outcome.payload) == answer


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("exports.handler = async () => { throw new TypeError('boom') }", "TypeError", "boom"),
        ("exports.handler = (e, c, cb) => cb(new Error('bad'))", "Error", "bad"),
        ("exports.handler = (e, c, cb) => cb('text')", "string", "text"),
        ("exports.other = 1", "Runtime.HandlerNotFound", "index.handler is undefined or not exported"),
        ("exports.handler = async () => { nope( }", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '}'"),
        (
            "exports.handler = async () => { Promise.reject(new Error('lost')); await new Promise(() => {}) }",
            "Runtime.UnhandledPromiseRejection",
            "Error: lost",
        ),
    ],
)
def test_failures_are_told_in_awss_words(bench, source, kind, message):
    outcome = bench.invoke(bench.version({"index.js": source}, **NODE))
    error = json.loads(outcome.payload)
    assert (error["errorType"], error["errorMessage"]) == (kind, message)
    assert isinstance(error["trace"], list)
    assert outcome.error == "Unhandled"


def test_a_module_that_is_not_there(bench):
    outcome = bench.invoke(bench.version({"index.js": "require('nothing-there')"}, **NODE))
    error = json.loads(outcome.payload)
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert error["errorMessage"].startswith("Error: Cannot find module 'nothing-there'\nRequire stack:\n- ")


def test_exit_and_timeout_are_followed_by_a_fresh_instance(bench):
    source = (
        "let n = 0; exports.handler = async (e) => { n++; if (e === 1) process.exit(3); while (e === 2); return n }"
    )
    version = bench.version({"index.js": source}, timeout_s=1, **NODE)
    assert "exit status 3" in json.loads(bench.invoke(version, b"1").payload)["errorMessage"]
    assert bench.invoke(version).payload == b"1"
    assert json.loads(bench.invoke(version, b"2").payload)["errorType"] == "Sandbox.Timedout"
    assert bench.invoke(version).payload == b"1"


def test_the_context_and_the_environment(bench, monkeypatch):
    monkeypatch.setenv("TULE_HOST_SECRET", "leaked")
    source = """exports.handler = async (e, c) => [c.awsRequestId, c.functionName, c.memoryLimitInMB, c.logGroupName,
      c.getRemainingTimeInMillis() > 0, process.env.MINE, process.env.AWS_SESSION_TOKEN, process.env.TULE_HOST_SECRET,
      process.env._X_AMZN_TRACE_ID.slice(0, 5), new Date().getTimezoneOffset()]"""
    version = bench.version({"index.js": source}, environment={"MINE": "yes"}, **NODE)
    outcome = bench.invoke(version, request_id="r-1")
    assert json.loads(outcome.payload) == [
        "r-1", "f", "128", "/aws/lambda/f", True, "yes", "token", None, "Root=", 0,
    ]  # fmt: skip


def test_console_lines_carry_time_request_and_level(bench):
    version = bench.version({"index.js": "exports.handler = async () => console.warn('a', { b: 1 })"}, **NODE)
    lines = bench.invoke(version, request_id="r-2").log_tail.decode().splitlines()
    moment, request, level, text = next(line for line in lines if "WARN" in line).split("\t")
    assert (request, level, text) == ("r-2", "WARN", "a { b: 1 }")
    assert moment.endswith("Z")


def test_options_of_node_are_obeyed(bench):
    version = bench.version(
        {"index.js": "exports.handler = async () => process.execArgv.concat(process.env.NODE_OPTIONS, process.title)"},
        environment={"NODE_OPTIONS": "--title=mine"},
        **NODE,
    )
    assert json.loads(bench.invoke(version).payload) == ["--title=mine", "mine"]


def test_a_large_answer_is_whole(bench):
    version = bench.version({"index.js": "exports.handler = async (n) => 'x'.repeat(n)"}, **NODE)
    assert len(bench.invoke(version, b"6000000").payload) == 6_000_002


DOTS = (
    "'../index.handler' is not a valid handler name. Use absolute paths when specifying root directories in handler "
    "names."
)
CALLBACKS = (
    "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to "
    "modify this function to use a supported handler signature to use Node.js 24 or later. For more information see "
    "https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html."
)


@pytest.mark.parametrize(
    ("fields", "files", "kind", "message"),
    [
        ({"handler": "index"}, {"index.js": ""}, "Runtime.MalformedHandlerName", "Bad handler"),
        (
            {"handler": "../index.handler"}, {"index.js": ""}, "Runtime.MalformedHandlerName",
            DOTS,
        ),
        ({}, {"index.js": "exports.handler = 5"}, "Runtime.HandlerNotFound", "index.handler is not a function"),
        (
            {}, {"other.js": ""}, "Runtime.ImportModuleError",
            "Error: Cannot find module 'index'\nRequire stack:\n- /var/runtime/index.mjs",
        ),
        ({}, {"index.mjs": "throw new RangeError('at load')"}, "RangeError", "at load"),
        (
            {"runtime": "nodejs24.x"}, {"index.js": "exports.handler = (e, c, callback) => callback(null, 1)"},
            "Runtime.CallbackHandlerDeprecated", CALLBACKS,
        ),
    ],
)  # fmt: skip
def test_a_failed_init_phase_is_told_in_awss_words(bench, fields, files, kind, message):
    error = json.loads(bench.invoke(bench.version(files, **{**NODE, **fields})).payload)
    assert (error["errorType"], error["errorMessage"]) == (kind, message)


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        (
            "(e, c, cb) => { setTimeout(() => { globalThis.late = 1 }, 30); cb(null, 'first'); cb(null, 'second') }",
            "first",
        ),
        ("(e, c) => { setTimeout(() => {}, 1e6); c.succeed('at once') }", "at once"),
        ("(e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 1e6); cb(null, 1) }", 1),
        ("async () => { setTimeout(() => {}, 1e6); return 'async' }", "async"),
    ],
)
def test_when_an_answer_goes_out(bench, source, answer):
    outcome = bench.invoke(bench.version({"index.js": f"exports.handler = {source}"}, **NODE))
    assert (outcome.error, json.loads(outcome.payload)) == (None, answer)


def test_a_callback_waits_for_the_event_loop_to_run_dry(bench):
    source = "exports.handler = (e, c, cb) => { setTimeout(() => console.log('after'), 50); cb(null, 1) }"
    outcome = bench.invoke(bench.version({"index.js": source}, **NODE))
    assert "after" in outcome.log_tail.decode()


@pytest.mark.parametrize(
    ("source", "kind"),
    [("async () => { await new Promise(() => {}) }", "Runtime.NodeJsExit"), ("(e, c) => c.fail()", "string")],
)
def test_an_answer_that_never_comes(bench, source, kind):
    version = bench.version({"index.js": f"let n = 0; exports.handler = {source}"}, **NODE)
    assert bench.invoke(version).error_type == kind
    second = bench.invoke(version)
    assert (second.error_type, second.cold) == (kind, False)


def test_a_module_may_await_at_its_top(bench):
    source = "const told = await Promise.resolve('ready'); export const handler = async () => told"
    assert bench.invoke(bench.version({"index.mjs": source}, **NODE)).payload == b'"ready"'


def test_typescript_runs_from_node_24_on(bench):
    interpreters = bench.functions.interpreters
    if bench.wait(interpreters.serving("nodejs24.x")).number < 24:
        pytest.skip("this machine has no Node 24")
    files = {"index.ts": "type Event = { a: number };\nexports.handler = async (event: Event) => event.a + 1"}
    assert bench.invoke(bench.version(files, **{**NODE, "runtime": "nodejs24.x"}), b'{"a": 1}').payload == b"2"
