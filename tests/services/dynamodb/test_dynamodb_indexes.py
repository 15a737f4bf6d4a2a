"""Indexes that are added to and taken from a table that exists."""

from dynamodb_cloud import Cloud

ITEMS = 450


def change(cloud: Cloud, **update) -> dict:
    return cloud(
        "UpdateTable",
        TableName="things",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "g", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexUpdates=[update],
    )["TableDescription"]


def groups(cloud: Cloud) -> dict:
    (described,) = cloud("DescribeTable", TableName="things")["Table"]["GlobalSecondaryIndexes"]
    return described


CREATE = {
    "IndexName": "groups",
    "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}


def test_an_index_is_filled_with_what_was_there(cloud: Cloud) -> None:
    cloud.table()
    for start in range(0, ITEMS, 25):
        cloud(
            "BatchWriteItem",
            RequestItems={
                "things": [
                    {"PutRequest": {"Item": {"pk": {"S": f"p{n}"}, "g": {"S": "old"} if n % 9 else {"N": "1"}}}}
                    for n in range(start, start + 25)
                ]
            },
        )
    change(cloud, Create=CREATE)
    cloud("DeleteItem", TableName="things", Key={"pk": {"S": "p1"}})
    cloud.put("things", pk={"S": "p2"}, g={"S": "new"})
    cloud.put("things", pk={"S": "fresh"}, g={"S": "new"})
    cloud.advance(1)
    told = groups(cloud)
    assert told["IndexStatus"] == "ACTIVE"
    assert told["ItemCount"] == ITEMS - 50 - 1 + 1
    found = cloud("Scan", TableName="things", IndexName="groups")["Items"]
    assert len(found) == told["ItemCount"]
    assert {item["pk"]["S"] for item in found if item["g"]["S"] == "new"} == {"p2", "fresh"}
    for number in range(ITEMS):
        cloud("DeleteItem", TableName="things", Key={"pk": {"S": f"p{number}"}})
    assert groups(cloud)["ItemCount"] == 1


def test_a_deleted_index_is_gone_and_its_name_free(cloud: Cloud) -> None:
    cloud.table()
    cloud.put("things", pk={"S": "a"}, g={"S": "x"})
    change(cloud, Create=CREATE)
    assert "already exists" in cloud.refused(
        "UpdateTable", TableName="things", GlobalSecondaryIndexUpdates=[{"Create": CREATE}]
    )
    cloud.advance(1)
    assert "GlobalSecondaryIndexes" not in change(cloud, Delete={"IndexName": "groups"})
    definitions = cloud("DescribeTable", TableName="things")["Table"]["AttributeDefinitions"]
    assert definitions == [{"AttributeName": "pk", "AttributeType": "S"}]
    assert cloud.refused("Scan", TableName="things", IndexName="groups") == (
        "The table does not have the specified index: groups"
    )
    cloud("UpdateItem", TableName="things", Key={"pk": {"S": "a"}}, UpdateExpression="REMOVE g")
    change(cloud, Create=CREATE)
    cloud.advance(1)
    assert cloud("Scan", TableName="things", IndexName="groups")["Items"] == []
    assert groups(cloud)["ItemCount"] == 0
