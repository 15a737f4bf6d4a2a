"""Projections: the parts of an item that a reader asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tule.languages.dynamodb.binding import Binder, Steps, check_paths
from tule.languages.dynamodb.conditions import Names
from tule.languages.dynamodb.grammar import parse_projection
from tule.languages.dynamodb.syntax import PROJECTION
from tule.languages.dynamodb.values import Item, Value

Tree = dict[str | int, Any]
"""Steps to subtrees; an empty subtree is a path's end."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Compiled paths: `flat` are their names when all of them are top-level attributes."""

    paths: tuple[Steps, ...]
    names: frozenset[str]
    flat: tuple[str, ...] | None
    tree: Tree

    def of(self, item: Item) -> Item:
        """What of `item` lies on the paths; list elements move together."""
        if self.flat is not None:
            return {name: item[name] for name in self.flat if name in item}
        return _members(item, self.tree)


@lru_cache(maxsize=1024)
def compile_projection(text: str, names: Names) -> Projection:
    """The ProjectionExpression `text` with its #names as pairs."""
    binder = Binder(PROJECTION, dict(names), {})
    paths = [binder.steps(path) for path in parse_projection(text)]
    check_paths(PROJECTION, paths)
    return project(paths, frozenset(binder.used_names))


def project(paths: Iterable[Steps], names: frozenset[str] = frozenset()) -> Projection:
    """A projection on paths that are known to be free of overlaps."""
    paths = tuple(paths)
    flat = tuple(str(steps[0]) for steps in paths) if all(len(steps) == 1 for steps in paths) else None
    tree: Tree = {}
    for steps in paths:
        branch = tree
        for step in steps:
            branch = branch.setdefault(step, {})
    return Projection(paths, names, flat, tree)


def _members(source: Mapping[str, Value], tree: Tree) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, branch in tree.items():
        value = source.get(str(name))
        part = None if value is None else _part(value, branch)
        if part is not None:
            found[str(name)] = part
    return found


def _part(value: Value, tree: Tree) -> Value | None:
    """What of `value` lies on the tree, or None if nothing does."""
    if not tree:
        return value
    if isinstance(next(iter(tree)), int):
        elements = value.get("L")
        if elements is None:
            return None
        positions = sorted(int(step) for step in tree)
        parts = [_part(elements[at], tree[at]) for at in positions if at < len(elements)]
        kept = [part for part in parts if part is not None]
        return {"L": kept} if kept else None
    members = value.get("M")
    if members is None:
        return None
    found = _members(members, tree)
    return {"M": found} if found else None
