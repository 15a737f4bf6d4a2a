"""InvokeWithResponseStream, read by boto3."""

import json

import pytest
from botocore.exceptions import ClientError
from patience import eventually

PLAIN = """
    def handler(event, context):
        if event.get("fail"):
            raise RuntimeError(event["fail"])
        print("said")
        return {"did": event}
"""

STREAMER = """
    import { setTimeout } from "node:timers/promises";

    export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
        for (let n = 0; n < event.chunks; n++) {
            stream.write(`chunk ${n};` + "x".repeat(event.size ?? 0));
            await setTimeout(event.pause ?? 0);
            if (event.failAt === n) throw new Error("in the middle");
        }
        stream.end();
    });
"""


READER = """
    import { InvokeWithResponseStreamCommand, LambdaClient } from "@aws-sdk/client-lambda";
    const client = new LambdaClient({ maxAttempts: 1 });

    export const handler = async (event) => {
        const asked = { FunctionName: event.name, Payload: JSON.stringify({ chunks: 2, failAt: 1 }) };
        const answer = await client.send(new InvokeWithResponseStreamCommand(asked));
        const seen = [];
        for await (const part of answer.EventStream) {
            if (part.PayloadChunk) seen.push(Buffer.from(part.PayloadChunk.Payload).toString());
            if (part.InvokeComplete) seen.push(part.InvokeComplete.ErrorCode);
        }
        return seen;
    };
"""


def events(answer):
    return list(answer["EventStream"])


def body(found):
    return b"".join(event["PayloadChunk"]["Payload"] for event in found if "PayloadChunk" in event)


def test_a_function_that_does_not_stream_answers_in_one_chunk(functions):
    functions.deploy(PLAIN, MemorySize=1769, Timeout=60)

    answer = functions.client.invoke_with_response_stream(FunctionName="worker", Payload=b'{"n": 1}', LogType="Tail")

    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    chunk, complete = events(answer)
    assert json.loads(chunk["PayloadChunk"]["Payload"]) == {"did": {"n": 1}}
    assert "ErrorCode" not in complete["InvokeComplete"]
    assert complete["InvokeComplete"]["LogResult"]


def test_a_failure_is_told_at_the_end_of_the_stream(functions):
    functions.deploy(PLAIN, MemorySize=1769, Timeout=60)

    (complete,) = events(
        functions.client.invoke_with_response_stream(FunctionName="worker", Payload=b'{"fail": "as asked"}')
    )

    assert complete["InvokeComplete"]["ErrorCode"] == "Unhandled"
    assert json.loads(complete["InvokeComplete"]["ErrorDetails"])["errorMessage"] == "as asked"


def test_refusals_come_before_the_stream(functions):
    with pytest.raises(ClientError) as caught:
        functions.client.invoke_with_response_stream(FunctionName="nobody")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"

    functions.deploy(PLAIN, MemorySize=1769, Timeout=60)
    functions.client.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as caught:
        functions.client.invoke_with_response_stream(FunctionName="worker")
    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"


def test_a_dry_run_runs_nothing(functions):
    functions.deploy(PLAIN, MemorySize=1769, Timeout=60)

    answer = functions.client.invoke_with_response_stream(FunctionName="worker", InvocationType="DryRun")

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_chunks_arrive_while_the_function_still_writes(functions):
    functions.deploy(STREAMER, runtime="nodejs22.x", MemorySize=1769, Timeout=60)

    event = {"chunks": 3, "pause": 400}
    stream = iter(
        functions.client.invoke_with_response_stream(FunctionName="worker", Payload=json.dumps(event))["EventStream"]
    )
    first = next(stream)
    rest = list(stream)

    assert first == {"PayloadChunk": {"Payload": b"chunk 0;"}}
    assert body(rest) == b"chunk 1;chunk 2;"
    assert "InvokeComplete" in rest[-1]


def test_a_large_stream_arrives_whole(functions):
    functions.deploy(STREAMER, runtime="nodejs22.x", MemorySize=1769, Timeout=60)

    event = {"chunks": 40, "size": 400_000}
    answer = functions.client.invoke_with_response_stream(FunctionName="worker", Payload=json.dumps(event))

    assert body(events(answer)) == b"".join(b"chunk %d;" % n + b"x" * 400_000 for n in range(40))


def test_a_failure_in_the_middle_keeps_what_was_written(functions):
    functions.deploy(STREAMER, runtime="nodejs22.x", MemorySize=1769, Timeout=60)

    event = {"chunks": 3, "failAt": 1}
    found = events(functions.client.invoke_with_response_stream(FunctionName="worker", Payload=json.dumps(event)))

    assert body(found).startswith(b"chunk 0;")
    assert json.loads(found[-1]["InvokeComplete"]["ErrorDetails"])["errorMessage"] == "in the middle"


def test_a_reader_who_leaves_keeps_nobody_from_the_function(functions):
    functions.deploy(STREAMER, runtime="nodejs22.x", MemorySize=1769, Timeout=60)
    functions.client.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=1)
    event = {"chunks": 60, "size": 400_000}
    stream = functions.client.invoke_with_response_stream(FunctionName="worker", Payload=json.dumps(event))
    next(iter(stream["EventStream"]))
    stream["EventStream"].close()

    def again():
        try:
            answer = functions.client.invoke_with_response_stream(FunctionName="worker", Payload=b'{"chunks": 1}')
        except functions.client.exceptions.TooManyRequestsException:
            return None  # the first one still runs
        return body(events(answer))

    assert eventually("the function to be free", again) == b"chunk 0;"


def test_the_javascript_sdk_reads_streams_as_well(functions):
    functions.deploy(STREAMER, "streamer", runtime="nodejs22.x", MemorySize=1769, Timeout=60)
    functions.deploy(READER, runtime="nodejs22.x", MemorySize=1769, Timeout=60)

    answer = functions.client.invoke(FunctionName="worker", Payload=b'{"name": "streamer"}')

    seen = json.load(answer["Payload"])
    assert "".join(seen[:-1]).startswith("chunk 0;")
    assert seen[-1] == "Unhandled"
