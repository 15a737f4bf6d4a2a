"""How canonical attribute values compare, contain and are measured by `size`."""

import binascii
from decimal import Decimal
from typing import Any, Final

from tule.languages.dynamodb import numbers
from tule.languages.dynamodb.values import Value

ORDERED: Final = frozenset({"S", "N", "B"})
SETS: Final = frozenset({"SS", "NS", "BS"})


def equal(left: Value, right: Value) -> bool:
    """Same type and same content; the order within sets and maps doesn't matter."""
    if left == right:
        return True
    ((tag, a),) = left.items()
    ((other, b),) = right.items()
    if tag != other or tag not in ("SS", "NS", "BS", "L", "M"):
        return False
    if tag == "L":
        return len(a) == len(b) and all(map(equal, a, b))
    if tag == "M":
        return a.keys() == b.keys() and all(equal(member, b[name]) for name, member in a.items())
    return set(a) == set(b)


def order_key(value: Value) -> tuple[str, Any] | None:
    """(type, something that sorts as the type does), or None for types without an order."""
    ((tag, content),) = value.items()
    if tag == "S":
        return tag, content
    if tag == "N":
        return tag, Decimal(content)
    if tag == "B":
        return tag, binascii.a2b_base64(content)
    return None


def key_bytes(value: Value) -> bytes:
    """A key attribute's value as bytes in its type's order (S in UTF-8, B as it is, N encoded)."""
    ((tag, content),) = value.items()
    if tag == "S":
        return content.encode()  # type: ignore[no-any-return]  # wire values are untyped
    return numbers.order_bytes(content) if tag == "N" else binascii.a2b_base64(content)


def contains(container: Value, member: Value) -> bool:
    """A substring, a member of a set, or an element of a list."""
    ((tag, content),) = container.items()
    ((other, wanted),) = member.items()
    if tag == "L":
        return any(equal(element, member) for element in content)
    if tag in SETS:
        return bool(other == tag[0] and wanted in content)
    if tag != other:
        return False
    if tag == "S":
        return wanted in content
    if tag == "B":
        return binascii.a2b_base64(wanted) in binascii.a2b_base64(content)
    return False


def begins_with(value: Value, prefix: Value) -> bool:
    """Whether a string or binary starts with another of its type."""
    ((tag, content),) = value.items()
    ((other, start),) = prefix.items()
    if tag != other:
        return False
    if tag == "S":
        return bool(content.startswith(start))
    return tag == "B" and binascii.a2b_base64(content).startswith(binascii.a2b_base64(start))


def size_of(value: Value) -> int | None:
    """What `size(path)` yields: bytes of a string or binary, members of a set, list or map; None for the rest."""
    ((tag, content),) = value.items()
    if tag == "S":
        return len(content.encode())
    if tag == "B":
        return len(binascii.a2b_base64(content))
    return len(content) if tag in ("SS", "NS", "BS", "L", "M") else None
