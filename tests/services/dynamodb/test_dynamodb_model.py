"""DynamoDB against a plain Python model: a dictionary of items and what a person would expect of it."""

from collections.abc import Callable
from typing import Any

from dynamodb_cloud import Cloud, Engines
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tule.kernel.errors import AwsError

TABLE = "things"
PARTITIONS = ["", "a", "a\0", "b", "ü" * 60]
Key = tuple[str, int]
Item = dict[str, dict[str, Any]]

partitions = st.sampled_from(PARTITIONS[1:])
sorts = st.integers(-12, 12)
keys = st.tuples(partitions, sorts)
groups = st.sampled_from(["g1", "g2"])
payloads = st.sampled_from(["", "x", "y" * 1500])


@st.composite
def items(draw) -> Item:
    pk, sk = draw(keys)
    item: Item = {"pk": {"S": pk}, "sk": {"N": str(sk)}, "v": {"S": draw(payloads)}}
    if draw(st.booleans()):
        item["g"] = {"S": draw(groups)}
    if draw(st.booleans()):
        item["l"] = {"N": str(draw(st.integers(0, 3)))}
    return item


def key_of(item: Item) -> Key:
    return item["pk"]["S"], int(item["sk"]["N"])


def wire(key: Key) -> Item:
    return {"pk": {"S": key[0]}, "sk": {"N": str(key[1])}}


COMPARE: dict[str, Callable[[int, int, int], bool]] = {
    "sk = :a": lambda sk, a, _: sk == a,
    "sk < :a": lambda sk, a, _: sk < a,
    "sk <= :a": lambda sk, a, _: sk <= a,
    "sk > :a": lambda sk, a, _: sk > a,
    "sk >= :a": lambda sk, a, _: sk >= a,
    ":a <= sk": lambda sk, a, _: a <= sk,
    "sk BETWEEN :a AND :b": lambda sk, a, b: a <= sk <= b,
}


class Tables(RuleBasedStateMachine):
    """Every rule does to the table and to `self.items` what ought to be the same."""

    engines: Engines

    def __init__(self) -> None:
        super().__init__()
        self.cloud: Cloud = self.engines.cloud()
        self.items: dict[Key, Item] = {}
        key = [{"AttributeName": "g", "KeyType": "HASH"}]
        self.cloud.table(
            TABLE,
            sort="sk:N",
            definitions=[{"AttributeName": "g", "AttributeType": "S"}, {"AttributeName": "l", "AttributeType": "N"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-group",
                    "KeySchema": [*key, {"AttributeName": "sk", "KeyType": "RANGE"}],
                    "Projection": {"ProjectionType": "ALL"},
                },
                {"IndexName": "groups", "KeySchema": key, "Projection": {"ProjectionType": "KEYS_ONLY"}},
            ],
            LocalSecondaryIndexes=[
                {
                    "IndexName": "by-level",
                    "KeySchema": [
                        {"AttributeName": "pk", "KeyType": "HASH"},
                        {"AttributeName": "l", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["v"]},
                }
            ],
        )

    def pages(self, operation: str, **request: Any) -> list[Item]:
        """All items of a Query or Scan, page by page."""
        found: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            answer = self.cloud(operation, TableName=TABLE, **request, **start)
            found += answer["Items"]
            assert answer["Count"] == len(answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return found
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    @rule(item=items())
    def put(self, item: Item) -> None:
        answer = self.cloud("PutItem", TableName=TABLE, Item=item, ReturnValues="ALL_OLD")
        assert answer.get("Attributes") == self.items.get(key_of(item))
        self.items[key_of(item)] = item

    @rule(item=items())
    def put_if_absent(self, item: Item) -> None:
        try:
            self.cloud("PutItem", TableName=TABLE, Item=item, ConditionExpression="attribute_not_exists(pk)")
        except AwsError as error:
            assert error.error_code == "ConditionalCheckFailedException"  # noqa: PT017 - both outcomes are right
            assert key_of(item) in self.items
        else:
            assert key_of(item) not in self.items
            self.items[key_of(item)] = item

    @rule(key=keys)
    def delete(self, key: Key) -> None:
        answer = self.cloud("DeleteItem", TableName=TABLE, Key=wire(key), ReturnValues="ALL_OLD")
        assert answer.get("Attributes") == self.items.pop(key, None)

    @rule(key=keys, group=groups, by=st.integers(-5, 5))
    def update(self, key: Key, group: str, by: int) -> None:
        answer = self.cloud(
            "UpdateItem",
            TableName=TABLE,
            Key=wire(key),
            UpdateExpression="SET g = :g REMOVE v ADD n :by",
            ExpressionAttributeValues={":g": {"S": group}, ":by": {"N": str(by)}},
            ReturnValues="ALL_NEW",
        )
        item = dict(self.items.get(key, wire(key)))
        item.pop("v", None)
        item["g"] = {"S": group}
        item["n"] = {"N": str(int(item.get("n", {"N": "0"})["N"]) + by)}
        self.items[key] = item
        assert answer["Attributes"] == item

    @rule(key=keys)
    def leave_the_index(self, key: Key) -> None:
        self.cloud("UpdateItem", TableName=TABLE, Key=wire(key), UpdateExpression="REMOVE g, l")
        if key in self.items:
            self.items[key] = {name: value for name, value in self.items[key].items() if name not in ("g", "l")}

    @rule(puts=st.lists(items(), max_size=6, unique_by=key_of), gone=st.sets(keys, max_size=3))
    def batch_write(self, puts: list[Item], gone: set[Key]) -> None:
        gone -= {key_of(item) for item in puts}
        requests = [{"PutRequest": {"Item": item}} for item in puts]
        requests += [{"DeleteRequest": {"Key": wire(key)}} for key in gone]
        if not requests:
            return
        assert self.cloud("BatchWriteItem", RequestItems={TABLE: requests}) == {"UnprocessedItems": {}}
        for key in gone:
            self.items.pop(key, None)
        self.items |= {key_of(item): item for item in puts}

    @rule(item=items(), key=keys)
    def transact(self, item: Item, key: Key) -> None:
        """A put and a check that the other item is there: both or nothing."""
        if key == key_of(item):
            return
        actions = [
            {"Put": {"TableName": TABLE, "Item": item}},
            {
                "ConditionCheck": {
                    "TableName": TABLE,
                    "Key": wire(key),
                    "ConditionExpression": "attribute_exists(pk)",
                }
            },
        ]
        try:
            self.cloud("TransactWriteItems", TransactItems=actions)
        except AwsError as error:
            told = [reason["Code"] for reason in error.members["CancellationReasons"]]
            assert told == ["None", "ConditionalCheckFailed"]
            assert key not in self.items
        else:
            assert key in self.items
            self.items[key_of(item)] = item

    @rule(key=keys)
    def get(self, key: Key) -> None:
        assert self.cloud("GetItem", TableName=TABLE, Key=wire(key)).get("Item") == self.items.get(key)

    @rule(wanted=st.sets(keys, min_size=1, max_size=8))
    def batch_get(self, wanted: set[Key]) -> None:
        answer = self.cloud("BatchGetItem", RequestItems={TABLE: {"Keys": [wire(key) for key in wanted]}})
        found = {key_of(item): item for item in answer["Responses"][TABLE]}
        assert found == {key: self.items[key] for key in wanted if key in self.items}

    @rule(pk=partitions, condition=st.sampled_from(sorted(COMPARE)), a=sorts, b=sorts, forward=st.booleans(),
          limit=st.sampled_from([None, 1, 2, 5]))  # fmt: skip
    def query(self, *, pk: str, condition: str, a: int, b: int, forward: bool, limit: int | None) -> None:
        a, b = min(a, b), max(a, b)
        values = {":p": {"S": pk}, ":a": {"N": str(a)}}
        if ":b" in condition:
            values[":b"] = {"N": str(b)}
        more = {} if limit is None or "=" in condition[:4] else {"Limit": limit}
        found = self.pages(
            "Query",
            KeyConditionExpression=f"pk = :p AND {condition}",
            ExpressionAttributeValues=values,
            ScanIndexForward=forward,
            **more,
        )
        wanted = [key for key in self.items if key[0] == pk and COMPARE[condition](key[1], a, b)]
        assert found == [self.items[key] for key in sorted(wanted, reverse=not forward)]

    @rule(group=groups, forward=st.booleans(), limit=st.integers(1, 5), above=sorts)
    def query_group(self, *, group: str, forward: bool, limit: int, above: int) -> None:
        found = self.pages(
            "Query",
            IndexName="by-group",
            KeyConditionExpression="g = :g AND sk > :a",
            ExpressionAttributeValues={":g": {"S": group}, ":a": {"N": str(above)}},
            ScanIndexForward=forward,
            Limit=limit,
        )
        wanted = [item for item in self.items.values() if item.get("g") == {"S": group} and key_of(item)[1] > above]
        numbers = [key_of(item)[1] for item in found]
        assert numbers == sorted(numbers, reverse=not forward)
        assert sorted(found, key=key_of) == sorted(wanted, key=key_of)

    @rule(pk=partitions, limit=st.integers(1, 5))
    def query_level(self, pk: str, limit: int) -> None:
        found = self.pages(
            "Query",
            IndexName="by-level",
            KeyConditionExpression="pk = :p",
            ExpressionAttributeValues={":p": {"S": pk}},
            Select="ALL_ATTRIBUTES",
            Limit=limit,
        )
        wanted = [item for key, item in self.items.items() if key[0] == pk and "l" in item]
        levels = [int(item["l"]["N"]) for item in found]
        assert levels == sorted(levels)
        assert sorted(found, key=key_of) == sorted(wanted, key=key_of)

    @rule(total=st.integers(1, 5), limit=st.sampled_from([1, 3, 100]))
    def scan(self, total: int, limit: int) -> None:
        found = [
            item for number in range(total)
            for item in self.pages("Scan", TotalSegments=total, Segment=number, Limit=limit)
        ]  # fmt: skip
        assert {key_of(item): item for item in found} == self.items
        assert len(found) == len(self.items)

    @rule()
    def scan_filtered(self) -> None:
        found = self.pages(
            "Scan",
            FilterExpression="attribute_exists(g) AND size(v) < :n",
            ExpressionAttributeValues={":n": {"N": "10"}},
            ProjectionExpression="pk, sk",
        )
        wanted = {
            key for key, item in self.items.items() if "g" in item and len(item.get("v", {"S": "z" * 10})["S"]) < 10
        }
        assert {key_of(item) for item in found} == wanted

    @invariant()
    def indexes_and_counts_agree(self) -> None:
        listed = self.pages("Scan", IndexName="groups")
        grouped = [item for item in self.items.values() if "g" in item]
        assert sorted(listed, key=key_of) == [
            {name: item[name] for name in ("pk", "sk", "g")} for item in sorted(grouped, key=key_of)
        ]
        described = self.cloud("DescribeTable", TableName=TABLE)["Table"]
        assert described["ItemCount"] == len(self.items)
        counts = {index["IndexName"]: index["ItemCount"] for index in described["GlobalSecondaryIndexes"]}
        assert counts == {"by-group": len(grouped), "groups": len(grouped)}

    def teardown(self) -> None:
        self.cloud("DeleteTable", TableName=TABLE)
        assert self.cloud("ListTables")["TableNames"] == []


def test_tables_behave_as_a_dictionary_would(engines: Engines) -> None:
    machine = type("Tables", (Tables,), {"engines": engines})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
