"""Workloads that several tables use."""

import json
from typing import Any

from bench.harness import Job
from bench.signing import Signer

VARIANTS = 64
"""Requests signed ahead and sent in turn."""


class Same:
    """One call of the JSON protocol, signed before the run and sent again and again."""

    def __init__(
        self,
        signer: Signer,
        _lanes: int,
        *,
        target: str,
        parameters: dict[str, Any],
        units: int = 1,
        version: str = "1.0",
    ) -> None:
        self.units = 0
        self._each = units
        body = json.dumps(parameters).encode()
        self._requests = [signer.json(target, body, version) for _ in range(VARIANTS)]
        self._turn = 0

    def next(self, _lane: int, status: int, _body: bytes) -> bytes:
        if status == 200:
            self.units += self._each
        self._turn = (self._turn + 1) % VARIANTS
        return self._requests[self._turn]


def same(service: str, connections: int, arguments: dict[str, Any], **more: Any) -> Job:
    """A job of it."""
    return Job("bench.workloads", "Same", service, connections, arguments, **more)
