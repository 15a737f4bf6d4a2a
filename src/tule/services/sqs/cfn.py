"""AWS::SQS::Queue and AWS::SQS::QueuePolicy."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.resources import UNKNOWN, ResourceRequest, ResourceState, ResourceType
from tule.services.sqs.names import arn_of, shard_of_url
from tule.services.sqs.queue import DEFAULTS
from tule.services.sqs.settings import check_new

_ATTRIBUTES: Final = (
    "DelaySeconds",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
)
_WITHOUT_DEFAULT: Final = {"KmsDataKeyReusePeriodSeconds": "300"}
_STACK_TAG: Final = "aws:cloudformation:stack-id"
_NAME_LENGTH: Final = 80


def _text(value: Any) -> str:
    """A property as SQS's attributes have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _attributes(properties: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(properties[name]) for name in _ATTRIBUTES if name in properties}


def _tags(properties: Mapping[str, Any], stack: Mapping[str, str]) -> dict[str, str]:
    return {**stack, **{tag["Key"]: str(tag["Value"]) for tag in properties.get("Tags") or ()}}


def _state(ctx: Context, url: str) -> ResourceState:
    shard = shard_of_url(ctx.request, {"QueueUrl": url})
    arn = arn_of(shard, ctx.request.partition)
    return ResourceState(url, {"Arn": arn, "QueueName": shard.name, "QueueUrl": url})


def _check(properties: Mapping[str, Any]) -> Sequence[str]:
    """What SQS would refuse, told before anything is made."""
    wrong = []
    if str(properties.get("QueueName", "")).endswith(".fifo"):
        wrong.append("Tule has no FIFO queues yet.")
    for name, value in _attributes(properties).items():
        if UNKNOWN in value:
            continue
        try:
            check_new({name: value})
        except AwsError as refusal:
            wrong.append(refusal.message)
    return wrong


async def _create(ctx: Context, request: ResourceRequest) -> ResourceState:
    name = str(request.properties.get("QueueName") or request.physical_name(_NAME_LENGTH))
    tags = _tags(request.properties, request.tags)
    await _refuse_foreign(ctx, request, name)
    answer = await ctx.aws.sqs.create_queue(QueueName=name, Attributes=_attributes(request.properties), tags=tags)
    return _state(ctx, answer["QueueUrl"])


async def _refuse_foreign(ctx: Context, request: ResourceRequest, name: str) -> None:
    """A queue of this name that this stack did not make is not taken over."""
    try:
        url = (await ctx.aws.sqs.get_queue_url(QueueName=name))["QueueUrl"]
    except AwsError:
        return
    tags = (await ctx.aws.sqs.list_queue_tags(QueueUrl=url)).get("Tags", {})
    if tags.get(_STACK_TAG) != request.tags.get(_STACK_TAG):
        raise AwsError(
            f"Resource of type 'AWS::SQS::Queue' with identifier '{name}' already exists.", code="AlreadyExists"
        )


async def _update(ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str) -> ResourceState:
    wanted = _attributes(request.properties)
    for name in _attributes(old):
        wanted.setdefault(name, DEFAULTS.get(name, _WITHOUT_DEFAULT.get(name, "")))
    if wanted:
        await ctx.aws.sqs.set_queue_attributes(QueueUrl=physical_id, Attributes=wanted)
    tags = _tags(request.properties, request.tags)
    gone = [key for key in _tags(old, {}) if key not in tags]
    if gone:
        await ctx.aws.sqs.untag_queue(QueueUrl=physical_id, TagKeys=gone)
    if tags:
        await ctx.aws.sqs.tag_queue(QueueUrl=physical_id, Tags=tags)
    return _state(ctx, physical_id)


async def _delete(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.sqs.delete_queue(QueueUrl=physical_id)
    except AwsError as error:
        if error.error_code != "QueueDoesNotExist":
            raise


async def _set_policy(ctx: Context, urls: Iterable[str], policy: str) -> None:
    for url in urls:
        await ctx.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


async def _create_policy(ctx: Context, request: ResourceRequest) -> ResourceState:
    await _set_policy(ctx, request.properties["Queues"], _text(request.properties["PolicyDocument"]))
    name = request.physical_name(_NAME_LENGTH)
    return ResourceState(name, {"Id": name})


async def _update_policy(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    kept = request.properties["Queues"]
    await _clear_policy(ctx, [url for url in old["Queues"] if url not in kept])
    await _set_policy(ctx, kept, _text(request.properties["PolicyDocument"]))
    return ResourceState(physical_id, {"Id": physical_id})


async def _clear_policy(ctx: Context, urls: Iterable[str]) -> None:
    for url in urls:
        try:
            await _set_policy(ctx, [url], "")
        except AwsError as error:
            if error.error_code != "QueueDoesNotExist":
                raise


async def _delete_policy(ctx: Context, request: ResourceRequest, _physical_id: str) -> None:
    await _clear_policy(ctx, request.properties.get("Queues") or ())


RESOURCES: Final[Mapping[str, ResourceType]] = {
    "AWS::SQS::Queue": ResourceType(
        name="AWS::SQS::Queue",
        properties=frozenset({"QueueName", "Tags", *_ATTRIBUTES}),
        replace_on=frozenset({"QueueName"}),
        create=_create,
        update=_update,
        delete=_delete,
        check=_check,
    ),
    "AWS::SQS::QueuePolicy": ResourceType(
        name="AWS::SQS::QueuePolicy",
        properties=frozenset({"Queues", "PolicyDocument"}),
        required=frozenset({"Queues", "PolicyDocument"}),
        create=_create_policy,
        update=_update_policy,
        delete=_delete_policy,
    ),
}
