"""CloudFormation's view of DynamoDB: AWS::DynamoDB::Table."""

from collections.abc import Mapping
from typing import Any, Final

from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

TABLE: Final = "AWS::DynamoDB::Table"
MAX_NAME: Final = 255
FILLING_S: Final = 0.05
"""Between two looks at whether a new index is filled (ours)."""

_PASSED: Final = ("KeySchema", "AttributeDefinitions", "BillingMode", "TableClass")


def _whole(throughput: Mapping[str, Any]) -> dict[str, int]:
    """Templates may write numbers as text."""
    return {member: int(units) for member, units in throughput.items()}


def _true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _indexes(given: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    members = ("IndexName", "KeySchema", "Projection", "ProvisionedThroughput")
    for index in given:
        unknown = sorted(set(index) - set(members) - {"ContributorInsightsSpecification"})
        if unknown:
            raise OperationNotImplementedError("dynamodb", "CreateTable", f"An index's {unknown[0]} is not honoured.")
    return [
        {
            member: _whole(index[member]) if member == "ProvisionedThroughput" else index[member]
            for member in members
            if member in index
        }
        for index in given
    ]


def _settings(properties: Mapping[str, Any]) -> dict[str, Any]:
    """CreateTable's arguments, but for the name and the tags."""
    settings = {member: properties[member] for member in _PASSED if member in properties}
    if "ProvisionedThroughput" in properties:
        settings["ProvisionedThroughput"] = _whole(properties["ProvisionedThroughput"])
    for member in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        if properties.get(member):
            settings[member] = _indexes(properties[member])
    if "DeletionProtectionEnabled" in properties:
        settings["DeletionProtectionEnabled"] = _true(properties["DeletionProtectionEnabled"])
    return settings


def _tags(request: ResourceRequest) -> dict[str, str]:
    own = {tag["Key"]: str(tag["Value"]) for tag in request.properties.get("Tags", ())}
    return {**request.tags, **own}


def _time_to_live(properties: Mapping[str, Any]) -> tuple[bool, str]:
    given = properties.get("TimeToLiveSpecification") or {}
    return _true(given.get("Enabled", False)), given.get("AttributeName", "")


async def _state(ctx: Context, name: str) -> ResourceState:
    table = (await ctx.aws.dynamodb.describe_table(TableName=name))["Table"]
    return ResourceState(name, {"Arn": table["TableArn"]})


async def _is_ours(ctx: Context, request: ResourceRequest, name: str) -> bool:
    """Whether the table that exists is what an earlier attempt at this very resource made."""
    if "TableName" not in request.properties:
        return True
    arn = (await _state(ctx, name)).attributes["Arn"]
    told = await ctx.aws.dynamodb.list_tags_of_resource(ResourceArn=arn)
    found = {tag["Key"]: tag["Value"] for tag in told["Tags"]}
    marks = ("aws:cloudformation:stack-id", "aws:cloudformation:logical-id")
    return all(mark in found and found[mark] == request.tags.get(mark) for mark in marks)


async def create(ctx: Context, request: ResourceRequest) -> ResourceState:
    name = request.properties.get("TableName") or request.physical_name(MAX_NAME)
    tags = [{"Key": key, "Value": value} for key, value in _tags(request).items()]
    try:
        await ctx.aws.dynamodb.create_table(
            TableName=name, **_settings(request.properties), **({"Tags": tags} if tags else {})
        )
    except AwsError as error:
        if error.error_code != "ResourceInUseException" or not await _is_ours(ctx, request, name):
            raise
    await _set_time_to_live(ctx, name, request.properties)
    return await _state(ctx, name)


async def _set_time_to_live(ctx: Context, name: str, properties: Mapping[str, Any]) -> None:
    """Bring time to live to what the template says, if it isn't."""
    enabled, attribute = _time_to_live(properties)
    told = await ctx.aws.dynamodb.describe_time_to_live(TableName=name)
    current = told["TimeToLiveDescription"].get("AttributeName", "")
    if current and (not enabled or current != attribute):
        await ctx.aws.dynamodb.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": False, "AttributeName": current}
        )
        current = ""
    if enabled and not current:
        await ctx.aws.dynamodb.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute}
        )


async def delete(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.dynamodb.delete_table(TableName=physical_id)
    except AwsError as error:
        if error.error_code != "ResourceNotFoundException":
            raise


def _shape(index: Mapping[str, Any]) -> dict[str, Any]:
    return {member: index.get(member) for member in ("IndexName", "KeySchema", "Projection")}


def _by_name(properties: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {index["IndexName"]: index for index in _indexes(properties.get("GlobalSecondaryIndexes") or [])}


def _index_updates(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Changes of indexes' throughput; keys and projections of an index that stays can't change, as on AWS."""
    before, after = _by_name(old), _by_name(new)
    both = [name for name in after if name in before]
    if any(_shape(before[name]) != _shape(after[name]) for name in both):
        raise AwsError(
            "Cannot update GSI's properties other than Provisioned Throughput and Contributor Insights "
            "Specification. You can create a new GSI with a different name.",
            code="ValidationException",
        )
    return [
        {"Update": {"IndexName": name, "ProvisionedThroughput": after[name]["ProvisionedThroughput"]}}
        for name in both
        if "ProvisionedThroughput" in after[name] and after[name] != before[name]
    ]


async def _exchange_indexes(ctx: Context, name: str, new: Mapping[str, Any]) -> None:
    """Delete and create global indexes, one after the other, until the table has those of the template."""
    told = (await ctx.aws.dynamodb.describe_table(TableName=name))["Table"]
    found = {index["IndexName"] for index in told.get("GlobalSecondaryIndexes", ())}
    wanted = _by_name(new)
    for gone in sorted(found - set(wanted)):
        await ctx.aws.dynamodb.update_table(
            TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": gone}}]
        )
    for made in (index for index in wanted if index not in found):
        await ctx.aws.dynamodb.update_table(
            TableName=name,
            AttributeDefinitions=new["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": wanted[made]}],
        )
    while any(index["IndexStatus"] != "ACTIVE" for index in told.get("GlobalSecondaryIndexes", ())) or (
        found != set(wanted)
    ):
        await ctx.env.machine.sleep(FILLING_S)
        told = (await ctx.aws.dynamodb.describe_table(TableName=name))["Table"]
        found = {index["IndexName"] for index in told.get("GlobalSecondaryIndexes", ())}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """UpdateTable's arguments; {} when it has nothing to do."""
    before, after = _settings(old), _settings(new)
    defaults: dict[str, Any] = {"BillingMode": "PROVISIONED", "DeletionProtectionEnabled": False}
    asked = {}
    for member in ("BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled", "TableClass"):
        wanted = after.get(member, defaults.get(member))
        if wanted != before.get(member, defaults.get(member)) and wanted is not None:
            asked[member] = wanted
    if asked.get("BillingMode") == "PROVISIONED" and "ProvisionedThroughput" in after:
        asked["ProvisionedThroughput"] = after["ProvisionedThroughput"]
    updates = _index_updates(old, new)
    return asked | ({"GlobalSecondaryIndexUpdates": updates} if updates else {})


async def update(ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str) -> ResourceState:
    asked = _changes(old, request.properties)
    if asked:
        try:
            await ctx.aws.dynamodb.update_table(TableName=physical_id, **asked)
        except AwsError as error:
            # An attempt before this one may have got as far.
            if "will not change" not in error.message:
                raise
    await _exchange_indexes(ctx, physical_id, request.properties)
    await _set_time_to_live(ctx, physical_id, request.properties)
    state = await _state(ctx, physical_id)
    await _set_tags(ctx, state.attributes["Arn"], _tags(request))
    return state


async def _set_tags(ctx: Context, arn: str, wanted: Mapping[str, str]) -> None:
    told = await ctx.aws.dynamodb.list_tags_of_resource(ResourceArn=arn)
    found = {tag["Key"]: tag["Value"] for tag in told["Tags"]}
    gone = [key for key in found if key not in wanted]
    if gone:
        await ctx.aws.dynamodb.untag_resource(ResourceArn=arn, TagKeys=gone)
    tags = [{"Key": key, "Value": value} for key, value in wanted.items() if found.get(key) != value]
    if tags:
        await ctx.aws.dynamodb.tag_resource(ResourceArn=arn, Tags=tags)


RESOURCES: Final[Mapping[str, ResourceType]] = {
    TABLE: ResourceType(
        name=TABLE,
        properties=frozenset(
            {
                "TableName",
                "KeySchema",
                "AttributeDefinitions",
                "BillingMode",
                "ProvisionedThroughput",
                "LocalSecondaryIndexes",
                "GlobalSecondaryIndexes",
                "TimeToLiveSpecification",
                "DeletionProtectionEnabled",
                "TableClass",
                "Tags",
            }
        ),
        create=create,
        delete=delete,
        update=update,
        # The resource's reference page documents Replacement for these; new attribute definitions alone are none.
        replace_on=frozenset({"TableName", "KeySchema", "LocalSecondaryIndexes"}),
        required=frozenset({"KeySchema"}),
        ignored=frozenset({"SSESpecification", "PointInTimeRecoverySpecification", "ContributorInsightsSpecification"}),
    )
}
