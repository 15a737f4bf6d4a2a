"""Whatever a request says, it is answered or refused: no mistake of a caller is a defect of ours."""

from contextlib import suppress
from typing import Any

import pytest
from dynamodb_cloud import Cloud, Engines
from hypothesis import given, settings
from hypothesis import strategies as st

from tule.kernel.errors import AwsError

TABLE = "things"

names = st.sampled_from(["pk", "sk", "g", "v", "name", "a.b", ""])
texts = st.sampled_from(["", "a", "\0", "ü\uffff", "x" * 3000])
numbers = st.sampled_from(["", "1", "-0", "1e125", "1e-130", "1e126", "9" * 39, "NaN", "00", "1e9999999999999"])
binaries = st.sampled_from(["", "AA==", "AAA", "A===", "////", "é==="])
values = st.recursive(
    st.one_of(
        st.builds(lambda text: {"S": text}, texts),
        st.builds(lambda text: {"N": text}, numbers),
        st.builds(lambda text: {"B": text}, binaries),
        st.builds(lambda members: {"SS": members}, st.lists(texts, max_size=3)),
        st.builds(lambda members: {"NS": members}, st.lists(numbers, max_size=3)),
        st.builds(lambda members: {"BS": members}, st.lists(binaries, max_size=3)),
        st.sampled_from([{}, {"NULL": False}, {"NULL": True}, {"BOOL": True}, {"S": "a", "N": "1"}]),
    ),
    lambda inner: st.one_of(
        st.builds(lambda members: {"L": members}, st.lists(inner, max_size=2)),
        st.builds(lambda members: {"M": members}, st.dictionaries(names, inner, max_size=2)),
    ),
    max_leaves=4,
)
good_keys = st.sampled_from([{"pk": {"S": "a"}, "sk": {"N": "1"}}, {"pk": {"S": "b"}, "sk": {"N": "-1.5"}}])
items = st.one_of(
    good_keys,
    st.dictionaries(names, values, max_size=4),
    st.builds(lambda key, more: more | key, good_keys, st.dictionaries(names, values, max_size=3)),
)
conditions = st.sampled_from(
    ["", "pk = :a", "attribute_exists(v)", "#n > :b AND size(v) < :a", "v IN (:a, :b)", "contains(v, :a)", "((",
     "v[1] = :a",
     "begins_with(v, :b)", "v BETWEEN :a AND :b", "attribute_type(v, :a)", "pk.x = :a", "NOT v = :a OR g <> :b"]
)  # fmt: skip
updates = st.sampled_from(
    ["SET v = :a", "SET g = :b", "ADD v :a", "DELETE v :b", "REMOVE v[0], g", "SET v.x = v + :a", "SET pk = :a",
     "SET v = list_append(v, :a)", "SET #n[99999999999] = if_not_exists(v, :b)", "set"]
)  # fmt: skip
comparisons = st.sampled_from(
    ["EQ", "NE", "LT", "BETWEEN", "IN", "NULL", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH", "X"]
)
legacy = st.dictionaries(
    names,
    st.fixed_dictionaries({"ComparisonOperator": comparisons}, optional={
        "AttributeValueList": st.lists(values, max_size=2), "Value": values, "Exists": st.booleans()}),
    max_size=2,
)  # fmt: skip
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "Item": items,
    "Key": items,
    "ExclusiveStartKey": items,
    "ConditionExpression": conditions,
    "FilterExpression": conditions,
    "KeyConditionExpression": st.sampled_from(
        [
            "pk = :a",
            "pk = :a AND sk > :b",
            "g = :a",
            "pk = :a AND sk BETWEEN :a AND :b",
            "pk = :a AND begins_with(sk, :b)",
        ]
    ),
    "UpdateExpression": updates,
    "ProjectionExpression": st.sampled_from(["pk", "v[0].x, #n", "pk.a", "v, v", ""]),
    "ExpressionAttributeNames": st.dictionaries(st.sampled_from(["#n", "#x", "n"]), names, max_size=2),
    "ExpressionAttributeValues": st.fixed_dictionaries({":a": values, ":b": values}),
    "Expected": legacy,
    "ScanFilter": legacy,
    "QueryFilter": legacy,
    "KeyConditions": legacy,
    "AttributeUpdates": st.dictionaries(
        names,
        st.fixed_dictionaries({}, optional={"Action": st.sampled_from(["PUT", "ADD", "DELETE"]), "Value": values}),
        max_size=2,
    ),
    "ConditionalOperator": st.sampled_from(["AND", "OR", "NOR"]),
    "AttributesToGet": st.lists(names, max_size=3),
    "IndexName": st.sampled_from(["groups", "nope", ""]),
    "Select": st.sampled_from(["COUNT", "ALL_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "all"]),
    "Limit": st.integers(-1, 3),
    "ScanIndexForward": st.booleans(),
    "ConsistentRead": st.booleans(),
    "Segment": st.integers(-1, 3),
    "TotalSegments": st.integers(0, 3),
    "ReturnValues": st.sampled_from(["NONE", "ALL_OLD", "UPDATED_NEW", "UPDATED_OLD", "ALL_NEW", ""]),
    "ReturnConsumedCapacity": st.sampled_from(["TOTAL", "INDEXES", "NONE"]),
}
OPERATIONS: dict[str, tuple[str, ...]] = {
    "PutItem": ("Item", "ConditionExpression", "Expected", "ReturnValues"),
    "DeleteItem": ("Key", "ConditionExpression", "Expected", "ReturnValues"),
    "UpdateItem": ("Key", "UpdateExpression", "ConditionExpression", "AttributeUpdates", "Expected", "ReturnValues"),
    "GetItem": ("Key", "ProjectionExpression", "AttributesToGet", "ConsistentRead"),
    "Query": ("KeyConditionExpression", "FilterExpression", "ProjectionExpression", "KeyConditions", "QueryFilter",
              "IndexName", "Select", "Limit", "ScanIndexForward", "ExclusiveStartKey", "AttributesToGet"),
    "Scan": ("FilterExpression", "ProjectionExpression", "ScanFilter", "IndexName", "Select", "Limit", "Segment",
             "TotalSegments", "ExclusiveStartKey"),
}  # fmt: skip
COMMON = ("ExpressionAttributeNames", "ExpressionAttributeValues", "ReturnConsumedCapacity")


@st.composite
def requests(draw) -> tuple[str, dict[str, Any]]:
    operation = draw(st.sampled_from(sorted(OPERATIONS)))
    members = draw(st.sets(st.sampled_from((*OPERATIONS[operation], *COMMON)), max_size=5))
    return operation, {name: draw(MEMBERS[name]) for name in sorted(members)}


@pytest.fixture(scope="module")
def stocked(engines: Engines) -> Cloud:
    cloud = engines.cloud()
    cloud.table(
        TABLE,
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
    return cloud


@settings(max_examples=400, deadline=None)
@given(request=requests())
def test_any_request_is_answered_or_refused(stocked: Cloud, request: tuple[str, dict[str, Any]]) -> None:
    operation, members = request
    with suppress(AwsError):
        stocked(operation, TableName=TABLE, **members)
