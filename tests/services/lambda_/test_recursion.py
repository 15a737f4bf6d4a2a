"""Loops: a chain of requests passes 16 times through a function, then it is stopped, unless the function may loop."""

import json

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from patience import eventually, first_message

from conftest import Functions
from tule.services.lambda_ import lineage
from tule.testing.server import Tule

CALLER = """
    import boto3, json, os
    from botocore.config import Config

    def handler(event, context):
        n = event["n"]
        if n >= event.get("until", 100):
            return {"hops": n, "end": "reached"}
        names = event.get("names") or [context.function_name]
        client = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}, read_timeout=60))
        try:
            answer = client.invoke(
                FunctionName=names[(n + 1) % len(names)], Payload=json.dumps({**event, "n": n + 1})
            )
        except client.exceptions.RecursiveInvocationException as error:
            return {"hops": n, "end": error.response["Error"]["Code"],
                    "status": error.response["ResponseMetadata"]["HTTPStatusCode"]}
        return json.load(answer["Payload"])
"""

NODE_CALLER = """
    import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
    const client = new LambdaClient({ maxAttempts: 1 });

    export const handler = async (event, context) => {
        const Payload = JSON.stringify({ n: event.n + 1 });
        try {
            const answer = await client.send(new InvokeCommand({ FunctionName: context.functionName, Payload }));
            return JSON.parse(answer.Payload.transformToString());
        } catch (error) {
            return { hops: event.n, end: error.name, status: error.$metadata?.httpStatusCode };
        }
    };
"""

SENDER = """
    import boto3, json

    def handler(event, context):
        if "Records" in event:
            n = max(json.loads(record["body"])["n"] for record in event["Records"])
        else:
            n = event["n"]
        sqs = boto3.client("sqs")
        url = sqs.get_queue_url(QueueName="seen")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
        if "Records" in event:
            loop = sqs.get_queue_url(QueueName="loop")["QueueUrl"]
            sqs.send_message(QueueUrl=loop, MessageBody=json.dumps({"n": n + 1}))
        else:
            boto3.client("lambda").invoke(
                FunctionName=context.function_name, InvocationType="Event", Payload=json.dumps({"n": n + 1})
            )
"""


@pytest.fixture
def sqs(tule, fresh_account):
    return tule.client("sqs", account=fresh_account)


def queue(sqs, name, **attributes):
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def numbers_seen(sqs, url, count):
    return sorted(int(first_message(sqs, url)["Body"]) for _ in range(count))


def delivered(tule, hop):
    return next(line["fates"].get("delivered", 0) for line in tule.admin("ledger")["hops"] if line["hop"] == hop)


def test_a_function_that_calls_itself_is_stopped_after_sixteen_hops(functions):
    functions.deploy(CALLER, Timeout=60)

    answer = functions.client.invoke(FunctionName="worker", Payload=b'{"n": 1}')

    assert json.load(answer["Payload"]) == {"hops": 16, "end": "RecursiveInvocationException", "status": 400}


def test_the_javascript_sdk_hands_the_chain_on_as_well(functions):
    functions.deploy(NODE_CALLER, runtime="nodejs22.x", Timeout=120)

    answer = functions.client.invoke(FunctionName="worker", Payload=b'{"n": 1}')

    assert json.load(answer["Payload"]) == {"hops": 16, "end": "RecursiveInvocationException", "status": 400}


def test_a_loop_over_two_functions_is_stopped_too(functions):
    functions.deploy(CALLER, "ping", Timeout=60)
    functions.deploy(CALLER, "pong", Timeout=60)

    event = {"n": 1, "names": ["ping", "pong"]}
    answer = functions.client.invoke(FunctionName="pong", Payload=json.dumps(event))

    assert json.load(answer["Payload"])["hops"] == 32


def test_a_function_that_may_loop_loops(functions):
    functions.deploy(CALLER, Timeout=60)
    config = functions.client.put_function_recursion_config(FunctionName="worker", RecursiveLoop="Allow")
    assert config["RecursiveLoop"] == "Allow"

    answer = functions.client.invoke(FunctionName="worker", Payload=b'{"n": 1, "until": 18}')

    assert json.load(answer["Payload"]) == {"hops": 18, "end": "reached"}
    functions.client.put_function_recursion_config(FunctionName="worker", RecursiveLoop="Terminate")
    answer = functions.client.invoke(FunctionName="worker", Payload=b'{"n": 1, "until": 18}')
    assert json.load(answer["Payload"])["hops"] == 16


def test_calls_of_their_own_are_no_loop(functions):
    functions.deploy(CALLER, Timeout=60)

    for _ in range(18):
        answer = functions.client.invoke(FunctionName="worker", Payload=b'{"n": 1, "until": 1}')
        assert json.load(answer["Payload"])["end"] == "reached"


def test_an_event_in_a_loop_goes_to_the_dead_letter_queue_and_the_destination(functions, sqs):
    seen, _ = queue(sqs, "seen")
    dead, dead_arn = queue(sqs, "dead")
    bad, bad_arn = queue(sqs, "bad")
    functions.deploy(SENDER, Timeout=60, DeadLetterConfig={"TargetArn": dead_arn})
    functions.client.put_function_event_invoke_config(
        FunctionName="worker", DestinationConfig={"OnFailure": {"Destination": bad_arn}}
    )

    functions.client.invoke(FunctionName="worker", InvocationType="Event", Payload=b'{"n": 1}')

    letter = first_message(sqs, dead, MessageAttributeNames=["All"])
    assert json.loads(letter["Body"]) == {"n": 17}
    assert letter["MessageAttributes"]["ErrorCode"]["StringValue"] == "400"
    assert "recursive loop" in letter["MessageAttributes"]["ErrorMessage"]["StringValue"]
    record = json.loads(first_message(sqs, bad)["Body"])
    assert record["requestPayload"] == {"n": 17}
    assert record["requestContext"]["condition"] == "RecursiveInvocation"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert numbers_seen(sqs, seen, 16) == list(range(1, 17))


def test_a_loop_through_a_queue_ends_in_its_redrive_policy(fresh_account):
    with Tule() as running:
        sqs = running.client("sqs", account=fresh_account)
        functions = Functions(running.client("lambda", account=fresh_account))
        seen, _ = queue(sqs, "seen")
        dead, dead_arn = queue(sqs, "dead")
        policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1})
        loop, loop_arn = queue(sqs, "loop", VisibilityTimeout="60", RedrivePolicy=policy)
        functions.deploy(SENDER, Timeout=60)
        functions.client.create_event_source_mapping(FunctionName="worker", EventSourceArn=loop_arn, BatchSize=1)

        sqs.send_message(QueueUrl=loop, MessageBody='{"n": 1}')

        assert numbers_seen(sqs, seen, 16) == list(range(1, 17))
        eventually("sixteen messages to be done with", lambda: delivered(running, "sqs:loop") == 16 or None)
        running.clock_pause()

        def dead_letter():
            running.advance("30s")
            return next(iter(sqs.receive_message(QueueUrl=dead).get("Messages", [])), None)

        assert json.loads(eventually("a dead letter", dead_letter)["Body"]) == {"n": 17}
        assert "Messages" not in sqs.receive_message(QueueUrl=seen)


def test_an_unknown_setting_is_refused_in_awss_words(functions):
    functions.deploy(CALLER)

    with pytest.raises(ClientError) as caught:
        functions.client.put_function_recursion_config(FunctionName="worker", RecursiveLoop="InvalidValue")

    assert caught.value.response["Error"]["Message"].startswith(
        "1 validation error detected: Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: "
    )


def test_a_stack_may_let_its_function_loop(functions, tule, fresh_account):
    def template(**more):
        properties = {
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": f"arn:aws:iam::{fresh_account}:role/worker",
            "FunctionName": "worker",
            "Code": {"ZipFile": "def handler(event, context):\n    return 1\n"},
            **more,
        }
        return json.dumps({"Resources": {"Worker": {"Type": "AWS::Lambda::Function", "Properties": properties}}})

    stacks = tule.client("cloudformation", account=fresh_account)
    patient = {"Delay": 0.1, "MaxAttempts": 600}

    stacks.create_stack(StackName="loops", TemplateBody=template(RecursiveLoop="Allow"))
    stacks.get_waiter("stack_create_complete").wait(StackName="loops", WaiterConfig=patient)
    assert functions.client.get_function_recursion_config(FunctionName="worker")["RecursiveLoop"] == "Allow"
    stacks.update_stack(StackName="loops", TemplateBody=template())
    stacks.get_waiter("stack_update_complete").wait(StackName="loops", WaiterConfig=patient)
    assert functions.client.get_function_recursion_config(FunctionName="worker")["RecursiveLoop"] == "Terminate"


# -- the lineage

ARNS = st.sampled_from([f"arn:aws:lambda:us-east-1:000000000000:function:f{n}" for n in range(6)])


@given(st.lists(ARNS, max_size=60))
def test_a_lineage_counts_each_functions_passes(chain):
    past = ""
    for arn in chain:
        past = lineage.advanced(past, lineage.mark(arn))

    for arn in set(chain):
        assert lineage.passes(past, lineage.mark(arn)) == chain.count(arn)


def test_a_lineage_remembers_the_latest_functions():
    past = ""
    for n in range(100):
        past = lineage.advanced(past, lineage.mark(f"f{n}"))

    assert lineage.passes(past, lineage.mark("f99")) == 1
    assert lineage.passes(past, lineage.mark("f0")) == 0
    assert len(past) < 1_000


@given(st.text(max_size=60))
def test_no_header_breaks_the_guard(text):
    assert lineage.passes(text, "a87bd80c") >= 0
    assert lineage.passes(lineage.advanced(text, "a87bd80c"), "a87bd80c") >= 1


@pytest.mark.parametrize("written", ["a87bd80c:2|68fd508a:5", "a87bd80c:2%7C68fd508a:5", "a87bd80c:2,68fd508a:5"])
def test_every_notation_is_read(written):
    assert lineage.passes(written, "68fd508a") == 5
    assert lineage.of_header(f"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;Lineage={written}") == written


def test_together_the_longest_chain_counts():
    assert lineage.passes(lineage.merged(["aaaaaaaa:3,bbbbbbbb:1", "aaaaaaaa:7"]), "aaaaaaaa") == 7
