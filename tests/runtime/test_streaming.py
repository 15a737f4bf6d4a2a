"""Responses that a function streams: what its caller sees, and when."""

import asyncio
import json

import pytest

from tule.runtime import response_stream

NODE = {"runtime": "nodejs22.x", "handler": "index.handler", "memory_mb": 1769}
NEVER = "await new Promise(() => {})"
HTTP = "application/vnd.awslambda.http-integration-response"


class Caller:
    """Takes a streamed response, as slowly as a test wants."""

    def __init__(self) -> None:
        self.content_type = ""
        self.chunks: list[bytes] = []
        self.seen = asyncio.Event()
        self.go_on: asyncio.Event | None = None
        self.leaves_after = 1 << 30

    async def __call__(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.seen.set()
        if len(self.chunks) >= self.leaves_after:
            raise ConnectionResetError
        if self.go_on is not None:
            await self.go_on.wait()

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


def streaming(body: str) -> dict[str, str]:
    return {
        "index.js": f"exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {{ {body} }})"
    }


def test_chunks_reach_the_caller_in_order_with_their_content_type(bench):
    version = bench.version(
        streaming("stream.setContentType('text/plain'); stream.write('a'); stream.write('b'); stream.end('c')"), **NODE
    )
    caller = Caller()
    outcome = bench.invoke(version, response=caller)
    assert (caller.body, caller.content_type) == (b"abc", "text/plain")
    assert (outcome.payload, outcome.error) == (b"", None)


def test_a_chunk_is_there_before_the_function_has_ended(bench):
    version = bench.version(streaming("stream.write('first'); await new Promise(() => {})"), **NODE)

    async def look() -> bytes:
        caller = Caller()
        running = asyncio.ensure_future(bench.invoke_soon(version, response=caller))
        await caller.seen.wait()
        running.cancel()
        return caller.body

    assert bench.wait(look()) == b"first"


def test_an_http_response_begins_with_its_prelude(bench):
    source = """const prelude = { statusCode: 201, headers: { 'x-a': 'b' }, cookies: ['c=d'] };
      stream = awslambda.HttpResponseStream.from(stream, prelude);
      stream.write('hello'); stream.end()"""
    caller = Caller()
    bench.invoke(bench.version(streaming(source), **NODE), response=caller)
    prelude, body = caller.body.split(bytes(8), 1)
    assert json.loads(prelude) == {"statusCode": 201, "headers": {"x-a": "b"}, "cookies": ["c=d"]}
    assert (body, caller.content_type) == (b"hello", HTTP)


def test_an_http_response_without_a_body_still_has_its_prelude(bench):
    caller = Caller()
    bench.invoke(
        bench.version(streaming("awslambda.HttpResponseStream.from(stream, { statusCode: 204 }).end()"), **NODE),
        response=caller,
    )
    assert caller.body == b'{"statusCode":204}' + bytes(8)


def test_a_pipeline_streams_files_and_objects_are_written_as_json(bench):
    source = """const { pipeline } = require('node:stream/promises'); const { Readable } = require('node:stream');
      stream.write({ a: 1 }); await pipeline(Readable.from(['x', 'y']), stream)"""
    caller = Caller()
    assert bench.invoke(bench.version(streaming(source), **NODE), response=caller).error is None
    assert caller.body == b'{"a":1}xy'


def test_a_slow_caller_slows_the_function(bench):
    """Without back-pressure all of it would be written before the caller has taken its first chunk."""
    source = """let sent = 0; const piece = Buffer.alloc(65536, 'x');
      for (; sent < 400; sent++) { if (!stream.write(piece)) await new Promise((go) => stream.once('drain', go));
        if (sent === 1) console.log('begun'); }
      console.log('all written'); stream.end()"""
    version = bench.version(streaming(source), timeout_s=30, **NODE)

    async def look() -> tuple[bool, int]:
        caller = Caller()
        caller.go_on = asyncio.Event()
        running = asyncio.ensure_future(bench.invoke_soon(version, response=caller))
        await caller.seen.wait()
        for _ in range(200):
            await asyncio.sleep(0)
        early = "all written" in bench.logs.text()
        caller.go_on.set()
        await running
        return early, len(caller.body)

    assert bench.wait(look()) == (False, 400 * 65536)


@pytest.mark.parametrize(
    ("source", "kind", "message", "sent"),
    [
        ("stream.write('half'); throw new TypeError('midstream')", "TypeError", "midstream", b"half"),
        ("throw new Error('at once')", "Error", "at once", b""),
        ("stream.write('x'); stream.destroy()", "string", "Response stream is not finished.", None),
        (f"stream.write(1); setTimeout(() => {{ throw new RangeError('x') }}); {NEVER}", "RangeError", "x", b"1"),
    ],
)  # fmt: skip
def test_an_error_ends_the_stream_wherever_it_is(bench, source, kind, message, sent):
    caller = Caller()
    outcome = bench.invoke(bench.version(streaming(source), **NODE), response=caller)
    error = json.loads(outcome.payload)
    assert (outcome.error, error["errorType"], error["errorMessage"]) == ("Unhandled", kind, message)
    assert sent is None or caller.body == sent


def test_a_timeout_ends_the_stream_and_the_instance(bench):
    version = bench.version(streaming("stream.write('half'); await new Promise(() => {})"), timeout_s=1, **NODE)
    caller = Caller()
    outcome = bench.invoke(version, response=caller)
    assert (caller.body, outcome.error_type) == (b"half", "Sandbox.Timedout")


def test_a_handler_that_is_not_async_is_refused(bench):
    source = {"index.js": "exports.handler = awslambda.streamifyResponse((event, stream) => { stream.end('x') })"}
    outcome = bench.invoke(bench.version(source, **NODE), response=Caller())
    assert json.loads(outcome.payload)["errorMessage"] == "Streaming does not support non-async handlers."


def test_without_a_sink_the_stream_becomes_the_payload(bench):
    outcome = bench.invoke(bench.version(streaming("stream.write('a'); stream.end('b')"), **NODE))
    assert outcome.payload == b"ab"


def test_without_a_sink_a_payload_has_the_limit_of_all(bench):
    version = bench.version(streaming("stream.end(Buffer.alloc(event))"), timeout_s=30, **NODE)
    assert len(bench.invoke(version, b"6291556").payload) == 6_291_556
    assert bench.invoke(version, b"6291557").error_type == "Function.ResponseSizeTooLarge"


def test_a_stream_has_a_limit_too(bench, monkeypatch):
    monkeypatch.setattr(response_stream, "STREAMED_MAX_BYTES", 100_000)
    version = bench.version(
        streaming(
            "while (true) if (!stream.write(Buffer.alloc(30000))) await new Promise((go) => stream.once('drain', go))"
        ),
        **NODE,
    )
    caller = Caller()
    outcome = bench.invoke(version, response=caller)
    assert outcome.error_type == "Function.ResponseSizeTooLarge"
    assert len(caller.body) <= 100_000


def test_a_caller_who_leaves_does_not_stop_the_function(bench):
    version = bench.version(
        streaming(
            "for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(9000)); stream.end(); console.log('to its end')"
        ),
        **NODE,
    )
    caller = Caller()
    caller.leaves_after = 1
    outcome = bench.invoke(version, response=caller)
    assert outcome.error is None
    assert "to its end" in bench.logs.text()


def test_a_function_that_does_not_stream_leaves_the_sink_alone(bench):
    caller = Caller()
    outcome = bench.invoke(
        bench.version({"index.js": "exports.handler = async () => 'plain'"}, **NODE), response=caller
    )
    assert (outcome.payload, caller.chunks) == (b'"plain"', [])


def test_the_second_response_of_an_instance_streams_as_well(bench):
    version = bench.version(streaming("stream.end(JSON.stringify(event))"), **NODE)
    for number in (b"1", b"2"):
        caller = Caller()
        bench.invoke(version, number, response=caller)
        assert caller.body == number
