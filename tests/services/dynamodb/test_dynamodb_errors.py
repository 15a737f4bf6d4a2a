"""What DynamoDB says when it refuses: types, texts, and which of several mistakes is told."""

import pytest
from dynamodb_cloud import Cloud, Engines

from tule.kernel.errors import OperationNotImplementedError

ENVELOPE = "1 validation error detected: "
INVALID = "One or more parameter values were invalid: "
NO_MATCH = "The provided key element does not match the schema"
KEY = {"pk": {"S": "a"}, "sk": {"N": "1"}}
VALUE = {":v": {"S": "x"}}


@pytest.fixture(scope="module")
def stocked(engines: Engines) -> Cloud:
    """One table with indexes and one item, which no test here changes."""
    cloud = engines.cloud()
    cloud.table(
        "things",
        sort="sk:N",
        definitions=[{"AttributeName": "g", "AttributeType": "S"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "groups",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    cloud.put("things", **KEY, v={"S": "here"}, n={"N": "1"})
    return cloud


WRITES = [
    ("PutItem", {}, f"{ENVELOPE}Value null at 'item' failed to satisfy constraint: Member must not be null"),
    (
        "PutItem",
        {"Item": KEY, "ReturnValues": "ALL_NEW"},
        f"{ENVELOPE}ReturnValues can only be ALL_OLD or NONE",
    ),
    (
        "PutItem",
        {"Item": KEY, "ReturnValues": "WRONG"},
        (f"{ENVELOPE}Failed to satisfy constraint: Member must satisfy enum value set: "
        "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"),
    ),
    (
        "PutItem",
        {"Item": KEY, "ReturnConsumedCapacity": "SOME"},
        (f"{ENVELOPE}Value 'SOME' at 'returnConsumedCapacity' failed to satisfy constraint: "
        "Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"),
    ),
    ("PutItem", {"Item": {"pk": {"S": "a"}}}, f"{INVALID}Missing the key sk in the item"),
    (
        "PutItem",
        {"Item": {"pk": {"N": "1"}, "sk": {"N": "1"}}},
        f"{INVALID}Type mismatch for key pk expected: S actual: N",
    ),
    (
        "PutItem",
        {"Item": {"pk": {"S": ""}, "sk": {"N": "1"}}},
        ("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty "
        "string value. Key: pk"),
    ),
    (
        "PutItem",
        {"Item": KEY | {"g": {"N": "1"}}},
        f"{INVALID}Type mismatch for Index Key g Expected: S Actual: N IndexName: groups",
    ),
    (
        "PutItem",
        {"Item": KEY | {"g": {"S": ""}}},
        ("One or more parameter values are not valid. A value specified for a secondary index key "
         "is not supported. The "
        "AttributeValue for a key attribute cannot contain an empty string value. IndexName: groups, IndexKey: g"),
    ),
    (
        "PutItem",
        {"Item": {"pk": {"S": "x" * 2049}, "sk": {"N": "1"}}},
        f"{INVALID}Size of hashkey has exceeded the maximum size limit of2048 bytes",
    ),
    ("PutItem", {"Item": KEY | {"v": {"S": "x" * 409_600}}}, "Item size has exceeded the maximum allowed size"),
    ("PutItem", {"Item": KEY | {"v": {"SS": []}}}, f"{ENVELOPE}{INVALID}An string set  may not be empty"),
    (
        "PutItem",
        {"Item": KEY | {"v": {}}},
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
    ),
    (
        "PutItem",
        {"Item": KEY, "ExpressionAttributeValues": VALUE},
        f"{ENVELOPE}ExpressionAttributeValues can only be specified when using expressions",
    ),
    (
        "PutItem",
        {"Item": KEY, "ExpressionAttributeNames": {"#a": "a"}},
        f"{ENVELOPE}ExpressionAttributeNames can only be specified when using expressions",
    ),
    (
        "PutItem",
        {"Item": KEY, "ConditionExpression": "v = :v", "ExpressionAttributeValues": {}},
        f"{ENVELOPE}ExpressionAttributeValues must not be empty",
    ),
    (
        "PutItem",
        {"Item": KEY, "ConditionExpression": "#a = :v", "ExpressionAttributeNames": {"a": "a"}},
        f'{ENVELOPE}ExpressionAttributeNames contains invalid key: Syntax error; key: "a"',
    ),
    (
        "PutItem",
        {
            "Item": KEY,
            "ConditionExpression": "attribute_exists(v)",
            "ExpressionAttributeNames": {"#a": "a"},
            "ExpressionAttributeValues": VALUE,
        },
        f"{ENVELOPE}Value provided in ExpressionAttributeNames unused in expressions: keys: {{#a}}",
    ),
    (
        "DeleteItem",
        {"Key": KEY, "ConditionExpression": "attribute_exists(v)", "ExpressionAttributeValues": VALUE},
        f"{ENVELOPE}Value provided in ExpressionAttributeValues unused in expressions: keys: {{:v}}",
    ),
    (
        "PutItem",
        {"Item": KEY, "ConditionExpression": "attribute_exists(v)", "Expected": {}},
        (f"{ENVELOPE}Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}"),
    ),
    ("PutItem", {"Item": KEY, "ConditionExpression": "v = :v", "ExpressionAttributeValues": VALUE},
     "The conditional request failed"),
    ("DeleteItem", {"Key": {"pk": {"S": "a"}}}, NO_MATCH),
    ("DeleteItem", {"Key": KEY | {"v": {"S": "x"}}}, NO_MATCH),
    (
        "UpdateItem",
        {"Key": KEY, "UpdateExpression": "SET pk = :v", "ExpressionAttributeValues": VALUE},
        f"{INVALID}Cannot update attribute pk. This attribute is part of the key",
    ),
    (
        "UpdateItem",
        {"Key": KEY, "UpdateExpression": "SET g = :n", "ExpressionAttributeValues": {":n": {"N": "1"}}},
        f"{INVALID}Type mismatch for Index Key g Expected: S Actual: N IndexName: groups",
    ),
    (
        "UpdateItem",
        {"Key": KEY, "UpdateExpression": "SET g = n"},
        "The update expression attempted to update the secondary index key to unsupported type",
    ),
    (
        "UpdateItem",
        {"Key": KEY, "UpdateExpression": "SET v = nothing"},
        "The provided expression refers to an attribute that does not exist in the item",
    ),
    (
        "UpdateItem",
        {"Key": KEY, "UpdateExpression": "SET n.a = :v", "ExpressionAttributeValues": VALUE},
        "The document path provided in the update expression is invalid for update",
    ),
    (
        "UpdateItem",
        {"Key": KEY, "UpdateExpression": "SET name = :v", "ExpressionAttributeValues": VALUE},
        f"{ENVELOPE}Invalid UpdateExpression: Attribute name is a reserved keyword; reserved keyword: name",
    ),
    (
        "UpdateItem",
        {"Key": KEY, "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": {":v": {"S": "x" * 409_600}}},
        "Item size to update has exceeded the maximum allowed size",
    ),
    (
        "GetItem",
        {"Key": KEY, "ProjectionExpression": "pk.a"},
        "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: pk",
    ),
    ("GetItem", {"Key": {"pk": {"S": "a"}, "sk": {"S": "1"}}}, NO_MATCH),
    ("GetItem", {"Key": {"pk": {"S": "a"}, "sk": {"N": "x"}}},
     "The parameter cannot be converted to a numeric value: x"),
    (
        "GetItem",
        {"Key": KEY, "AttributesToGet": ["a", "a"]},
        f"{INVALID}Duplicate value in attribute name: a",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "request_", "message"), WRITES)
def test_items(stocked: Cloud, operation: str, request_: dict, message: str) -> None:
    assert stocked.refused(operation, TableName="things", **request_) == message


BY_KEY = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "a"}}}
START = {"pk": {"S": "a"}, "sk": {"N": "1"}}


def keyed(condition: str, **values: dict) -> dict:
    return {
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": {f":{name}": value for name, value in values.items()},
    }


READS = [
    ("Query", {"TableName": "things"},
     "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."),
    ("Query", BY_KEY | {"Limit": 0},
     f"{ENVELOPE}Value at 'Limit' failed to satisfy constraint: Member must have value greater than or equal to 1"),
    ("Scan", {"Limit": 0},
     f"{ENVELOPE}Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"),
    ("Query", BY_KEY | {"IndexName": "nope"}, "The table does not have the specified index: nope"),
    ("Query", keyed("g = :g", g={"S": "x"}) | {"IndexName": "groups", "ConsistentRead": True},
     "Consistent reads are not supported on global secondary indexes"),
    ("Query", keyed("sk = :s", s={"N": "1"}), "Query condition missed key schema element: pk"),
    ("Query", keyed("pk = :p AND v = :p", p={"S": "a"}), "Query condition missed key schema element: sk"),
    ("Query", keyed("pk > :p", p={"S": "a"}), "Query key condition not supported"),
    ("Query", keyed("pk = :p", p={"N": "1"}), f"{INVALID}Condition parameter type does not match schema type"),
    ("Query", keyed("pk = :p AND sk = :s AND v = :s", p={"S": "a"}, s={"N": "1"}),
     "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)"),
    ("Query", BY_KEY | {"FilterExpression": "sk <> pk"},
     "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk"),
    ("Query", BY_KEY | {"ExclusiveStartKey": {"pk": {"S": "a"}}}, "The provided starting key is invalid"),
    ("Query", BY_KEY | {"ExclusiveStartKey": {"pk": {"S": "b"}, "sk": {"N": "1"}}},
     "The provided starting key is outside query boundaries based on provided conditions"),
    ("Query", keyed("pk = :p AND sk > :s", p={"S": "a"}, s={"N": "5"}) | {"ExclusiveStartKey": START},
     "The provided starting key does not match the range key predicate"),
    ("Query", keyed("pk = :p AND sk = :s", p={"S": "a"}, s={"N": "1"}) | {"ExclusiveStartKey": START},
     "The query can return at most one row and cannot be restarted"),
    ("Query", BY_KEY | {"Select": "SPECIFIC_ATTRIBUTES"},
     f"{ENVELOPE}Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"),
    ("Query", BY_KEY | {"Select": "COUNT", "ProjectionExpression": "v"},
     f"{ENVELOPE}Cannot specify the ProjectionExpression when choosing to get only the Count"),
    ("Scan", {"Select": "ALL_PROJECTED_ATTRIBUTES"},
     "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"),
    ("Scan", {"IndexName": "groups", "Select": "ALL_ATTRIBUTES"},
     (f"{INVALID}Select type ALL_ATTRIBUTES is not supported for global secondary index groups because its projection "
     "type is not ALL")),
    ("Scan", {"IndexName": "groups", "ProjectionExpression": "v"},
     f"{INVALID}Global secondary index groups does not project [v]"),
    ("Scan", {"Segment": 0},
     "The TotalSegments parameter is required but was not present in the request when Segment parameter is present"),
    ("Scan", {"TotalSegments": 2},
     "The Segment parameter is required but was not present in the request when parameter TotalSegments is present"),
    ("Scan", {"Segment": 2, "TotalSegments": 2},
     ("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 2 is not less than "
     "TotalSegments: 2")),
    ("Scan", {"ExclusiveStartKey": {"pk": {"S": "a"}}}, f"The provided starting key is invalid: {NO_MATCH}"),
    ("Scan", {"FilterExpression": "v = :v", "ExpressionAttributeValues": {":v": {"SS": []}}},
     f"ExpressionAttributeValues contains invalid value: {INVALID}An string set  may not be empty for key :v"),
    ("Query", BY_KEY | {"KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]}}},
     ("Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
     "{KeyConditions} Expression parameters: {KeyConditionExpression}")),
    ("Query", {"KeyConditions": {"pk": {"ComparisonOperator": "NE", "AttributeValueList": [{"S": "a"}]}}},
     "Attempted conditional constraint is not an indexable operation"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "request_", "message"), READS)
def test_pages(stocked: Cloud, operation: str, request_: dict, message: str) -> None:
    assert stocked.refused(operation, **({"TableName": "things"} | request_)) == message


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("PutItem", {"Item": KEY}),
        ("GetItem", {"Key": KEY}),
        ("Scan", {}),
        ("Query", BY_KEY),
        ("DeleteItem", {"Key": KEY}),
    ],
)
def test_a_missing_table_is_not_named_by_the_data_plane(stocked: Cloud, operation: str, request_: dict) -> None:
    error = stocked.refusal(operation, TableName="nowhere", **request_)
    assert (error.error_code, error.message) == ("ResourceNotFoundException", "Requested resource not found")


@pytest.mark.parametrize("operation", ["DescribeTable", "DeleteTable", "DescribeTimeToLive"])
def test_a_missing_table_is_named_by_the_control_plane(stocked: Cloud, operation: str) -> None:
    message = "Requested resource not found: Table: nowhere not found"
    assert stocked.refused(operation, TableName="nowhere") == message
    absent = "The parameter 'TableName' is required but was not present in the request"
    assert stocked.refused(operation) == absent


def definition(**more) -> dict:
    return {
        "TableName": "fresh",
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    } | more


def key(*names: str) -> list[dict]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def attributes(*names: str) -> list[dict]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


def index(name: str, *names: str, **more) -> dict:
    return {"IndexName": name, "KeySchema": key(*names), "Projection": {"ProjectionType": "ALL"}} | more


TABLES = [
    (definition(TableName="ab"),
     (f"{ENVELOPE}Value 'ab' at 'tableName' failed to satisfy constraint: Member must have length "
      "greater than or equal "
     "to 3")),
    (definition(BillingMode="PROVISIONED"),
     f"{INVALID}ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"),
    (definition(ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}),
     f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"),
    (definition(KeySchema=key("a", "b")), "Invalid KeySchema: Some index key attribute have no definition"),
    (definition(AttributeDefinitions=attributes("b")),
     (f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. Keys: [a], "
     "AttributeDefinitions: [b]")),
    (definition(AttributeDefinitions=attributes("a", "b")),
     (f"{INVALID}Number of attributes in KeySchema does not exactly match number of attributes defined in "
     "AttributeDefinitions")),
    (definition(KeySchema=key("a", "a")),
     "Both the Hash Key and the Range Key element in the KeySchema have the same name"),
    (definition(KeySchema=[{"AttributeName": "a", "KeyType": "RANGE"}]),
     "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
    (definition(LocalSecondaryIndexes=[index("one", "a", "b")], AttributeDefinitions=attributes("a", "b")),
     f"{INVALID}Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"),
    (definition(GlobalSecondaryIndexes=[]), f"{INVALID}List of GlobalSecondaryIndexes is empty"),
    (definition(GlobalSecondaryIndexes=[index("one", "b")]),
     (f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. Keys: [b], "
     "AttributeDefinitions: [a]")),
    (definition(GlobalSecondaryIndexes=[index("one", "a"), index("one", "a")]), f"{INVALID}Duplicate index name: one"),
    (definition(GlobalSecondaryIndexes=[index("one", "a", Projection={})]), f"{INVALID}Unknown ProjectionType: null"),
    (definition(GlobalSecondaryIndexes=[
        index("one", "a", Projection={"ProjectionType": "ALL", "NonKeyAttributes": ["x"]})]),
     f"{INVALID}ProjectionType is ALL, but NonKeyAttributes is specified"),
    (definition(GlobalSecondaryIndexes=[index(f"i{n:02}", "a") for n in range(21)]),
     f"{INVALID}GlobalSecondaryIndex count exceeds the per-table limit of 20"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "message"), TABLES)
def test_tables(stocked: Cloud, request_: dict, message: str) -> None:
    assert stocked.refused("CreateTable", **request_) == message
    assert stocked("ListTables")["TableNames"] == ["things"]


def test_what_tule_would_have_to_pretend_is_refused_by_name(stocked: Cloud) -> None:
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    error = stocked.refusal("CreateTable", **definition(StreamSpecification=stream))
    assert isinstance(error, OperationNotImplementedError)
    assert "StreamSpecification" in error.message


def test_a_second_table_of_a_name_is_refused(stocked: Cloud) -> None:
    error = stocked.refusal("CreateTable", **definition(TableName="things"))
    assert (error.error_code, error.message) == ("ResourceInUseException", "Table already exists: things")


BATCHES = [
    ("BatchWriteItem", {}, "The requestItems parameter is required for BatchWriteItem"),
    ("BatchGetItem", {},
     (f"{ENVELOPE}Value at 'RequestItems' failed to satisfy constraint: Member must have length greater than or equal "
     "to 1")),
    ("BatchWriteItem", {"things": [{"PutRequest": {"Item": KEY}}, {"DeleteRequest": {"Key": KEY}}]},
     "Provided list of item keys contains duplicates"),
    ("BatchGetItem", {"things": {"Keys": [KEY, KEY]}}, "Provided list of item keys contains duplicates"),
    ("BatchGetItem", {"nowhere": {"Keys": [KEY, KEY]}}, "Provided list of item keys contains duplicates"),
    ("BatchWriteItem", {"nowhere": [{"PutRequest": {"Item": KEY}}] * 2}, "Requested resource not found"),
    ("BatchWriteItem", {"things": [{"PutRequest": {"Item": {"pk": {"N": "1"}, "sk": {"N": "1"}}}}]}, NO_MATCH),
    ("BatchGetItem", {"things": {"Keys": [{"pk": {"S": "a"}, "sk": {"N": str(n)}} for n in range(101)]}},
     (f"{ENVELOPE}Value at 'RequestItems.things.member.Keys' failed to satisfy constraint: Member "
      "must have length less "
     "than or equal to 100")),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "items", "message"), BATCHES)
def test_batches(stocked: Cloud, operation: str, items: dict, message: str) -> None:
    assert stocked.refused(operation, RequestItems=items) == message


def test_a_failed_condition_shows_the_item_that_was_there(stocked: Cloud) -> None:
    error = stocked.refusal(
        "UpdateItem",
        TableName="things",
        Key=KEY,
        UpdateExpression="REMOVE v",
        ConditionExpression="attribute_not_exists(v)",
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    assert error.error_code == "ConditionalCheckFailedException"
    assert error.members["Item"] == KEY | {"v": {"S": "here"}, "n": {"N": "1"}}


def test_a_cancelled_transaction_gives_its_reasons(stocked: Cloud) -> None:
    check = {"TableName": "things", "Key": KEY, "ConditionExpression": "v = :v", "ExpressionAttributeValues": VALUE}
    bad = {"TableName": "things", "Item": {"pk": {"N": "1"}, "sk": {"N": "1"}}}
    fine = {"TableName": "things", "Item": {"pk": {"S": "new"}, "sk": {"N": "1"}}}
    error = stocked.refusal(
        "TransactWriteItems", TransactItems=[{"Put": fine}, {"ConditionCheck": check}, {"Put": bad}]
    )
    assert error.error_code == "TransactionCanceledException"
    assert error.message == (
        "Transaction cancelled, please refer cancellation reasons for specific reasons "
        "[None, ConditionalCheckFailed, ValidationError]"
    )
    assert error.members["CancellationReasons"][2]["Message"] == (
        f"{INVALID}Type mismatch for key pk expected: S actual: N"
    )
    twice = stocked.refused("TransactWriteItems", TransactItems=[{"Put": fine}, {"Put": fine}])
    assert twice == "Transaction request cannot include multiple operations on one item"
