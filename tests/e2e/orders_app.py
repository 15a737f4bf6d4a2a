"""Driving the example application as its users would."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "orders"
PATIENCE = 600
"""Looks before a test gives up; each look is an exchange with a server, so this is no measure of time."""


class OrdersApp:
    """The deployed application, by its stack."""

    def __init__(self, tule, stack="orders"):
        cloudformation = tule.client("cloudformation")
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        self.outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found["Outputs"]}
        resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
        self.physical = {entry["LogicalResourceId"]: entry["PhysicalResourceId"] for entry in resources}
        self.url = f"{tule.url}/_aws/execute-api/{self.physical['Api']}/$default"
        self._tule = tule

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def place(self, item, quantity):
        status, order = self.request("POST", "/orders", {"item": item, "quantity": quantity})
        assert status == 202, order
        return order["id"]

    def fulfilled(self, order_id):
        """The order, as soon as the API shows it."""
        for _ in range(PATIENCE):
            status, order = self.request("GET", f"/orders/{order_id}")
            if status == 200:
                return order
            assert status == 404, order
            # a long poll of a queue that stays empty waits without spinning
            self._tule.client("sqs").receive_message(QueueUrl=self.outputs["RejectedQueueUrl"], WaitTimeSeconds=1)
        raise AssertionError(f"order {order_id} did not arrive")

    def rejected(self):
        """The first dead letter; each look that finds none lets 31 seconds of service time pass."""
        queue = self._tule.client("sqs")
        for _ in range(PATIENCE):
            answer = queue.receive_message(
                QueueUrl=self.outputs["RejectedQueueUrl"],
                WaitTimeSeconds=1,
                AttributeNames=["All"],
            )
            for message in answer.get("Messages", []):
                return json.loads(message["Body"])
            self._tule.advance("31s")
        raise AssertionError("no order was rejected")

    def check(self):
        """Good orders arrive, a poison order ends in the dead-letter queue, nonsense is refused."""
        orders = {self.place(item, quantity): (item, quantity) for item, quantity in (("chair", 2), ("lamp", 12))}
        for order_id, (item, quantity) in orders.items():
            order = self.fulfilled(order_id)
            assert (order["item"], order["quantity"], order["status"]) == (item, quantity, "fulfilled")
        assert self.request("POST", "/orders", {"item": "chair"})[0] == 400
        poison = self.place("ghost", -1)
        assert self.rejected()["id"] == poison
        assert self.request("GET", f"/orders/{poison}")[0] == 404


def run_tule(tule, *arguments, code=0):
    """Run a command of the command line against `tule`; gives what it printed as JSON."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-m", "tule.cli.main", *arguments, "--dir", str(tule.directory), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout if code == 0 else done.stderr)
