"""DynamoDB as boto3's users know it, against a running Tule."""

import json
from decimal import Decimal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError

from tule.testing.server import Tule


@pytest.fixture
def credentials(tule: Tule, fresh_account: str) -> dict[str, str]:
    return {
        "endpoint_url": tule.url,
        "region_name": "eu-west-1",
        "aws_access_key_id": fresh_account,
        "aws_secret_access_key": "test",
    }


@pytest.fixture
def orders(credentials: dict[str, str]):
    """A table of orders by customer, with an index by state."""
    table = boto3.resource("dynamodb", **credentials).create_table(
        TableName="orders",
        KeySchema=[
            {"AttributeName": "customer", "KeyType": "HASH"},
            {"AttributeName": "placed", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "customer", "AttributeType": "S"},
            {"AttributeName": "placed", "AttributeType": "N"},
            {"AttributeName": "progress", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-progress",
                "KeySchema": [
                    {"AttributeName": "progress", "KeyType": "HASH"},
                    {"AttributeName": "placed", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    table.wait_until_exists()
    return table


def test_items_keep_their_types(orders) -> None:
    item = {
        "customer": "ünï",
        "placed": Decimal("1.50"),
        "raw": Binary(b"\x00\xff"),
        "flags": {"a", "b"},
        "numbers": {Decimal(1), Decimal("2.5")},
        "nested": {"list": [1, None, True, {"deep": ""}]},
    }
    orders.put_item(Item=item)
    found = orders.get_item(Key={"customer": "ünï", "placed": Decimal("1.5")}, ConsistentRead=True)["Item"]
    assert found == item


def test_a_batch_writer_and_paginated_queries(orders) -> None:
    with orders.batch_writer() as batch:
        for number in range(60):
            batch.put_item(Item={"customer": f"c{number % 2}", "placed": number, "progress": "new"})
    page = orders.query(KeyConditionExpression=Key("customer").eq("c1") & Key("placed").gt(30), Limit=4)
    assert [int(item["placed"]) for item in page["Items"]] == [31, 33, 35, 37]
    paginator = orders.meta.client.get_paginator("query")
    pages = paginator.paginate(
        TableName="orders",
        IndexName="by-progress",
        KeyConditionExpression=Key("progress").eq("new"),
        FilterExpression=Attr("customer").eq("c0"),
        ScanIndexForward=False,
        PaginationConfig={"PageSize": 7},
    )
    assert [int(item["placed"]) for page in pages for item in page["Items"]] == list(range(58, -1, -2))


def test_a_counter_and_a_condition(orders) -> None:
    key = {"customer": "c", "placed": 1}
    for _ in range(3):
        answer = orders.update_item(
            Key=key,
            UpdateExpression="ADD visits :one SET #n = if_not_exists(#n, :name)",
            ExpressionAttributeNames={"#n": "name"},
            ExpressionAttributeValues={":one": 1, ":name": "first"},
            ReturnValues="UPDATED_NEW",
        )
    assert answer["Attributes"] == {"visits": 3, "name": "first"}
    with pytest.raises(orders.meta.client.exceptions.ConditionalCheckFailedException) as failed:
        orders.delete_item(
            Key=key,
            ConditionExpression=Attr("visits").lt(3),
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert failed.value.response["Error"]["Message"] == "The conditional request failed"
    assert failed.value.response["Item"]["visits"] == {"N": "3"}


def test_a_cancelled_transaction_is_told_with_its_reasons(orders) -> None:
    client = orders.meta.client
    put = {"Put": {"TableName": "orders", "Item": {"customer": "c", "placed": 1}}}
    check = {
        "ConditionCheck": {
            "TableName": "orders",
            "Key": {"customer": "x", "placed": 1},
            "ConditionExpression": "attribute_exists(customer)",
        }
    }
    with pytest.raises(client.exceptions.TransactionCanceledException) as cancelled:
        client.transact_write_items(TransactItems=[put, check])
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert "Item" not in orders.get_item(Key={"customer": "c", "placed": 1})


def test_what_is_not_built_says_so(credentials: dict[str, str]) -> None:
    client = boto3.client("dynamodb", **credentials)
    with pytest.raises(ClientError) as refused:
        client.execute_statement(Statement="SELECT * FROM orders")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "ExecuteStatement" in refused.value.response["Error"]["Message"]


def test_a_deleted_table_is_gone(orders) -> None:
    orders.delete()
    orders.wait_until_not_exists()
    assert orders.meta.client.list_tables()["TableNames"] == []


def post(credentials: dict[str, str], operation: str, body: bytes) -> tuple[int, dict]:
    """A request as no SDK would send it."""
    account = credentials["aws_access_key_id"]
    scope = f"Credential={account}/20260101/eu-west-1/dynamodb/aws4_request"
    request = Request(
        credentials["endpoint_url"],
        data=body,
        headers={
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
        },
    )
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"TableName": "orders", "Item": {"a": {"S": 1}}}, "NUMBER_VALUE cannot be converted to String"),
        ({"TableName": "orders", "Item": {"a": "b"}}, "Unexpected value type in payload"),
        ({"TableName": 1}, "NUMBER_VALUE cannot be converted to String"),
    ],
)
def test_wrong_json_types(credentials: dict[str, str], body: dict, message: str) -> None:
    status, answer = post(credentials, "PutItem", json.dumps(body).encode())
    assert status == 400
    assert answer == {"__type": "com.amazon.coral.service#SerializationException", "Message": message}


def test_error_types_are_spelled_as_on_aws(credentials: dict[str, str]) -> None:
    body = {"TableName": "nowhere", "Key": {"a": {"S": "b"}}}
    assert post(credentials, "GetItem", json.dumps(body).encode()) == (
        400,
        {
            "__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            "message": "Requested resource not found",
        },
    )
    status, answer = post(credentials, "DescribeTable", b"{}")
    assert (status, answer["__type"]) == (400, "com.amazon.coral.validate#ValidationException")


def test_a_write_whose_condition_fails_is_billed_like_the_item_it_left_alone(tule: Tule, orders) -> None:
    def used() -> int:
        return next(
            (use["units"] for use in tule.admin("usage")["meters"] if use["meter"] == "dynamodb.write_units"), 0
        )

    item = {"customer": "ada", "placed": 1, "note": "x" * 2500}
    orders.put_item(Item=item)
    before = used()
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        orders.put_item(Item={"customer": "ada", "placed": 1}, ConditionExpression="attribute_not_exists(customer)")
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        orders.delete_item(Key={"customer": "bob", "placed": 1}, ConditionExpression="attribute_exists(customer)")
    assert used() - before == 3 + 1
