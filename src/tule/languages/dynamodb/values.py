"""Attribute values as they travel: {"S": "text"}, {"N": "1"}, {"B": "base64"}, {"M": {...}}, ...

`weigh` checks a value, brings it into canonical form in place (numbers' texts, base64) and returns its size as
DynamoDB counts it: names and strings in UTF-8 bytes, numbers by digits, 3 bytes for a list or map and 1 for each
entry, 1 for a boolean or null.
"""

import binascii
from collections.abc import Callable
from typing import Any, Final

from tule.languages.dynamodb import numbers
from tule.languages.dynamodb.refusals import INVALID_PARAMETERS, Refusal, WrongShape

Value = dict[str, Any]
Item = dict[str, Value]

MAX_DEPTH: Final = 32
"""Levels an attribute's value may be nested, itself included (developer guide, limits)."""

MAX_ITEM_BYTES: Final = 400 * 1024

TYPES: Final = ("S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL")

_EMPTY = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
_SEVERAL = (
    "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
)
_TOO_DEEP = (
    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
)
_LIST = "Unrecognized collection type class java.lang."
_MAP = "Start of structure or map found where not expected"


def weigh_item(item: Item) -> int:
    """The size of an item whose attributes are checked and made canonical."""
    total = 0
    for name, value in item.items():
        if not name:
            raise Refusal("Empty attribute name")
        total += (len(name) if name.isascii() else len(name.encode())) + weigh(value)
    return total


def item_size(item: Item) -> int:
    """The size of an item that is canonical already."""
    return sum(len(name.encode()) + weigh(value) for name, value in item.items())


def weigh(value: Any, level: int = 1) -> int:
    """The size of one value, checked and made canonical in place; refuses what is no value."""
    if type(value) is not dict:
        raise WrongShape(_unexpected(value))
    if len(value) != 1:
        return _weigh_odd(value, level)
    ((tag, content),) = value.items()
    if tag == "S" and type(content) is str:
        return len(content) if content.isascii() else len(content.encode())
    if tag == "N" and type(content) is str:
        text = numbers.canonical(content)
        if text is not content:
            value["N"] = text
        return numbers.size_bytes(text)
    weigher = _WEIGHERS.get(tag)
    if weigher is None or content is None:
        raise Refusal(_EMPTY, bare=True)
    return weigher(value, content, level)


def _unexpected(value: Any) -> str:
    if isinstance(value, list):
        return "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"
    return "Unexpected value type in payload"


def _weigh_odd(value: Value, level: int) -> int:
    """No member or more than one: members that are null or unknown don't count."""
    known = {tag: content for tag, content in value.items() if content is not None and tag in _WEIGHERS}
    if isinstance(known.get("N"), str):
        numbers.canonical(known["N"])
    if not known:
        raise Refusal(_EMPTY, bare=True)
    if len(known) > 1:
        raise Refusal(_SEVERAL, bare=True)
    value.clear()
    value.update(known)
    return weigh(value, level)


def _not_string(content: Any) -> str:
    if content is True or content is False:
        return f"{str(content).upper()}_VALUE cannot be converted to String"
    if isinstance(content, int):
        return "NUMBER_VALUE cannot be converted to String"
    if isinstance(content, float):
        return "DECIMAL_VALUE cannot be converted to String"
    return f"{_LIST}String" if isinstance(content, list) else _MAP


def _string(_value: Value, content: Any, _level: int) -> int:
    raise WrongShape(_not_string(content))


def _binary(value: Value, content: Any, _level: int) -> int:
    text, raw = canonical_binary(content)
    value["B"] = text
    return len(raw)


def canonical_binary(content: Any) -> tuple[str, bytes]:
    """(base64 in its one form, the bytes) of a binary as it came: base64, or bytes from inside Tule."""
    if isinstance(content, bytes):
        return binascii.b2a_base64(content, newline=False).decode(), content
    if not isinstance(content, str):
        if isinstance(content, list):
            raise WrongShape("Unrecognized collection type class java.nio.ByteBuffer")
        if isinstance(content, dict):
            raise WrongShape(_MAP)
        raise WrongShape("only base-64-encoded strings are convertible to bytes")
    if len(content) % 4:
        raise WrongShape(f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(content)}")
    try:
        raw = binascii.a2b_base64(content, strict_mode=True)
    except (binascii.Error, ValueError):
        raise WrongShape("Invalid last non-pad Base64 character dectected") from None
    return binascii.b2a_base64(raw, newline=False).decode(), raw


def _members(content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise WrongShape(_MAP if isinstance(content, dict) else "Unexpected field type")
    return content


def _string_set(_value: Value, content: Any, _level: int) -> int:
    members = _members(content)
    for member in members:
        if not isinstance(member, str):
            raise WrongShape(_not_string(member))
    if not members:
        raise Refusal(f"{INVALID_PARAMETERS}An string set  may not be empty")
    if len(set(members)) != len(members):
        quoted = ", ".join(f'"{member}"' for member in _as_recited(members))
        raise Refusal(
            f"{INVALID_PARAMETERS}Input collection [{quoted}] contains duplicates.",
            older=f"{INVALID_PARAMETERS}Input collection [{', '.join(members)}] contains duplicates.",
        )
    return sum(len(member.encode()) for member in members)


def _as_recited(members: list[str], order: Callable[[str], Any] = str) -> list[str]:
    """The members as AWS prints a duplicate: sorted up to the first repeat, the repeat, then the rest as sent."""
    seen: set[str] = set()
    for index, member in enumerate(members):
        if member in seen:
            return [*sorted(seen, key=order), *members[index:]]
        seen.add(member)
    return members


def _number_set(value: Value, content: Any, _level: int) -> int:
    members = _members(content)
    texts = []
    for member in members:
        if not isinstance(member, str):
            raise WrongShape(_not_string(member))
        texts.append(numbers.canonical(member))
    if not members:
        raise Refusal(f"{INVALID_PARAMETERS}An number set  may not be empty")
    if len(set(texts)) != len(texts):
        raise Refusal(
            f"{INVALID_PARAMETERS}Input collection contains duplicates.", older="Input collection contains duplicates"
        )
    value["NS"] = texts
    return sum(map(numbers.size_bytes, texts))


def _binary_set(value: Value, content: Any, _level: int) -> int:
    members = [canonical_binary(member) for member in _members(content)]
    if not members:
        raise Refusal(f"{INVALID_PARAMETERS}Binary sets should not be empty")
    texts = [text for text, _ in members]
    if len(set(texts)) != len(texts):
        quoted = ",".join(f'"{text}"' for text in _as_recited(texts, binascii.a2b_base64))
        raise Refusal(
            f"{INVALID_PARAMETERS}Input collection [{quoted}]of type BS contains duplicates.",
            older=f"{INVALID_PARAMETERS}Input collection [{', '.join(texts)}]of type BS contains duplicates.",
        )
    value["BS"] = texts
    return sum(len(raw) for _, raw in members)


def _list(_value: Value, content: Any, level: int) -> int:
    if level >= MAX_DEPTH and content:
        raise Refusal(_TOO_DEEP)
    total = 3
    for member in _members(content):
        total += 1 + weigh(member, level + 1)
    return total


def _map(_value: Value, content: Any, level: int) -> int:
    if not isinstance(content, dict):
        if isinstance(content, list):
            raise WrongShape(
                "Unrecognized collection type java.util.Map<java.lang.String, "
                "com.amazonaws.dynamodb.v20120810.AttributeValue>"
            )
        raise WrongShape("Unexpected field type")
    if level >= MAX_DEPTH and content:
        raise Refusal(_TOO_DEEP)
    total = 3
    for name, member in content.items():
        total += 1 + len(name.encode()) + weigh(member, level + 1)
    return total


_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _boolean(content: Any) -> bool:
    if isinstance(content, bool):
        return content
    if isinstance(content, str):
        if content.lower() in _WORDS:
            return _WORDS[content.lower()]
        raise WrongShape("Unexpected token received from parser")
    if isinstance(content, int):
        raise WrongShape("NUMBER_VALUE cannot be converted to Boolean")
    if isinstance(content, float):
        raise WrongShape("DECIMAL_VALUE cannot be converted to Boolean")
    raise WrongShape(f"{_LIST}Boolean" if isinstance(content, list) else _MAP)


def _bool(value: Value, content: Any, _level: int) -> int:
    value["BOOL"] = _boolean(content)
    return 1


def _null(value: Value, content: Any, _level: int) -> int:
    value["NULL"] = _boolean(content)
    if not value["NULL"]:
        raise Refusal(f"{INVALID_PARAMETERS}Null attribute value types must have the value of true")
    return 1


_WEIGHERS: Final[dict[str, Callable[[Value, Any, int], int]]] = {
    "S": _string,
    "N": _string,
    "B": _binary,
    "SS": _string_set,
    "NS": _number_set,
    "BS": _binary_set,
    "M": _map,
    "L": _list,
    "NULL": _null,
    "BOOL": _bool,
}


def type_of(value: Value) -> str:
    """The type of a canonical value: S, N, B, ..."""
    return next(iter(value))
