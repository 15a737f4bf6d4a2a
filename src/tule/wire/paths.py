"""Operations of REST services by method, path, query string and headers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final
from urllib.parse import unquote

from tule.wire.models import OperationModel, ServiceModel, load

Query = Mapping[str, list[str]]

PREFERRED: Final = {
    # The same method, path and query as another operation; these are what clients mean.
    "ListBuckets", "GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration",
    "GetBucketNotificationConfiguration", "PutBucketNotificationConfiguration",
}  # fmt: skip


@dataclass(slots=True)
class Candidate:
    """An operation at the end of a path."""

    name: str
    labels: tuple[str, ...]
    literals: tuple[tuple[str, str | None], ...]
    """Query parameters, with or without values, that the URI demands."""
    needed_query: tuple[str, ...]
    needed_headers: tuple[str, ...]

    def score(self, query: Query, headers: Mapping[str, str]) -> tuple[bool, int, bool] | None:
        """How well a request fits; None if the literals don't."""
        for name, value in self.literals:
            if name not in query or (value is not None and value not in query[name]):
                return None
        present = sum(name in query for name in self.needed_query)
        present += sum(name in headers for name in self.needed_headers)
        complete = present == len(self.needed_query) + len(self.needed_headers)
        return complete, len(self.literals) + present, self.name in PREFERRED


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    label: "_Node | None" = None
    greedy: "_Node | None" = None
    ends: dict[str, list[Candidate]] = field(default_factory=dict)
    """Candidates by method."""


class PathTable:
    """All operations of one service."""

    def __init__(self, model: ServiceModel) -> None:
        self._root = _Node()
        for operation in model.operations.values():
            self._add(operation)

    def _add(self, operation: OperationModel) -> None:
        path, _, query = operation.uri.partition("?")
        node, labels = self._root, []
        for segment in _segments(path):
            if segment.startswith("{"):
                greedy = segment.endswith("+}")
                labels.append(segment.strip("{}").rstrip("+"))
                if greedy:
                    node.greedy = node = node.greedy or _Node()
                else:
                    node.label = node = node.label or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        literals = []
        for pair in filter(None, query.split("&")):
            name, equals, value = pair.partition("=")
            literals.append((name, value if equals else None))
        members = operation.input.members if operation.input else {}
        required = operation.input.required if operation.input else []
        by_place = {
            place: tuple(members[name].wire_name(name) for name in required if members[name].location == place)
            for place in ("querystring", "header")
        }
        candidate = Candidate(
            operation.name,
            tuple(labels),
            tuple(literals),
            by_place["querystring"],
            tuple(name.lower() for name in by_place["header"]),
        )
        node.ends.setdefault(operation.method, []).append(candidate)

    def find(
        self, method: str, path: str, query: Query, headers: Mapping[str, str]
    ) -> tuple[str, dict[str, str]] | None:
        """The operation and its path labels, decoded. Raises UnicodeDecodeError for labels that are no UTF-8."""
        segments = _segments(path)
        for attempt in (segments, segments[:-1] if segments and not segments[-1] else None):
            if attempt is None:
                continue
            for ends, values in _walk(self._root, attempt, 0):
                candidate = _best(ends.get(method, ()), query, headers)
                if candidate is not None:
                    names = zip(candidate.labels, values, strict=True)
                    return candidate.name, {name: unquote(value, errors="strict") for name, value in names}
        return None


def _segments(path: str) -> list[str]:
    return path.split("/")[1:] if path != "/" else []


def _best(candidates: "list[Candidate] | tuple[()]", query: Query, headers: Mapping[str, str]) -> Candidate | None:
    named = query.get("x-id")
    best: Candidate | None = None
    best_score = (False, -1, False)
    for candidate in candidates:
        if named and candidate.name in named:
            return candidate
        score = candidate.score(query, headers)
        if score is not None and score > best_score:
            best, best_score = candidate, score
    return best


def _walk(node: _Node, segments: list[str], at: int) -> Iterator[tuple[dict[str, list[Candidate]], tuple[str, ...]]]:
    """Ends that the path leads to, literals first, greedy labels last."""
    if at == len(segments):
        if node.ends:
            yield node.ends, ()
        return
    segment = segments[at]
    below = node.literals.get(segment)
    if below is not None:
        yield from _walk(below, segments, at + 1)
    if node.label is not None and segment:
        for ends, values in _walk(node.label, segments, at + 1):
            yield ends, (segment, *values)
    if node.greedy is not None:
        for end in range(len(segments), at, -1):
            taken = "/".join(segments[at:end])
            if taken and (end == len(segments) or node.greedy.literals):
                for ends, values in _walk(node.greedy, segments, end):
                    yield ends, (taken, *values)


@cache
def path_table(service: str) -> PathTable:
    """The paths of `service`, compiled at its first request."""
    return PathTable(load(service))
