"""Queue attributes: which there are, what they may be, and what AWS says when they may not."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.services.sqs import limits
from tule.services.sqs.errors import invalid_attribute_name, invalid_attribute_value, invalid_parameter, invalid_value
from tule.services.sqs.names import arn_of, shard_of_arn
from tule.services.sqs.queue import DEFAULTS, Record
from tule.store.layers.queues import Counted
from tule.store.transaction import ShardKey

ALL: Final = "All"
_RANGES: Final = {
    "DelaySeconds": (0, limits.MAX_DELAY_S),
    "MaximumMessageSize": (limits.MIN_MESSAGE_BYTES_SETTING, limits.MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": (limits.MIN_RETENTION_S, limits.MAX_RETENTION_S),
    "ReceiveMessageWaitTimeSeconds": (0, limits.MAX_WAIT_S),
    "VisibilityTimeout": (0, limits.MAX_VISIBILITY_S),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}
_FIFO_ONLY: Final = frozenset(("DeduplicationScope", "FifoThroughputLimit"))
_KMS_DEFAULT_REUSE: Final = "300"


def _check_number(name: str, value: str) -> None:
    low, high = _RANGES[name]
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise invalid_attribute_value(name)


def _check_flag(name: str, value: str) -> None:
    if value not in ("true", "false"):
        raise invalid_attribute_value(name)


def _check_policy(name: str, value: str) -> None:
    if not isinstance(_json(value), dict):
        raise invalid_attribute_value(name)


def _check_redrive(name: str, value: str) -> None:
    policy = _json(value)
    if not isinstance(policy, dict):
        raise invalid_attribute_value(name, "Redrive policy is not a valid JSON map.")
    for required in ("maxReceiveCount", "deadLetterTargetArn"):
        if required not in policy:
            reason = f"Redrive policy does not contain mandatory attribute: {required}."
            raise invalid_value(value, name, reason)
    if set(policy) - {"maxReceiveCount", "deadLetterTargetArn"}:
        reason = "Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount]."
        raise invalid_value(value, name, reason)
    count = str(policy["maxReceiveCount"])
    if not (count.isascii() and count.isdigit() and 1 <= int(count) <= limits.MAX_RECEIVE_COUNT):
        reason = f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive."
        raise invalid_value(value, name, reason)
    target = policy["deadLetterTargetArn"]
    if not isinstance(target, str) or shard_of_arn(target) is None:
        raise invalid_value(value, name, "Invalid value for deadLetterTargetArn.")


def _check_redrive_allow(name: str, value: str) -> None:
    policy = _json(value)
    begin = "Amazon SQS can't create the redrive allow policy"
    if not isinstance(policy, dict) or set(policy) - {"redrivePermission", "sourceQueueArns"}:
        raise invalid_value(value, name, f"{begin}, as it's in an unsupported format.")
    permission, sources = policy.get("redrivePermission"), policy.get("sourceQueueArns")
    if permission not in ("allowAll", "denyAll", "byQueue"):
        raise invalid_value(value, name, f"{begin}, as it's in an unsupported format.")
    if permission == "byQueue":
        if not sources or not isinstance(sources, list):
            reason = (
                f"{begin}. When you specify the byQueue permission type, you must also specify one or more "
                "sourceQueueArns values."
            )
            raise invalid_value(value, name, reason)
        if len(sources) > limits.MAX_SOURCE_QUEUES or not all(isinstance(one, str) for one in sources):
            raise invalid_value(value, name, f"{begin}, as it's in an unsupported format.")
    elif sources is not None:
        reason = f"{begin}. To specify one or more source queue ARNs, you must set redrivePermission to byQueue."
        raise invalid_value(value, name, reason)


def _check_text(_name: str, _value: str) -> None:
    return


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


_CHECKS: Final[Mapping[str, Callable[[str, str], None]]] = {
    **dict.fromkeys(_RANGES, _check_number),
    "Policy": _check_policy,
    "RedrivePolicy": _check_redrive,
    "RedriveAllowPolicy": _check_redrive_allow,
    "SqsManagedSseEnabled": _check_flag,
    "KmsMasterKeyId": _check_text,
}
_MAY_BE_EMPTY: Final = frozenset(("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId"))
_COMPUTED: Final = (
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
)
_FIFO_NAMES: Final = frozenset(("FifoQueue", "ContentBasedDeduplication", *_FIFO_ONLY))
_READABLE: Final = frozenset((*_CHECKS, *_COMPUTED, *_FIFO_NAMES, ALL))


def check_new(attributes: Mapping[str, str]) -> None:
    """Refuse attributes that a new standard queue may not have."""
    if attributes.get("FifoQueue") == "true":
        raise OperationNotImplementedError("sqs", "CreateQueue", "FIFO queues are not there yet.")
    _check(attributes)


def check_change(attributes: Mapping[str, str]) -> None:
    """Refuse attributes that SetQueueAttributes may not set."""
    if "FifoQueue" in attributes:
        raise invalid_attribute_value("FifoQueue", "Modifying queue type is not supported.")
    _check(attributes)


def _check(attributes: Mapping[str, str]) -> None:
    for name, value in attributes.items():
        if name in _FIFO_ONLY:
            raise invalid_attribute_name(f"You can specify the {name} only when FifoQueue is set to true.")
        check = _CHECKS.get(name)
        if check is None:
            raise invalid_attribute_name(f"Unknown Attribute {name}.")
        if value == "" and name in _MAY_BE_EMPTY:
            continue
        check(name, value)
    if attributes.get("KmsMasterKeyId") and attributes.get("SqsManagedSseEnabled") == "true":
        raise AwsError(
            "You can use one type of server-side encryption (SSE) at one time. "
            "You can either enable KMS SSE or SQS SSE.",
            code="InvalidAttributeValue",
        )


def merged(current: Mapping[str, str], change: Mapping[str, str]) -> dict[str, str]:
    """Attributes after a change. An empty value takes one away; the two kinds of encryption exclude each other."""
    result = {**current, **change}
    if change.get("KmsMasterKeyId"):
        result["SqsManagedSseEnabled"] = "false"
    elif change.get("SqsManagedSseEnabled") == "true":
        result.pop("KmsMasterKeyId", None)
    return {name: value for name, value in result.items() if value != ""}


def differing(record: Record, wanted: Mapping[str, str]) -> str | None:
    """The first attribute in which an existing queue differs from what a CreateQueue wants."""
    for name, value in wanted.items():
        current = record.attribute(name)
        if current != value and _json_or_text(current) != _json_or_text(value):
            return name
    return None


def _json_or_text(value: str) -> Any:
    parsed = _json(value) if value.startswith("{") else None
    return value if parsed is None else parsed


def redrive_target(attributes: Mapping[str, str]) -> ShardKey | None:
    """The dead-letter queue that these attributes name."""
    policy = attributes.get("RedrivePolicy")
    return shard_of_arn(msgspec.json.decode(policy)["deadLetterTargetArn"]) if policy else None


def check_allowed(attributes: Mapping[str, str], source_arn: str, target: Record | None) -> None:
    """Refuse a redrive policy whose queue doesn't exist or doesn't take this source."""
    policy = attributes["RedrivePolicy"]
    if target is None or not target.exists:
        raise invalid_value(policy, "RedrivePolicy", "Dead letter target does not exist.")
    allow = target.attributes.get("RedriveAllowPolicy")
    if not allow:
        return
    fields = msgspec.json.decode(allow)
    permission = fields["redrivePermission"]
    if permission == "denyAll" or (permission == "byQueue" and source_arn not in fields["sourceQueueArns"]):
        raise invalid_value(policy, "RedrivePolicy", "Dead letter target does not allow this queue as its source.")


def check_names(names: list[str]) -> None:
    """Refuse a name that GetQueueAttributes doesn't know."""
    for name in names:
        if name not in _READABLE:
            raise invalid_attribute_name(f"Unknown Attribute {name}.")


def shown(
    context: RequestContext, shard: ShardKey, record: Record, counts: Counted, names: list[str]
) -> dict[str, str]:
    """GetQueueAttributes' answer."""
    values = {
        **{name: record.attribute(name) for name in DEFAULTS},
        **record.attributes,
        "QueueArn": arn_of(shard, context.partition),
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
        "CreatedTimestamp": str(record.created_at // 1000),
        "LastModifiedTimestamp": str(record.modified_at // 1000),
    }
    if values.get("KmsMasterKeyId"):
        values.setdefault("KmsDataKeyReusePeriodSeconds", _KMS_DEFAULT_REUSE)
    if ALL in names:
        return values
    return {name: values[name] for name in names if name in values}


def invalid_label(label: str, reason: str) -> AwsError:
    return invalid_parameter(f"Value {label} for parameter Label is invalid. Reason: {reason}")
