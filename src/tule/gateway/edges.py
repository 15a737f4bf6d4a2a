"""Application endpoints: hosts and paths at which Tule speaks plain HTTP in the name of what a user deployed."""

from typing import Final, NamedTuple

from tule.gateway.admission import host_name
from tule.net.messages import HttpRequest
from tule.services.declaration import Edge, Service

MAX_REMEMBERED: Final = 1024
"""Host names whose edge is kept (ours)."""

_WILD: Final = "*"


class Match(NamedTuple):
    """An edge and the service it belongs to."""

    service: str
    edge: Edge

    def path_of(self, request: HttpRequest) -> str:
        """The path as the application sees it: behind an edge's prefix and the name of whose it is."""
        for prefix in self.edge.paths:
            if request.path.startswith(prefix):
                return "/" + request.path[len(prefix) :].partition("/")[2]
        return request.path


def _labels(pattern: str) -> tuple[str, ...]:
    return tuple(_WILD if label.startswith("{") else label for label in pattern.lower().split("."))


class Edges:
    """The edges of all services. They are learned when the first request comes that looks like one."""

    def __init__(self) -> None:
        self._hosts: dict[int, list[tuple[tuple[str, ...], Match]]] = {}
        self._paths: list[tuple[str, Match]] = []
        self._seen: dict[str, Match | None] = {}

    def learn(self, service: Service) -> None:
        for edge in service.edges:
            match = Match(service.name, edge)
            for pattern in edge.hosts:
                labels = _labels(pattern)
                self._hosts.setdefault(len(labels), []).append((labels, match))
            self._paths += [(prefix, match) for prefix in edge.paths]
        self._seen.clear()

    def find(self, request: HttpRequest) -> Match | None:
        """The edge that `request` is for, by host, then by path."""
        authority = request.headers.get("host", "")
        match = self._seen.get(authority)
        if match is None and authority not in self._seen:
            match = self._by_host(host_name(authority))
            if len(self._seen) >= MAX_REMEMBERED:
                self._seen.clear()
            self._seen[authority] = match
        if match is not None:
            return match
        path = request.path
        for prefix, candidate in self._paths:
            if path.startswith(prefix):
                return candidate
        return None

    def _by_host(self, name: str) -> Match | None:
        labels = name.split(".")
        for pattern, match in self._hosts.get(len(labels), ()):
            if all(wanted in (_WILD, label) for wanted, label in zip(pattern, labels, strict=True)):
                return match
        return None
