"""What a message may contain, and the digests that SQS answers with."""

import re
import struct
from collections.abc import Mapping
from hashlib import md5
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.sqs import limits
from tule.services.sqs.errors import invalid_parameter, invalid_value, missing_parameter

Attributes = dict[str, dict[str, Any]]

_CONTROLS: Final = bytes(code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D))
_NOT_CHARACTERS: Final = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
_ATTRIBUTE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")
_ATTRIBUTE_TYPE: Final = re.compile(r"(String|Number|Binary)(\..+)?\Z", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_GROUP_ID: Final = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}\Z")
_LENGTH: Final = struct.Struct(">I").pack

TRACE_HEADER: Final = "AWSTraceHeader"


def md5_of(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


def allowed(data: bytes) -> bool:
    """Whether these bytes are UTF-8 of characters that SQS takes: XML's."""
    return len(data.translate(None, _CONTROLS)) == len(data) and _unicode(data)


def _unicode(data: bytes) -> bool:
    """Whether this has neither surrogates nor U+FFFE and U+FFFF."""
    if _NOT_CHARACTERS[0] in data or _NOT_CHARACTERS[1] in data:
        return False
    return b"\xed" not in data or _no_surrogates(data)


def check_body(body: str) -> bytes:
    """The body's bytes; refused if it is empty or has a character that SQS doesn't take."""
    if not body:
        raise missing_parameter("MessageBody")
    data = body.encode("utf-8", "surrogatepass")
    if len(data.translate(None, _CONTROLS)) != len(data) or not (body.isascii() or _unicode(data)):
        raise AwsError(
            "Invalid characters found. Valid unicode characters are "
            "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
            code="InvalidMessageContents",
        )
    return data


def _no_surrogates(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise invalid_parameter(
            f"One or more parameters are invalid. Reason: Message must be shorter than {max_bytes} bytes."
        )


def check_group_id(value: str) -> None:
    if not _GROUP_ID.match(value):
        raise invalid_value(
            value,
            "MessageGroupId",
            "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.",
        )


def check_attributes(attributes: Attributes, *, system: bool = False) -> int:
    """Refuse attributes that SQS refuses; returns what they add to the message's size, in bytes."""
    if len(attributes) > limits.MAX_MESSAGE_ATTRIBUTES:
        raise invalid_parameter(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum "
            f"[{limits.MAX_MESSAGE_ATTRIBUTES}]."
        )
    kind = "system" if system else "user"
    return sum(_check_attribute(name, value, kind) for name, value in attributes.items())


def _check_attribute(name: str, attribute: Mapping[str, Any], kind: str) -> int:
    _check_attribute_name(name)
    data_type = attribute.get("DataType", "")
    if not data_type:
        raise invalid_parameter(f"The message attribute '{name}' must contain non-empty message attribute type.")
    if len(data_type.encode()) >= limits.MAX_ATTRIBUTE_TYPE:
        raise invalid_parameter("Message (user) attribute types must be shorter than 256 Bytes")
    match = _ATTRIBUTE_TYPE.match(data_type)
    if match is None:
        raise invalid_parameter(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    base = match[1]
    if attribute.get("StringListValues") or attribute.get("BinaryListValues"):
        raise AwsError(
            "Message attribute list values in SendMessage operation are not supported.", code="UnsupportedOperation"
        )
    text, blob = attribute.get("StringValue"), attribute.get("BinaryValue")
    if text is not None and blob is not None:
        raise invalid_parameter(f"Message ({kind}) attribute '{name}' must have a single value.")
    wrong = text is not None if base == "Binary" else blob is not None
    if wrong:
        field = "Binary" if base == "Binary" else "String"
        raise invalid_parameter(f"Message ({kind}) attribute '{name}' with type '{base}' must use field '{field}'.")
    value = blob if base == "Binary" else text
    if not value:
        raise invalid_parameter(f"Message ({kind}) attribute '{name}' must contain a non-empty value of type '{base}'.")
    return len(name.encode()) + len(data_type.encode()) + _check_value(name, value, base, kind)


def _check_value(name: str, value: str | bytes, base: str, kind: str) -> int:
    if isinstance(value, bytes):
        return len(value)
    data = value.encode("utf-8", "surrogatepass")
    if not allowed(data):
        raise invalid_parameter(
            "Invalid characters found. Valid unicode characters are "
            "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        )
    if base == "Number" and not _NUMBER.match(value):
        raise invalid_parameter(f"Can't cast the value of message ({kind}) attribute '{name}' to a number.")
    return len(data)


def _check_attribute_name(name: str) -> None:
    if not name:
        raise invalid_parameter("Message (user) attribute name can not be null or empty")
    if len(name) > limits.MAX_ATTRIBUTE_NAME:
        raise invalid_parameter("Message (user) attribute names must be shorter than 256 Bytes")
    if not _ATTRIBUTE_NAME.match(name):
        raise invalid_parameter(
            f"The message (user) attribute name '{name}' is invalid. The attribute name can contain the characters "
            "A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.)."
        )
    if name.lower().startswith(("aws.", "amazon.")):
        raise invalid_parameter("You can't use message attribute names beginning with 'AWS.' or 'Amazon.'.")
    if name.startswith(".") or name.endswith(".") or ".." in name:
        raise invalid_parameter(
            f"The message (user) attribute name '{name}' is invalid. Periods may not be at its ends or in a row."
        )


def check_system_attributes(attributes: Attributes) -> int:
    """The same for system attributes, of which SQS takes one. They add nothing to the message's size."""
    for name, attribute in attributes.items():
        if name != TRACE_HEADER:
            raise invalid_parameter(f"Message system attribute name '{name}' is invalid.")
        if attribute.get("DataType") != "String":
            raise invalid_parameter(f"Message system attribute '{name}' must be of type 'String'.")
        _check_attribute(name, attribute, "system")
    return 0


def md5_of_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """SQS's digest of message attributes: names in order, each part preceded by its length."""
    parts: list[bytes] = []
    for name in sorted(attributes):
        attribute = attributes[name]
        value = attribute.get("BinaryValue")
        mark = b"\x02"
        if value is None:
            value, mark = attribute["StringValue"].encode(), b"\x01"
        encoded_name, data_type = name.encode(), attribute["DataType"].encode()
        parts += (_LENGTH(len(encoded_name)), encoded_name, _LENGTH(len(data_type)), data_type)
        parts += (mark, _LENGTH(len(value)), value)
    return md5_of(b"".join(parts))
