"""Which route a request takes: pure, compiled once per deployment.

AWS: the full match of method and path wins over a greedy variable, which wins over $default; on the way down a fixed
segment wins over a variable.
"""

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote

T = TypeVar("T")

ANY = "ANY"


class Match(NamedTuple, Generic[T]):
    """A route and what its variables stand for, percent-decoded."""

    route: T
    variables: dict[str, str]


class _Node(Generic[T]):
    __slots__ = ("fixed", "greedy", "methods", "variable")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node[T]] = {}
        self.variable: _Node[T] | None = None
        self.greedy: _Node[T] | None = None
        self.methods: dict[str, tuple[T, tuple[str, ...]]] = {}

    def route_for(self, method: str) -> tuple[T, tuple[str, ...]] | None:
        return self.methods.get(method) or self.methods.get(ANY)


class Router(Generic[T]):
    """Routes by key: "GET /orders/{id}", "ANY /{proxy+}", "$default"."""

    def __init__(self, routes: Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        self._fixed: dict[tuple[str, str], Match[T]] = {}
        self._default: T | None = None
        for key, route in routes:
            if key == "$default":
                self._default = route
            else:
                method, _, path = key.partition(" ")
                self._add(method, path, route)

    def _add(self, method: str, path: str, route: T) -> None:
        node, names = self._root, []
        for segment in path.split("/")[1:]:
            if segment.startswith("{") and segment.endswith("+}"):
                names.append(segment[1:-2])
                node.greedy = node = node.greedy or _Node()
            elif segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.variable = node = node.variable or _Node()
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.methods[method] = (route, tuple(names))
        if not names and method != ANY:
            self._fixed[method, path] = Match(route, {})

    def match(self, method: str, path: str) -> Match[T] | None:
        """The route for a path that is still percent-encoded; None if there is none, not even $default."""
        found = self._fixed.get((method, path))
        if found is not None:
            return found
        segments = path.split("/")[1:]
        hit = self._descend(self._root, segments, 0, method)
        if hit is not None:
            (route, names), values = hit
            return Match(route, {name: unquote(value) for name, value in zip(names, reversed(values), strict=True)})
        return None if self._default is None else Match(self._default, {})

    def _descend(
        self, node: _Node[T], segments: list[str], position: int, method: str
    ) -> tuple[tuple[T, tuple[str, ...]], list[str]] | None:
        """The best leaf below `node` and the values of its variables, the last one first."""
        if position == len(segments):
            leaf = node.route_for(method)
            return None if leaf is None else (leaf, [])
        segment = segments[position]
        fixed = node.fixed.get(segment)
        if fixed is not None and (hit := self._descend(fixed, segments, position + 1, method)) is not None:
            return hit
        if node.variable is not None and segment:
            hit = self._descend(node.variable, segments, position + 1, method)
            if hit is not None:
                hit[1].append(segment)
                return hit
        if node.greedy is not None:
            rest = "/".join(segments[position:])
            leaf = node.greedy.route_for(method)
            if rest and leaf is not None:
                return leaf, [rest]
        return None
