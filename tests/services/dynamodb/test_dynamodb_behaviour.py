"""What DynamoDB does over time and in figures: expiry, capacity, life cycle, pages, tags, old parameters."""

import pytest
from dynamodb_cloud import Cloud

DAY_MS = 86_400_000


def index(name: str, *names: str, **projection) -> dict:
    kinds = zip(names, ("HASH", "RANGE"), strict=False)
    return {
        "IndexName": name,
        "KeySchema": [{"AttributeName": key, "KeyType": kind} for key, kind in kinds],
        "Projection": projection or {"ProjectionType": "ALL"},
    }


def test_items_expire_when_their_time_comes(cloud: Cloud) -> None:
    cloud.table("things", definitions=[{"AttributeName": "g", "AttributeType": "S"}],
                GlobalSecondaryIndexes=[index("groups", "g")])  # fmt: skip
    now = int(cloud("DescribeTable", TableName="things")["Table"]["CreationDateTime"])

    def put(name: str, **more) -> None:
        cloud.put("things", pk={"S": name}, g={"S": "all"}, **more)

    put("before", until={"N": str(now + 3600)})
    specification = {"Enabled": True, "AttributeName": "until"}
    cloud("UpdateTimeToLive", TableName="things", TimeToLiveSpecification=specification)
    told = cloud("DescribeTimeToLive", TableName="things")["TimeToLiveDescription"]
    assert told == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
    put("soon", until={"N": str(now + 3600)})
    put("later", until={"N": str(now + 3 * 86400)})
    put("kept", until={"S": str(now + 3600)})
    put("renewed", until={"N": str(now + 3600)})
    put("renewed", until={"N": str(now + 3 * 86400)})
    put("freed", until={"N": str(now + 3600)})
    put("freed")
    cloud.advance(DAY_MS)
    left = {item["pk"]["S"] for item in cloud("Scan", TableName="things", IndexName="groups")["Items"]}
    assert left == {"later", "kept", "renewed", "freed"}
    assert cloud("DescribeTable", TableName="things")["Table"]["ItemCount"] == 4
    assert cloud.refused("UpdateTimeToLive", TableName="things", TimeToLiveSpecification=specification) == (
        "TimeToLive is already enabled"
    )


def test_time_to_live_changes_once_an_hour(cloud: Cloud) -> None:
    cloud.table()
    on = {"Enabled": True, "AttributeName": "until"}
    off = {"Enabled": False, "AttributeName": "until"}
    assert cloud.refused("UpdateTimeToLive", TableName="things", TimeToLiveSpecification=off) == (
        "TimeToLive is already disabled"
    )
    cloud("UpdateTimeToLive", TableName="things", TimeToLiveSpecification=on)
    assert cloud.refused("UpdateTimeToLive", TableName="things", TimeToLiveSpecification=off) == (
        "Time to live has been modified multiple times within a fixed interval"
    )
    cloud.advance(3_600_000)
    cloud("UpdateTimeToLive", TableName="things", TimeToLiveSpecification=off)
    told = cloud("DescribeTimeToLive", TableName="things")["TimeToLiveDescription"]
    assert told == {"TimeToLiveStatus": "DISABLED"}


def test_a_table_made_again_is_empty(cloud: Cloud) -> None:
    cloud.table(sort="sk:N")
    for number in range(30):
        cloud.put("things", pk={"S": "a"}, sk={"N": str(number)})
    assert cloud("DeleteTable", TableName="things")["TableDescription"]["TableStatus"] == "DELETING"
    assert cloud.refusal("DescribeTable", TableName="things").error_code == "ResourceNotFoundException"
    cloud.table(sort="sk:N")
    assert cloud("Scan", TableName="things")["Items"] == []
    assert cloud("DescribeTable", TableName="things")["Table"]["ItemCount"] == 0


def test_a_protected_table_stays(cloud: Cloud) -> None:
    cloud.table(DeletionProtectionEnabled=True)
    assert "protected against deletion" in cloud.refused("DeleteTable", TableName="things")
    cloud("UpdateTable", TableName="things", DeletionProtectionEnabled=False)
    cloud("DeleteTable", TableName="things")
    assert cloud("ListTables")["TableNames"] == []


def test_tables_are_listed_in_pages(cloud: Cloud) -> None:
    for name in ("ccc", "aaa", "bbb"):
        cloud.table(name)
    first = cloud("ListTables", Limit=2)
    assert first == {"TableNames": ["aaa", "bbb"], "LastEvaluatedTableName": "bbb"}
    assert cloud("ListTables", ExclusiveStartTableName="bbb") == {"TableNames": ["ccc"]}


def test_throughput_can_be_changed(cloud: Cloud) -> None:
    cloud.table()
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    cloud("UpdateTable", TableName="things", BillingMode="PROVISIONED", ProvisionedThroughput=units)
    table = cloud("DescribeTable", TableName="things")["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PROVISIONED"
    assert table["ProvisionedThroughput"]["ReadCapacityUnits"] == 5
    assert cloud.refused("UpdateTable", TableName="things", ProvisionedThroughput=units).startswith(
        "The provisioned throughput for the table will not change."
    )


CAPACITY = [
    ("PutItem", {"Item": {"pk": {"S": "a"}, "v": {"S": "x" * 1500}}}, 2.0),
    ("PutItem", {"Item": {"pk": {"S": "big"}}}, 4.0),
    ("GetItem", {"Key": {"pk": {"S": "big"}}}, 0.5),
    ("GetItem", {"Key": {"pk": {"S": "big"}}, "ConsistentRead": True}, 1.0),
    ("GetItem", {"Key": {"pk": {"S": "huge"}}, "ConsistentRead": True}, 3.0),
    ("GetItem", {"Key": {"pk": {"S": "absent"}}}, 0.5),
    ("DeleteItem", {"Key": {"pk": {"S": "absent"}}}, 1.0),
    ("DeleteItem", {"Key": {"pk": {"S": "huge"}}}, 10.0),
    ("Scan", {}, 2.0),
    ("Scan", {"ConsistentRead": True}, 4.0),
    (
        "UpdateItem",
        {
            "Key": {"pk": {"S": "big"}},
            "UpdateExpression": "SET w = :w",
            "ExpressionAttributeValues": {":w": {"N": "1"}},
        },
        4.0,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "request_", "units"), CAPACITY)
def test_capacity(cloud: Cloud, operation: str, request_: dict, units: float) -> None:
    cloud.table()
    cloud.put("things", pk={"S": "big"}, v={"S": "x" * 3500})
    cloud.put("things", pk={"S": "huge"}, v={"S": "x" * 10_000})
    answer = cloud(operation, TableName="things", ReturnConsumedCapacity="TOTAL", **request_)
    assert answer["ConsumedCapacity"] == {"TableName": "things", "CapacityUnits": units}


def test_capacity_of_indexes(cloud: Cloud) -> None:
    cloud.table("things", definitions=[{"AttributeName": "g", "AttributeType": "S"}],
                GlobalSecondaryIndexes=[index("all", "g"), index("keys", "g", ProjectionType="KEYS_ONLY")])  # fmt: skip

    def put(**item) -> dict:
        answer = cloud("PutItem", TableName="things", Item=item, ReturnConsumedCapacity="INDEXES")
        return answer["ConsumedCapacity"]

    first = put(pk={"S": "a"}, g={"S": "one"}, v={"S": "x" * 1500})
    assert first["CapacityUnits"] == 5.0
    assert first["Table"] == {"CapacityUnits": 2.0}
    assert first["GlobalSecondaryIndexes"] == {"all": {"CapacityUnits": 2.0}, "keys": {"CapacityUnits": 1.0}}
    moved = put(pk={"S": "a"}, g={"S": "two"}, v={"S": "x" * 1500})
    assert moved["GlobalSecondaryIndexes"] == {"all": {"CapacityUnits": 4.0}, "keys": {"CapacityUnits": 2.0}}
    content = put(pk={"S": "a"}, g={"S": "two"}, v={"S": "y"})
    assert content["GlobalSecondaryIndexes"] == {"all": {"CapacityUnits": 2.0}}


def test_pages_end_at_a_megabyte(cloud: Cloud) -> None:
    cloud.table(sort="sk:N")
    for number in range(7):
        cloud.put("things", pk={"S": "a"}, sk={"N": str(number)}, v={"S": "x" * 300_000})
    request = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "a"}}}
    first = cloud("Query", TableName="things", **request)
    assert first["Count"] == 3
    assert first["LastEvaluatedKey"] == {"pk": {"S": "a"}, "sk": {"N": "2"}}
    counted = cloud("Query", TableName="things", Select="COUNT", ExclusiveStartKey=first["LastEvaluatedKey"], **request)
    assert "Items" not in counted
    assert counted["Count"] == 3


RETURNED = [
    ("ALL_OLD", {"pk": {"S": "a"}, "m": {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}, "n": {"N": "5"}}),
    ("ALL_NEW", {"pk": {"S": "a"}, "m": {"M": {"x": {"N": "9"}, "y": {"N": "2"}}}, "n": {"N": "14"}}),
    ("UPDATED_OLD", {"m": {"M": {"x": {"N": "1"}}}, "n": {"N": "5"}}),
    ("UPDATED_NEW", {"m": {"M": {"x": {"N": "9"}}}, "n": {"N": "14"}}),
    ("NONE", None),
]


@pytest.mark.parametrize(("wanted", "attributes"), RETURNED)
def test_return_values(cloud: Cloud, wanted: str, attributes: dict | None) -> None:
    cloud.table()
    cloud.put("things", pk={"S": "a"}, m={"M": {"x": {"N": "1"}, "y": {"N": "2"}}}, n={"N": "5"})
    answer = cloud(
        "UpdateItem",
        TableName="things",
        Key={"pk": {"S": "a"}},
        UpdateExpression="SET m.x = :v ADD n :v",
        ExpressionAttributeValues={":v": {"N": "9"}},
        ReturnValues=wanted,
    )
    assert answer.get("Attributes") == attributes


def test_parameters_from_before_expressions(cloud: Cloud) -> None:
    cloud.table(sort="sk:N")
    one = {"pk": {"S": "a"}, "sk": {"N": "1"}}
    cloud.put("things", **one, n={"N": "5"}, tags={"SS": ["x", "y"]})
    cloud(
        "UpdateItem",
        TableName="things",
        Key=one,
        Expected={"n": {"ComparisonOperator": "GE", "AttributeValueList": [{"N": "5"}]}},
        AttributeUpdates={
            "n": {"Action": "ADD", "Value": {"N": "2"}},
            "tags": {"Action": "DELETE", "Value": {"SS": ["x"]}},
            "v": {"Value": {"S": "new"}},
            "gone": {"Action": "DELETE"},
        },
    )
    found = cloud(
        "Query",
        TableName="things",
        KeyConditions={
            "pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]},
            "sk": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [{"N": "0"}, {"N": "2"}]},
        },
        QueryFilter={"tags": {"ComparisonOperator": "NOT_CONTAINS", "AttributeValueList": [{"S": "x"}]}},
        AttributesToGet=["n", "tags", "v"],
    )
    assert found["Items"] == [{"n": {"N": "7"}, "tags": {"SS": ["y"]}, "v": {"S": "new"}}]
    refused = cloud.refusal("PutItem", TableName="things", Item=one, Expected={"pk": {"Exists": False}})
    assert refused.error_code == "ConditionalCheckFailedException"


def test_a_transaction_with_a_token_happens_once(cloud: Cloud) -> None:
    cloud.table()
    change = {
        "TableName": "things",
        "Key": {"pk": {"S": "a"}},
        "UpdateExpression": "ADD n :n",
        "ExpressionAttributeValues": {":n": {"N": "1"}},
    }
    for _ in range(2):
        cloud("TransactWriteItems", TransactItems=[{"Update": change}], ClientRequestToken="once")
    got = cloud("TransactGetItems", TransactItems=[{"Get": {"TableName": "things", "Key": {"pk": {"S": "a"}}}}])
    assert got["Responses"][0]["Item"]["n"] == {"N": "1"}
    other = {"TransactItems": [{"Delete": {"TableName": "things", "Key": {"pk": {"S": "a"}}}}]}
    refused = cloud.refusal("TransactWriteItems", ClientRequestToken="once", **other)
    assert refused.error_code == "IdempotentParameterMismatchException"
    cloud.advance(600_000)
    cloud("TransactWriteItems", TransactItems=[{"Update": change}], ClientRequestToken="once")
    assert cloud("GetItem", TableName="things", Key={"pk": {"S": "a"}})["Item"]["n"] == {"N": "2"}


def test_tags(cloud: Cloud) -> None:
    cloud.table(Tags=[{"Key": "a", "Value": "1"}])
    arn = cloud("DescribeTable", TableName="things")["Table"]["TableArn"]
    cloud("TagResource", ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    cloud("UntagResource", ResourceArn=arn, TagKeys=["a"])
    assert cloud("ListTagsOfResource", ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert cloud.refused("TagResource", ResourceArn=arn, Tags=[]) == "Atleast one Tag needs to be provided as Input."
    assert cloud.refusal("ListTagsOfResource", ResourceArn="nothing").error_code == "AccessDeniedException"
    assert cloud.refused("ListTagsOfResource", ResourceArn=arn + "s") == (
        f"Requested resource not found: ResourcArn: {arn}s not found"
    )


def test_long_keys_find_their_items(cloud: Cloud) -> None:
    cloud.table(sort="sk:B", definitions=[{"AttributeName": "g", "AttributeType": "B"}],
                GlobalSecondaryIndexes=[index("groups", "g", "sk")])  # fmt: skip
    zeros = "A" * 1364 + "AA=="
    item = {"pk": {"S": "\0" * 2048}, "sk": {"B": zeros}, "g": {"B": "A" * 2728 + "AAA="}}
    cloud("PutItem", TableName="things", Item=item)
    key = {name: item[name] for name in ("pk", "sk")}
    assert cloud("GetItem", TableName="things", Key=key)["Item"] == item
    found = cloud(
        "Query",
        TableName="things",
        IndexName="groups",
        KeyConditionExpression="g = :g AND begins_with(sk, :s)",
        ExpressionAttributeValues={":g": item["g"], ":s": {"B": "AAAA"}},
    )
    assert found["Items"] == [item]


def test_a_table_may_be_named_by_its_arn(cloud: Cloud) -> None:
    cloud.table()
    arn = cloud("DescribeTable", TableName="things")["Table"]["TableArn"]
    cloud("PutItem", TableName=arn, Item={"pk": {"S": "a"}})
    assert cloud("GetItem", TableName="things", Key={"pk": {"S": "a"}})["Item"] == {"pk": {"S": "a"}}
