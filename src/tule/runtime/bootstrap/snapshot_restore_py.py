"""Hooks around a snapshot, by the names of AWS's module, for packages that bring none of their own."""

from collections.abc import Callable
from typing import Any, TypeVar

Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
F = TypeVar("F", bound=Callable[..., Any])

_before: list[Hook] = []
_after: list[Hook] = []


def register_before_snapshot(func: F, *args: Any, **kwargs: Any) -> F:
    """Have `func` called before the snapshot is taken; of several, the one registered last comes first."""
    _before.append((func, args, kwargs))
    return func


def register_after_restore(func: F, *args: Any, **kwargs: Any) -> F:
    """Have `func` called in every execution environment made of the snapshot, before its first request."""
    _after.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[Hook]:
    return _before


def get_after_restore() -> list[Hook]:
    return _after
