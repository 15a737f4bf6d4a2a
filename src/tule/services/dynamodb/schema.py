"""What CreateTable is asked for, checked in AWS's order and turned into a table."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tule.kernel.errors import OperationNotImplementedError
from tule.services.dynamodb.errors import ValidationError, invalid
from tule.services.dynamodb.models import ON_DEMAND, PROVISIONED, Index, Throughput

MAX_LOCAL: Final = 5
MAX_GLOBAL: Final = 20
MAX_UNITS: Final = 10**12

Request = Mapping[str, Any]


def refuse_unsupported(operation: str, request: Request) -> None:
    """What Tule would have to pretend."""
    if request.get("StreamSpecification", {}).get("StreamEnabled"):
        raise OperationNotImplementedError("dynamodb", operation, "StreamSpecification: streams come later.")
    if "StreamViewType" in request.get("StreamSpecification", {}):
        raise invalid("Table is being created with a stream disabled, UpdateViewType should not be specified")
    if request.get("SSESpecification", {}).get("Enabled"):
        raise OperationNotImplementedError("dynamodb", operation, "SSESpecification: there are no KMS keys.")
    for member in (
        "ResourcePolicy",
        "OnDemandThroughput",
        "WarmThroughput",
        "ReplicaUpdates",
        "MultiRegionConsistency",
    ):
        if member in request:
            raise OperationNotImplementedError("dynamodb", operation, f"{member} is not honoured.")


def throughput_of(request: Request, *, index: str = "") -> Throughput:
    """ProvisionedThroughput within its bounds."""
    given = request["ProvisionedThroughput"]
    tail = f" for index {index}" if index else ""
    for member in ("ReadCapacityUnits", "WriteCapacityUnits"):
        if given[member] > MAX_UNITS:
            raise ValidationError(f"Given value {given[member]} for {member}{tail} is out of bounds")
    return Throughput(given["ReadCapacityUnits"], given["WriteCapacityUnits"])


def billing_of(request: Request) -> tuple[str, Throughput]:
    """(billing mode, throughput) of a new table."""
    mode = request.get("BillingMode", PROVISIONED)
    if mode == PROVISIONED:
        if "ProvisionedThroughput" not in request:
            raise invalid(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
            )
        return mode, throughput_of(request)
    if "ProvisionedThroughput" in request:
        raise invalid(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
        )
    return mode, Throughput()


def listed(names: Sequence[str]) -> str:
    return "[" + ", ".join(names) + "]"


def _check_shape(elements: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """(hash key, range key or "") of a key schema."""
    if elements[0]["KeyType"] != "HASH":
        raise ValidationError("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(elements) == 1:
        return elements[0]["AttributeName"], ""
    if elements[1]["KeyType"] != "RANGE":
        raise ValidationError("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
    if elements[0]["AttributeName"] == elements[1]["AttributeName"]:
        raise ValidationError("Both the Hash Key and the Range Key element in the KeySchema have the same name")
    return elements[0]["AttributeName"], elements[1]["AttributeName"]


def keys_of(request: Request) -> tuple[str, str, dict[str, str]]:
    """(hash key, range key, types) of a new table; the definitions may hold more than its own keys."""
    types: dict[str, str] = {}
    for definition in request.get("AttributeDefinitions", ()):
        name = definition["AttributeName"]
        if types.setdefault(name, definition["AttributeType"]) != definition["AttributeType"]:
            raise invalid(f"Cannot add two definitions of the same attribute; duplicate attribute: {name}")
    elements = request["KeySchema"]
    names = [element["AttributeName"] for element in elements]
    if any(name not in types for name in names):
        if len(elements) > 1 or not types:
            raise ValidationError("Invalid KeySchema: Some index key attribute have no definition")
        _refuse_undefined(names, types)
    hash_key, range_key = _check_shape(elements)
    return hash_key, range_key, types


def _refuse_undefined(names: Sequence[str], types: Mapping[str, str]) -> None:
    raise invalid(
        "Some index key attributes are not defined in AttributeDefinitions. "
        f"Keys: {listed(names)}, AttributeDefinitions: {listed(list(types))}"
    )


def check_used(types: Mapping[str, str], used: Sequence[str], *, indexed: bool) -> None:
    """Every definition must be some key's."""
    if set(types) == set(used):
        return
    if not indexed:
        raise invalid(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions"
        )
    raise invalid(
        f"Some AttributeDefinitions are not used. AttributeDefinitions: {listed(list(types))}, "
        f"keys used: {listed(list(dict.fromkeys(used)))}"
    )


class Indexes:
    """The secondary indexes of a new table, checked one after the other."""

    def __init__(self, hash_key: str, range_key: str, types: Mapping[str, str], billing_mode: str) -> None:
        self._hash_key = hash_key
        self._range_key = range_key
        self._types = types
        self._billing_mode = billing_mode
        self.found: list[Index] = []
        self.made = 0

    def add_local(self, given: Sequence[Request]) -> None:
        if not given:
            raise invalid("List of LocalSecondaryIndexes is empty")
        for index in given:
            self._add_keys(index, local=True)
        self._check_count(len(given), MAX_LOCAL, "Number of LocalSecondaryIndexes exceeds per-table limit of")

    def add_global(self, given: Sequence[Request]) -> None:
        if not given:
            raise invalid("List of GlobalSecondaryIndexes is empty")
        for index in given:
            self._add_keys(index, local=False)
        self._check_count(len(given), MAX_GLOBAL, "GlobalSecondaryIndex count exceeds the per-table limit of")

    def _check_count(self, count: int, most: int, text: str) -> None:
        if count > most:
            raise invalid(f"{text} {most}")

    def _add_keys(self, given: Request, *, local: bool) -> None:
        name, elements = given["IndexName"], given["KeySchema"]
        if len(elements) > 2:
            raise OperationNotImplementedError("dynamodb", "CreateTable", "Keys of several attributes come later.")
        names = [element["AttributeName"] for element in elements]
        if local and not self._range_key:
            raise invalid(
                "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"
            )
        if any(attribute not in self._types for attribute in names):
            _refuse_undefined(names, self._types)
        hash_key, range_key = _check_shape(elements)
        if local and not range_key:
            raise invalid(f"Index KeySchema does not have a range key for index: {name}")
        if local and hash_key != self._hash_key:
            raise invalid(
                f"Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. "
                f"index hash key: {hash_key}, table hash key: {self._hash_key}"
            )
        projection, included = _projection(given.get("Projection", {}))
        if any(index.name == name for index in self.found):
            raise invalid(f"Duplicate index name: {name}")
        throughput = Throughput() if local else self._throughput(given, name)
        self.made += 1
        self.found.append(Index(name, self.made, local, hash_key, range_key, projection, included, throughput))

    def _throughput(self, given: Request, name: str) -> Throughput:
        for member in ("OnDemandThroughput", "WarmThroughput"):
            if member in given:
                raise OperationNotImplementedError("dynamodb", "CreateTable", f"{member} is not honoured.")
        has = "ProvisionedThroughput" in given
        if self._billing_mode == ON_DEMAND:
            if has:
                raise invalid(
                    f"ProvisionedThroughput should not be specified for index: {name} when BillingMode is "
                    "PAY_PER_REQUEST"
                )
            return Throughput()
        if not has:
            raise invalid(f"ProvisionedThroughput must be specified for index: {name}")
        return throughput_of(given, index=name)


def _projection(given: Request) -> tuple[str, tuple[str, ...]]:
    kind = given.get("ProjectionType")
    if kind is None:
        raise invalid("Unknown ProjectionType: null")
    names = given.get("NonKeyAttributes")
    if kind == "INCLUDE":
        if not names:
            raise invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
        return kind, tuple(names)
    if names is not None:
        raise invalid(f"ProjectionType is {kind}, but NonKeyAttributes is specified")
    return kind, ()
