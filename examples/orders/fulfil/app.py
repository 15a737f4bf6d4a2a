"""Takes orders from the queue and keeps those that can be fulfilled.

A message may come twice: the conditional put makes the second time harmless. An order that can't be fulfilled is
reported by itself, so that the rest of its batch is done with; after three receives it is in the dead-letter queue.
"""

import json
import os

import boto3

MOST = 1000

dynamodb = boto3.client("dynamodb")


class RejectedError(Exception):
    """An order that nobody can fulfil."""


def handler(event, context):
    failed = []
    for record in event["Records"]:
        try:
            fulfil(json.loads(record["body"]))
        except Exception as error:
            print(f"order in message {record['messageId']} failed: {error}")
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def fulfil(order):
    quantity = order["quantity"]
    if not 1 <= quantity <= MOST:
        raise RejectedError(f"quantity {quantity} is not between 1 and {MOST}")
    try:
        dynamodb.put_item(
            TableName=os.environ["TABLE_NAME"],
            Item={
                "id": {"S": order["id"]},
                "item": {"S": order["item"]},
                "quantity": {"N": str(quantity)},
                "status": {"S": "fulfilled"},
            },
            ConditionExpression="attribute_not_exists(id)",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        print(f"order {order['id']} was kept before")
    else:
        print(f"order {order['id']} kept")
