"""A leap of the clock returns when the work it released is done, functions included."""

import io
import json
import zipfile

from tule.testing.server import Tule

CODE = """
import boto3
def handler(event, context):
    for record in event["Records"]:
        boto3.client("dynamodb").put_item(TableName="seen", Item={"k": {"S": record["body"]}})
"""


def package() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", CODE)
    return buffer.getvalue()


def test_a_delayed_message_has_passed_its_function_when_the_leap_returns():
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    with Tule() as running:
        running.clock_pause()
        queues, functions, tables = running.client("sqs"), running.client("lambda"), running.client("dynamodb")
        role = running.client("iam").create_role(
            RoleName="r", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )["Role"]["Arn"]
        tables.create_table(
            TableName="seen",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        url = queues.create_queue(QueueName="later", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
        functions.create_function(
            FunctionName="late",
            Runtime="python3.11",
            Handler="app.handler",
            Role=role,
            Code={"ZipFile": package()},
            Timeout=30,
        )
        functions.get_waiter("function_active_v2").wait(FunctionName="late", WaiterConfig={"Delay": 1})
        functions.create_event_source_mapping(
            FunctionName="late", EventSourceArn="arn:aws:sqs:us-east-1:000000000000:later", BatchSize=1
        )
        queues.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=900)
        running.advance("14m")
        assert tables.scan(TableName="seen")["Count"] == 0
        answer = running.advance("1m")
        assert answer["settled"]
        assert tables.scan(TableName="seen")["Items"] == [{"k": {"S": "x"}}]
