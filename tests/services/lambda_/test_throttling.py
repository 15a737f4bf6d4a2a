"""Concurrency and pace: what AWS answers, and how reservations and provisioned instances share an account."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tule.services.lambda_ import limits
from tule.services.lambda_.throttling import AccountGate, FunctionGate, TooManyRequestsError

WAITS_FOR_A_MESSAGE = """
    import boto3

    def handler(event, context):
        sqs = boto3.client("sqs")
        sqs.send_message(QueueUrl=event["entered"], MessageBody="entered")
        while not sqs.receive_message(QueueUrl=event["leave"], WaitTimeSeconds=5).get("Messages"):
            pass
"""


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def account():
    return AccountGate()


@pytest.fixture
def gate(account, hand):
    return FunctionGate(account, hand)


def refusal(enter):
    with pytest.raises(TooManyRequestsError) as told:
        enter()
    return told.value.members["Reason"]


def fill(gate, count):
    for _ in range(count):
        gate.enter(paced=False)


def test_an_account_runs_a_thousand_at_once(account, gate, hand):
    other = FunctionGate(account, hand)
    fill(gate, 600)
    fill(other, limits.ACCOUNT_CONCURRENCY - 600)
    assert refusal(gate.enter) == refusal(other.enter) == "ConcurrentInvocationLimitExceeded"
    other.leave()
    gate.enter()


def test_a_reservation_is_kept_free_and_kept_to(account, gate, hand):
    other = FunctionGate(account, hand)
    gate.reserve(100)
    fill(other, 900)
    assert refusal(other.enter) == "ConcurrentInvocationLimitExceeded"
    fill(gate, 100)
    assert refusal(gate.enter) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    gate.reserve(None)
    assert account.running == 1000
    for _ in range(100):
        gate.leave()
    assert account.running == 900


def test_provisioned_instances_are_the_functions_own(account, gate, hand):
    other = FunctionGate(account, hand)
    fill(gate, 30)
    gate.provision(50)
    assert (account.running, account.reserved) == (0, 50)
    fill(other, 950)
    assert refusal(other.enter) == "ConcurrentInvocationLimitExceeded"
    fill(gate, 20)
    assert refusal(gate.enter) == "ConcurrentInvocationLimitExceeded"  # what spills over is on demand
    other.leave()
    gate.enter()
    for _ in range(51):
        gate.leave()
    assert account.running == 949
    gate.provision(0)
    assert (account.running, account.reserved) == (949, 0)


def test_provisioned_instances_are_part_of_a_reservation(account, gate):
    gate.reserve(10)
    gate.provision(10)
    assert account.reserved == 10
    fill(gate, 10)
    assert refusal(gate.enter) == "ReservedFunctionConcurrentInvocationLimitExceeded"


@pytest.mark.parametrize(
    ("reservation", "rate", "reason"),
    [
        (None, 10_000, "FunctionInvocationRateLimitExceeded"),
        (3, 30, "ReservedFunctionInvocationRateLimitExceeded"),
    ],
)
def test_a_second_has_ten_synchronous_invocations_for_each_instance(gate, hand, reservation, rate, reason):
    gate.reserve(reservation)

    def once():
        gate.enter()
        gate.leave()

    for _ in range(rate):
        once()
    assert refusal(once) == reason
    fill(gate, 1)  # a queued event is bound by concurrency alone
    gate.leave()
    hand.now_s += 0.5
    for _ in range(rate // 2):
        once()
    assert refusal(once) == reason


def test_a_refused_invocation_takes_no_place(account, gate, hand):
    gate.reserve(0)
    assert refusal(gate.enter) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    gate.reserve(None)
    for _ in range(10_000):
        gate.enter()
        gate.leave()
    assert refusal(gate.enter) == "FunctionInvocationRateLimitExceeded"
    assert account.running == gate.running == 0


def test_the_second_of_one_reserved_is_told_why(tule, fresh_account, functions):
    functions.deploy(WAITS_FOR_A_MESSAGE, Timeout=60)
    functions.client.put_function_concurrency(FunctionName="worker", ReservedConcurrentExecutions=1)
    sqs = tule.client("sqs", fresh_account)
    entered, leave = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("entered", "leave"))
    event = json.dumps({"entered": entered, "leave": leave})
    with ThreadPoolExecutor() as threads:
        first = threads.submit(functions.client.invoke, FunctionName="worker", Payload=event)
        while not sqs.receive_message(QueueUrl=entered, WaitTimeSeconds=5).get("Messages"):
            assert not first.done(), first.result()
        with pytest.raises(ClientError) as told:
            functions.client.invoke(FunctionName="worker", Payload=event)
        sqs.send_message(QueueUrl=leave, MessageBody="leave")
        assert "FunctionError" not in first.result()
    for client in (sqs, functions.client):
        client.close()  # two threads had a connection each: nothing else would close the second
    answer = told.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answer["Error"] == {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
    assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert answer["Type"] == "User"
