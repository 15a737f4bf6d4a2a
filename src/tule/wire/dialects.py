"""What services do differently on the wire although their models don't say so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal


@dataclass(frozen=True, slots=True)
class Dialect:
    """A service's own ways. The defaults are those of most services."""

    error_namespace: str = ""
    """In front of modelled codes in `__type`, with its "#"."""
    common_namespaces: Mapping[str, str] = field(default_factory=dict)
    """The same for codes that the service's model doesn't have."""
    query_codes: Mapping[str, str] = field(default_factory=dict)
    """Codes that query clients see, by the name of the error's shape, where the model has lost them."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """HTTP statuses of errors that are not 400 and that the model has lost."""
    validates: Literal["all", "required", "types"] = "all"
    """What requests are held against: all of the model's constraints, required members alone, or types alone. The
    service does the rest in its own words (it may use `tule.wire.validation.violations`)."""
    validation_code: str = "ValidationException"
    missing_code: str = ""
    """Code of a missing required member, where that is told by itself..."""
    missing_text: str = ""
    """...and its message, with {name} for the member."""
    type_texts: str = "coral"
    """Which wording SerializationException has: "coral", or "dynamodb" for the older one."""
    upper_message: frozenset[str] = frozenset()
    """Codes outside the model whose body has "Message" instead of "message"."""
    silent: frozenset[str] = frozenset()
    """Codes whose body is `__type` alone."""
    open_enums: frozenset[str] = frozenset()
    """Shapes whose enumeration the service itself holds values against, in words of its own."""
    kept_shapes: frozenset[str] = frozenset()
    """Structures that reach the handler as they were on the wire: blobs in them stay base64 text."""
    raw_members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By operation: members whose JSON reaches the handler unread, as `RawJson`."""
    body_checksum: bool = False
    """Answers carry x-amz-crc32."""
    trimmed_errors: bool = False
    """XML errors are a bare <Error> (S3)."""
    list_members_not_null: bool = False
    """Constraints of list members are told with "Member must not be null" (Lambda)."""
    element_names: Mapping[str, str] = field(default_factory=dict)
    """Query names of list elements, by list shape, that the model lost when the service moved to JSON."""
    member_names: Mapping[str, str] = field(default_factory=dict)
    """The same for members, by "Shape.member"."""
    map_names: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The same for keys and values, by map shape."""
    namespace: str = ""
    """The same for the XML namespace."""


_CORAL_SERVICE: Final = "com.amazon.coral.service#"
_CORAL: Final = {
    "ValidationException": "com.amazon.coral.validate#",
    "SerializationException": _CORAL_SERVICE,
    "UnknownOperationException": _CORAL_SERVICE,
    "MissingAuthenticationTokenException": _CORAL_SERVICE,
    "IncompleteSignatureException": _CORAL_SERVICE,
    "InvalidSignatureException": _CORAL_SERVICE,
    "UnrecognizedClientException": _CORAL_SERVICE,
    "AccessDeniedException": _CORAL_SERVICE,
    "ExpiredTokenException": _CORAL_SERVICE,
    "InternalFailure": _CORAL_SERVICE,
    "ThrottlingException": "com.amazon.coral.availability#",
}

_SIMPLE_QUEUE: Final = "AWS.SimpleQueueService."

SQS: Final = Dialect(
    # Codes, element names and the namespace are those of API version 2012-11-05 before it moved to JSON
    # (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/, query examples).
    error_namespace="com.amazonaws.sqs#",
    common_namespaces=_CORAL,
    query_codes={
        "BatchEntryIdsNotDistinct": _SIMPLE_QUEUE + "BatchEntryIdsNotDistinct",
        "BatchRequestTooLong": _SIMPLE_QUEUE + "BatchRequestTooLong",
        "EmptyBatchRequest": _SIMPLE_QUEUE + "EmptyBatchRequest",
        "InvalidBatchEntryId": _SIMPLE_QUEUE + "InvalidBatchEntryId",
        "MessageNotInflight": _SIMPLE_QUEUE + "MessageNotInflight",
        "PurgeQueueInProgress": _SIMPLE_QUEUE + "PurgeQueueInProgress",
        "QueueDeletedRecently": _SIMPLE_QUEUE + "QueueDeletedRecently",
        "QueueDoesNotExist": _SIMPLE_QUEUE + "NonExistentQueue",
        "QueueNameExists": "QueueAlreadyExists",
        "TooManyEntriesInBatchRequest": _SIMPLE_QUEUE + "TooManyEntriesInBatchRequest",
        "UnsupportedOperation": _SIMPLE_QUEUE + "UnsupportedOperation",
        "KmsAccessDenied": "KMS.AccessDeniedException",
        "KmsDisabled": "KMS.DisabledException",
        "KmsInvalidKeyUsage": "KMS.InvalidKeyUsageException",
        "KmsInvalidState": "KMS.InvalidStateException",
        "KmsNotFound": "KMS.NotFoundException",
        "KmsOptInRequired": "KMS.OptInRequired",
        "KmsThrottled": "KMS.ThrottlingException",
    },
    statuses={
        "PurgeQueueInProgress": 403,
        "OverLimit": 403,
        "InvalidSecurity": 403,
        "RequestThrottled": 403,
        "ResourceNotFoundException": 404,
    },
    validates="required",
    missing_code="MissingParameter",
    missing_text="The request must contain the parameter {name}.",
    element_names={
        "AWSAccountIdList": "AWSAccountId",
        "ActionNameList": "ActionName",
        "AttributeNameList": "AttributeName",
        "MessageSystemAttributeList": "MessageSystemAttributeName",
        "MessageAttributeNameList": "MessageAttributeName",
        "BatchResultErrorEntryList": "BatchResultErrorEntry",
        "BinaryList": "BinaryListValue",
        "StringList": "StringListValue",
        "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
        "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
        "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
        "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
        "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
        "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
        "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
        "MessageList": "Message",
        "QueueUrlList": "QueueUrl",
        "TagKeyList": "TagKey",
    },
    member_names={
        "CreateQueueRequest.Attributes": "Attribute",
        "CreateQueueRequest.tags": "Tag",
        "GetQueueAttributesResult.Attributes": "Attribute",
        "SetQueueAttributesRequest.Attributes": "Attribute",
        "ListQueueTagsResult.Tags": "Tag",
        "TagQueueRequest.Tags": "Tag",
        "Message.Attributes": "Attribute",
        "Message.MessageAttributes": "MessageAttribute",
        "SendMessageRequest.MessageAttributes": "MessageAttribute",
        "SendMessageRequest.MessageSystemAttributes": "MessageSystemAttribute",
        "SendMessageBatchRequestEntry.MessageAttributes": "MessageAttribute",
        "SendMessageBatchRequestEntry.MessageSystemAttributes": "MessageSystemAttribute",
    },
    map_names={
        "MessageBodyAttributeMap": ("Name", "Value"),
        "MessageBodySystemAttributeMap": ("Name", "Value"),
        "MessageSystemAttributeMap": ("Name", "Value"),
        "QueueAttributeMap": ("Name", "Value"),
        "TagMap": ("Key", "Value"),
    },
    namespace="http://queue.amazonaws.com/doc/2012-11-05/",
)

_DYNAMODB_RULES: Final[dict[str, Any]] = {
    "common_namespaces": _CORAL,
    "validates": "types",
    "type_texts": "dynamodb",
    "upper_message": frozenset({"SerializationException", "AccessDeniedException"}),
    "silent": frozenset({"UnknownOperationException"}),
    "kept_shapes": frozenset({"AttributeValue"}),
    "body_checksum": True,
}

DIALECTS: Final[Mapping[str, Dialect]] = {
    "sqs": SQS,
    "dynamodb": Dialect(error_namespace="com.amazonaws.dynamodb.v20120810#", **_DYNAMODB_RULES),
    "dynamodbstreams": Dialect(error_namespace="com.amazonaws.dynamodb.v20120810#", **_DYNAMODB_RULES),
    "s3": Dialect(validates="types", trimmed_errors=True),
    "logs": Dialect(validation_code="InvalidParameterException"),
    "lambda": Dialect(list_members_not_null=True, open_enums=frozenset({"Runtime"})),
    "cloudformation": Dialect(validation_code="ValidationError"),
    "iam": Dialect(validation_code="ValidationError"),
    "sts": Dialect(validation_code="ValidationError"),
    "sns": Dialect(validation_code="ValidationError"),
    "cloudwatch": Dialect(validation_code="ValidationError"),
}

_PLAIN: Final = Dialect()


def dialect_of(service: str) -> Dialect:
    """The ways of `service` by botocore's name."""
    return DIALECTS.get(service, _PLAIN)
