"""Scalars that travel as text: in query strings, headers, paths and XML."""

from collections.abc import Callable
from typing import Any

from tule.wire.models import Shape
from tule.wire.timestamps import parse_timestamp

_RANGES = {"integer": 2**31, "long": 2**63}
_MOST_DIGITS = 40


def scalar_reader(shape: Shape, moments: str) -> Callable[[str], Any]:
    """A function from text to a value of `shape`, which raises ValueError.

    `moments` names the protocol's own timestamp format; every format is understood all the same.
    """
    del moments
    kind = shape.type
    if kind in ("integer", "long", "biginteger"):
        limit = _RANGES.get(kind, 2**127)
        return lambda text: _integer(text, limit)
    if kind in ("float", "double", "bigdecimal"):
        return _float
    if kind == "boolean":
        return _boolean
    if kind == "timestamp":
        return parse_timestamp
    return str


def _integer(text: str, limit: int) -> int:
    text = text.strip()
    if len(text) > _MOST_DIGITS:
        raise ValueError("too long for a number")
    value = int(text)
    if not -limit <= value < limit or "_" in text:
        raise ValueError("out of range")
    return value


def _float(text: str) -> float:
    if "_" in text:
        raise ValueError("no number")
    return float(text)


def _boolean(text: str) -> bool:
    low = text.strip().lower()
    if low in ("true", "1"):
        return True
    if low in ("false", "0"):
        return False
    raise ValueError("neither true nor false")
