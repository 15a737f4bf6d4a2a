"""Types that msgspec decodes a request's JSON into: it checks and converts in C what a model says in words."""

from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from tule.wire.dialects import Dialect
from tule.wire.models import Shape

Integer = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Long = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

_SCALARS: dict[str, Any] = {
    "string": str,
    "character": str,
    "integer": Integer,
    "long": Long,
    "bigdecimal": float,
    "biginteger": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "blob": bytes,
    "timestamp": float,
}


class AttributeValue(TypedDict, total=False):
    """DynamoDB's value as it is on the wire; binaries stay base64 text."""

    S: str
    N: str
    B: str
    SS: list[str]
    NS: list[str]
    BS: list[str]
    M: dict[str, "AttributeValue"]
    L: list["AttributeValue"]
    NULL: bool
    BOOL: bool


_KEPT: dict[str, Any] = {"AttributeValue": AttributeValue}


class NotTypableError(Exception):
    """The shape contains itself; `tule.wire.coercion` alone reads it."""


def type_of(shape: Shape, dialect: Dialect, within: tuple[str, ...] = ()) -> Any:
    """The type of a value of `shape` on the wire. Raises NotTypableError."""
    if shape.name in dialect.kept_shapes:
        return _KEPT[shape.name]
    if shape.flag("document"):
        return Any
    scalar = _SCALARS.get(shape.type)
    if scalar is not None:
        return scalar
    if shape.name in within:
        raise NotTypableError(shape.name)
    inner = (*within, shape.name)
    if shape.type == "list":
        return list[type_of(shape.element, dialect, inner)]  # type: ignore[misc]  # the type is made at run time
    if shape.type == "map":
        return dict[str, type_of(shape.value, dialect, inner)]  # type: ignore[misc]  # as above
    fields = {
        member.wire_name(name): type_of(member, dialect, inner)
        for name, member in shape.members.items()
        if not member.location and not member.flag("eventstream")
    }
    return typed_dict(shape.name, fields)


def typed_dict(name: str, fields: dict[str, Any]) -> Any:
    """A TypedDict of optional members."""
    made: Any = TypedDict
    return made(name, {key: NotRequired[value] for key, value in fields.items()})
