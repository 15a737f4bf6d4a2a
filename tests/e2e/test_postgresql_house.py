"""The whole of Tule on PostgreSQL: services, the example, crashes of either side, and servers that are refused."""

import asyncio
import io
import itertools
import json
import os
import signal
import threading
import zipfile
from contextlib import contextmanager
from urllib.error import HTTPError

import asyncpg
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from orders_app import EXAMPLE, OrdersApp, run_tule

from tule.testing.orders import Customers, OrdersStack, audit, drain, unbalanced
from tule.testing.postgresql import PostgresServer
from tule.testing.server import Tule, TuleFailedError, free_port

pytestmark = pytest.mark.faults
numbers = itertools.count()
ROUNDS = 10 if os.environ.get("TULE_SOAK") else 1
SENDERS = 4
ENDED = 70
"""The exit code of a Tule that does not know any more what its store has."""
ANSWERS = 40
TEMPLATE = """
Resources:
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: from-template}}
Outputs:
  Url: {Value: !Ref Queue}
"""
CODE = "def handler(event, context): return {'twice': event['n'] * 2}"


@pytest.fixture(scope="module")
def cluster():
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def postgres(cluster):
    """A server that runs, whatever the test before did to it."""
    cluster.stop()
    return cluster.start()


@pytest.fixture
def house(postgres, tmp_path):
    """A Tule on a database of its own."""
    url = postgres.fresh_database(f"house_{next(numbers)}")
    with Tule(tmp_path / "home", store=url, port=free_port()) as running:
        yield running


def package(code):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", code)
    return buffer.getvalue()


def settle_in(tule):
    """Something of everything."""
    queues, tables, buckets = tule.client("sqs"), tule.client("dynamodb"), tule.client("s3")
    url = queues.create_queue(QueueName="orders")["QueueUrl"]
    queues.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": f"message {n}"} for n in range(10)])
    tables.create_table(
        TableName="things",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "k", "AttributeType": "S"},
            {"AttributeName": "s", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for number in range(30):
        tables.put_item(TableName="things", Item={"k": {"S": "a"}, "s": {"N": str(number)}, "v": {"S": "x" * 100}})
    tables.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "things", "Item": {"k": {"S": "t"}, "s": {"N": "1"}}}},
            {"Delete": {"TableName": "things", "Key": {"k": {"S": "a"}, "s": {"N": "29"}}}},
        ]
    )
    buckets.create_bucket(Bucket="attic")
    buckets.put_object(Bucket="attic", Key="small", Body=b"small")
    buckets.put_object(Bucket="attic", Key="large", Body=b"large" * 100_000)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = tule.client("iam").create_role(RoleName="runs", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    functions = tule.client("lambda")
    functions.create_function(
        FunctionName="twice", Runtime="python3.11", Handler="app.handler", Role=role, Code={"ZipFile": package(CODE)}
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="twice", WaiterConfig={"Delay": 1})
    stacks = tule.client("cloudformation")
    stacks.create_stack(StackName="stack", TemplateBody=TEMPLATE)
    stacks.get_waiter("stack_create_complete").wait(StackName="stack", WaiterConfig={"Delay": 1})


def look_around(tule):
    """What of it is there."""
    tables, buckets, queues = tule.client("dynamodb"), tule.client("s3"), tule.client("sqs")
    url = queues.get_queue_url(QueueName="orders")["QueueUrl"]
    queried = tables.query(
        TableName="things",
        KeyConditionExpression="k = :a AND s BETWEEN :low AND :high",
        ExpressionAttributeValues={":a": {"S": "a"}, ":low": {"N": "25"}, ":high": {"N": "99"}},
        ScanIndexForward=False,
    )
    (stack,) = tule.client("cloudformation").describe_stacks(StackName="stack")["Stacks"]
    answer = tule.client("lambda").invoke(FunctionName="twice", Payload=b'{"n": 21}')
    return {
        "waiting": queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][
            "ApproximateNumberOfMessages"
        ],
        "queues": [found.rpartition("/")[2] for found in queues.list_queues()["QueueUrls"]],
        "queried": [item["s"]["N"] for item in queried["Items"]],
        "counted": tables.scan(TableName="things", Select="COUNT")["Count"],
        "objects": [(entry["Key"], entry["Size"]) for entry in buckets.list_objects_v2(Bucket="attic")["Contents"]],
        "large": buckets.get_object(Bucket="attic", Key="large")["Body"].read() == b"large" * 100_000,
        "stack": stack["StackStatus"],
        "answer": json.loads(answer["Payload"].read()),
    }


EVERYTHING = {
    "waiting": "10",
    "queues": ["from-template", "orders"],
    "queried": ["28", "27", "26", "25"],
    "counted": 30,
    "objects": [("large", 500_000), ("small", 5)],
    "large": True,
    "stack": "CREATE_COMPLETE",
    "answer": {"twice": 42},
}


def test_services_work_and_keep_everything_through_a_stop_and_a_crash(house):
    settle_in(house)
    assert look_around(house) == EVERYTHING
    assert house.stop() == 0
    house.start()
    assert look_around(house) == EVERYTHING
    house.kill()
    house.start()
    assert look_around(house) == EVERYTHING
    assert unbalanced(house) == []


def test_the_example_lives_through_crashes_of_tule_and_of_the_server(house, postgres):
    run_tule(house, "deploy", str(EXAMPLE))
    OrdersApp(house).check()
    stack = OrdersStack(house)
    customers = Customers(stack)
    try:
        customers.go_to(house.port)
        for how in (signal.SIGINT, signal.SIGQUIT) * ROUNDS:
            customers.await_answers(ANSWERS)
            postgres.stop(how)
            postgres.start()
            customers.await_answers(ANSWERS)
            house.kill()
            customers.go_to(0)
            house.start()
            assert unbalanced(house) == []
            customers.go_to(house.port)
        customers.await_answers(ANSWERS)
    finally:
        told = customers.close()
    drain(house, stack)
    found = audit(house, stack, told)
    assert (told.strange, found.lost, found.poison_kept, told.poison - set(found.dead)) == ([], set(), set(), set())
    assert unbalanced(house) == []


class Senders:
    """Threads that send messages and put items, one call after the other, and note what each was told."""

    def __init__(self, tule, url):
        self.told, self.refused, self.strange = set(), [], []
        self.changed = threading.Condition()
        self.ended = False
        self.threads = [threading.Thread(target=self.send, args=(tule, url, number)) for number in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def send(self, tule, url, sender):
        queues, tables = tule.client("sqs"), tule.client("dynamodb")
        number = 0
        while not self.ended:
            number += 1
            name = f"{sender}-{number}"
            try:
                queues.send_message(QueueUrl=url, MessageBody=name)
                tables.put_item(TableName="sent", Item={"k": {"S": name}})
                tables.get_item(TableName="sent", Key={"k": {"S": name}})
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                self.note(self.refused if status == 503 else self.strange, str(error))
            except Exception as error:  # noqa: BLE001 - whatever a client may raise is judged by the test
                self.note(self.strange, repr(error))
            else:
                with self.changed:
                    self.told.add(name)
                    self.changed.notify_all()

    def note(self, kind, text):
        with self.changed:
            kind.append(text)
            self.changed.notify_all()
            # A client that is refused comes back after a moment.
            self.changed.wait(0.05)

    def wait_for(self, wanted):
        with self.changed:
            assert self.changed.wait_for(wanted, 60), (len(self.told), self.refused[-3:], self.strange[-3:])

    def wait_for_more(self):
        goal = len(self.told) + ANSWERS
        self.wait_for(lambda: len(self.told) >= goal)

    def end(self):
        self.ended = True
        for thread in self.threads:
            thread.join()


@contextmanager
def sending(tule):
    url = tule.client("sqs").create_queue(QueueName="sent")["QueueUrl"]
    tule.client("dynamodb").create_table(
        TableName="sent",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    senders = Senders(tule, url)
    try:
        yield senders
    finally:
        senders.end()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_goes_away_costs_refusals_and_nothing_else(house, postgres, how):
    pid = house.process.pid
    with sending(house) as senders:
        senders.wait_for_more()
        postgres.stop(how)
        senders.wait_for(lambda: len(senders.refused) >= SENDERS)
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            house.client("s3").list_buckets()  # a service that has to be started first
        with pytest.raises(HTTPError, match="503"):
            house.admin("ledger")
        postgres.start()
        senders.wait_for_more()
    assert house.client("s3").list_buckets()["Buckets"] == []
    assert senders.strange == []
    assert house.process.poll() is None
    assert house.admin("status")["pid"] == pid
    pages = house.client("dynamodb").get_paginator("scan").paginate(TableName="sent")
    kept = {item["k"]["S"] for page in pages for item in page["Items"]}
    assert senders.told - kept == set()
    assert senders.told - received(house) == set()
    assert unbalanced(house) == []


def received(tule):
    queues = tule.client("sqs")
    url = queues.get_queue_url(QueueName="sent")["QueueUrl"]
    bodies = []
    while messages := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=600).get(
        "Messages"
    ):
        bodies += [message["Body"] for message in messages]
    assert len(bodies) == len(set(bodies))
    return set(bodies)


def refusal(tmp_path, url):
    with pytest.raises(TuleFailedError) as refused:
        Tule(tmp_path / "refused", store=url)
    text = str(refused.value)
    assert "ended with code 1 " in text
    assert "Traceback" not in text
    return text


def test_a_second_tule_is_refused_by_the_name_of_the_first(postgres, tmp_path):
    url = postgres.fresh_database("shared")
    with Tule(tmp_path / "first", store=url) as first:
        assert f"in use by the process {first.process.pid} on " in refusal(tmp_path, url)
        first.client("sqs").create_queue(QueueName="still-here")
    with Tule(tmp_path / "second", store=url) as second:
        assert second.client("sqs").list_queues()["QueueUrls"]


async def end_sessions(url):
    """What a server does to sessions that it has given up: end them, and with them the owner's lock."""
    name = url.partition("///")[2].partition("?")[0]
    admin = await asyncpg.connect(url.replace(f"///{name}?", "///postgres?"))
    alive = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1"
    while await admin.fetchval(alive, name):
        pass
    await admin.close()


def test_a_tule_that_slept_through_the_loss_of_its_store_writes_no_more(postgres, tmp_path):
    url = postgres.fresh_database("slept")
    with Tule(tmp_path / "first", store=url) as first:
        first.client("sqs").create_queue(QueueName="made-by-the-first")
        first.process.send_signal(signal.SIGSTOP)
        asyncio.run(end_sessions(url))
        with Tule(tmp_path / "second", store=url) as second:
            second.client("sqs").create_queue(QueueName="made-by-the-second")
            first.process.send_signal(signal.SIGCONT)
            with pytest.raises((ClientError, ConnectionClosedError)):
                first.client("sqs").create_queue(QueueName="too-late")
            assert first.process.wait() == ENDED
            assert "Another Tule has taken this store over" in first.output()
            names = [found.rpartition("/")[2] for found in second.client("sqs").list_queues()["QueueUrls"]]
    assert names == ["made-by-the-first", "made-by-the-second"]


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit"])
def test_a_server_that_may_forget_is_refused(tmp_path, setting):
    careless = PostgresServer().start(**{setting: "off"})
    try:
        text = refusal(tmp_path, careless.url)
    finally:
        careless.remove()
    assert f"Set {setting} = on in postgresql.conf" in text


def test_a_server_that_is_not_there_is_named(postgres, tmp_path):
    assert "PostgreSQL can't be reached" in refusal(tmp_path, f"postgresql:///tule?host={tmp_path}")
    assert 'database "nowhere" does not exist' in refusal(tmp_path, postgres.database_url("nowhere"))
    assert "--store can't be used" in refusal(tmp_path, "postgresql://localhost:port/tule")


def test_reset_leaves_an_empty_house(house):
    settle_in(house)
    assert run_tule(house, "reset", "--yes") == {"reset": True}
    assert "QueueUrls" not in house.client("sqs").list_queues()
    assert house.client("dynamodb").list_tables()["TableNames"] == []
    url = house.client("sqs").create_queue(QueueName="after")["QueueUrl"]
    assert "MessageId" in house.client("sqs").send_message(QueueUrl=url, MessageBody="m")
