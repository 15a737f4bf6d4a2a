"""The patient way to read JSON: what msgspec refused is read again, member by member, for AWS's own sentence.

Also lets through what AWS lets through: nulls are absent, unknown members are ignored, decimals become integers.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.wire.dialects import Dialect
from tule.wire.models import Shape
from tule.wire.timestamps import parse_timestamp

Coerce = Callable[[Any], Any]

_JAVA: Final = {
    "string": "String",
    "character": "String",
    "integer": "Integer",
    "long": "Long",
    "biginteger": "BigInteger",
    "bigdecimal": "BigDecimal",
    "float": "Float",
    "double": "Double",
    "boolean": "Boolean",
    "timestamp": "Timestamp",
    "blob": "ByteBuffer",
}
_RANGES: Final = {"integer": 2**31, "long": 2**63}
_TRUE: Final = frozenset({"true", "yes", "y", "1", "on", "t"})
_FALSE: Final = frozenset({"false", "no", "n", "0", "off", "f"})
_NOT_NUMBERS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}

MAX_DEPTH: Final = 200
"""Of shapes that contain themselves; JSON that is deeper is refused (ours; DynamoDB allows 32 levels of data)."""


class SerializationError(AwsError):
    """The request is not of the model's types."""

    code = "SerializationException"


def _token(value: Any) -> str:
    if value is True:
        return "TRUE_VALUE"
    if value is False:
        return "FALSE_VALUE"
    if isinstance(value, str):
        return "STRING_VALUE"
    return "DECIMAL_VALUE" if isinstance(value, float) else "NUMBER_VALUE"


class Coercion:
    """Makes coercing functions for the shapes of one service."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._old_texts = dialect.type_texts == "dynamodb"

    def of(self, shape: Shape, *, keep: bool = False) -> Coerce:
        """A function that gives a value of `shape` from decoded JSON, or raises SerializationError.

        `keep` leaves blobs as text.
        """
        keep = keep or shape.name in self._dialect.kept_shapes
        if shape.flag("document"):
            return lambda value: value
        if shape.type == "structure":
            return self._structure(shape, keep=keep)
        if shape.type == "list":
            return self._list(shape, keep=keep)
        if shape.type == "map":
            return self._map(shape, keep=keep)
        return self._scalar(shape, keep=keep)

    def _structure(self, shape: Shape, *, keep: bool) -> Coerce:
        compiled: dict[str, Coerce] = {}
        names = {member.wire_name(name): member for name, member in shape.members.items() if not member.location}

        def coerce(value: Any) -> Any:
            if type(value) is not dict:
                raise self._no_structure(shape, value)
            result = {}
            for name, part in value.items():
                member = names.get(name)
                if member is None or part is None:
                    continue
                read = compiled.get(name)
                if read is None:
                    read = compiled[name] = self.of(member, keep=keep)
                result[name] = read(part)
            return result

        return coerce

    def _list(self, shape: Shape, *, keep: bool) -> Coerce:
        read = self._later(shape.element, keep=keep)

        def coerce(value: Any) -> Any:
            if type(value) is not list:
                raise self._unexpected(shape, value)
            return [read(part) for part in value if part is not None]

        return coerce

    def _map(self, shape: Shape, *, keep: bool) -> Coerce:
        read = self._later(shape.value, keep=keep)

        def coerce(value: Any) -> Any:
            if type(value) is not dict:
                raise self._unexpected(shape, value)
            return {name: read(part) for name, part in value.items() if part is not None}

        return coerce

    def _later(self, shape: Shape, *, keep: bool) -> Coerce:
        """Compiled when first needed: shapes may contain themselves."""
        made: list[Coerce] = []

        def read(value: Any) -> Any:
            if not made:
                made.append(self.of(shape, keep=keep))
            return made[0](value)

        return read

    def _scalar(self, shape: Shape, *, keep: bool) -> Coerce:
        kind = "string" if keep and shape.type == "blob" else shape.type
        convert = getattr(self, f"_to_{_CONVERTERS[kind]}")

        def coerce(value: Any) -> Any:
            if type(value) is dict:
                raise SerializationError(f"Start of structure or map found where not expected{self._stop}")
            if type(value) is list:
                if self._old_texts:
                    package = "java.nio" if kind == "blob" else "java.lang"
                    raise SerializationError(f"Unrecognized collection type class {package}.{_JAVA[kind]}")
                raise SerializationError("Start of list found where not expected")
            return convert(value, kind)

        return coerce

    @property
    def _stop(self) -> str:
        return "" if self._old_texts else "."

    def _cannot(self, value: Any, kind: str) -> SerializationError:
        if self._old_texts:
            return SerializationError(f"{_token(value)} cannot be converted to {_JAVA[kind]}")
        java = _JAVA[kind]
        article = "an" if java[0] in "AEIOU" else "a"
        return SerializationError(f"{_token(value)} can not be converted to {article} {java}")

    def _to_string(self, value: Any, kind: str) -> str:
        if type(value) is not str:
            raise self._cannot(value, kind)
        return value

    def _to_integer(self, value: Any, kind: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._cannot(value, kind)
        whole = int(value)
        if not -_RANGES.get(kind, 2**63) <= whole < _RANGES.get(kind, 2**63):
            raise self._cannot(value, kind)
        return whole

    def _to_float(self, value: Any, kind: str) -> float:
        if isinstance(value, str) and value in _NOT_NUMBERS:
            return _NOT_NUMBERS[value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._cannot(value, kind)
        try:
            return float(value)
        except OverflowError:
            raise self._cannot(value, kind) from None

    def _to_boolean(self, value: Any, kind: str) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            if value.lower() in _TRUE:
                return True
            if value.lower() in _FALSE:
                return False
            raise SerializationError("Unexpected token received from parser")
        raise self._cannot(value, kind)

    def _to_blob(self, value: Any, kind: str) -> bytes:
        del kind
        if type(value) is not str:
            raise SerializationError("only base-64-encoded strings are convertible to bytes")
        if len(value) % 4:
            raise SerializationError(f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(value)}")
        try:
            return b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise SerializationError("Invalid last non-pad Base64 character dectected") from None

    def _to_timestamp(self, value: Any, kind: str) -> float:
        try:
            if isinstance(value, str):
                return parse_timestamp(value)
            if not isinstance(value, bool):
                return float(value)
        except (ValueError, OverflowError):
            pass
        raise self._cannot(value, kind)

    def _no_structure(self, shape: Shape, value: Any) -> SerializationError:
        if self._old_texts and type(value) is list:
            space = self._dialect.error_namespace.rstrip("#")
            return SerializationError(f"Unrecognized collection type class {space}.{shape.name}")
        if self._old_texts and shape.name in self._dialect.kept_shapes:
            return SerializationError("Unexpected value type in payload")
        return self._unexpected(shape, value)

    def _unexpected(self, shape: Shape, value: Any) -> SerializationError:
        if type(value) is dict:
            return SerializationError(f"Start of structure or map found where not expected{self._stop}")
        if type(value) is not list:
            return SerializationError("Unexpected field type")
        if self._old_texts:
            inner = f"{self._dialect.error_namespace.rstrip('#')}.{shape.value.name}"
            held = "java.lang.String" if shape.value.type == "string" else inner
            return SerializationError(f"Unrecognized collection type java.util.Map<java.lang.String, {held}>")
        return SerializationError("Start of list found where not expected")


_CONVERTERS: Final = {
    "string": "string",
    "character": "string",
    "integer": "integer",
    "long": "integer",
    "biginteger": "integer",
    "bigdecimal": "float",
    "float": "float",
    "double": "float",
    "boolean": "boolean",
    "blob": "blob",
    "timestamp": "timestamp",
}
