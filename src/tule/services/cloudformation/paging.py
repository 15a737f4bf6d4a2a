"""Stateless page tokens: what the next page begins after."""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from tule.services.cloudformation.errors import ValidationError

T = TypeVar("T")

PAGE = 100
"""Entries of a page, as AWS gives them."""

_VERSION = b"1"


def token(after: bytes) -> str:
    return base64.urlsafe_b64encode(_VERSION + after).decode().rstrip("=")


def after(token: str | None) -> bytes | None:
    """What a token says, or None for the first page."""
    if not token:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    if not raw.startswith(_VERSION):
        raise ValidationError("Provided NextToken is invalid.")
    return raw[1:]


def page(entries: Sequence[T], start: str | None) -> tuple[list[T], str | None]:
    """One page of a sequence that is made anew for every call, and the token of the next."""
    position = after(start)
    if position is not None and not position.isdigit():
        raise ValidationError("Provided NextToken is invalid.")
    begin = int(position or b"0")
    end = begin + PAGE
    return list(entries[begin:end]), token(str(end).encode()) if end < len(entries) else None
