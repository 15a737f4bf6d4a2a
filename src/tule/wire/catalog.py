"""What is known of every AWS service without its model: enough to route a request.

`services.json` beside this file is written by `python -m tule.wire.index` from botocore's models.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

INDEX_FILE = Path(__file__).with_name("services.json")


class ServiceEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One service of the index."""

    name: str
    """botocore's name."""
    api_version: str
    protocols: tuple[str, ...]
    signing_name: str
    endpoint_prefix: str
    target_prefix: str = ""
    json_version: str = ""
    namespace: str = ""
    """Of the XML it answers with."""
    query_compatible: bool = False
    """A JSON service that was a query service: its errors carry their old codes in x-amzn-query-error."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The index, by what requests name services with."""

    by_name: dict[str, ServiceEntry]
    by_target: dict[str, ServiceEntry]
    by_signing_name: dict[str, tuple[ServiceEntry, ...]]
    by_version: dict[str, tuple[ServiceEntry, ...]]
    """Services that speak query, by API version: what an unsigned request with Action and Version can be told by."""
    by_endpoint: dict[str, tuple[ServiceEntry, ...]]


def _grouped(pairs: list[tuple[str, ServiceEntry]]) -> dict[str, tuple[ServiceEntry, ...]]:
    groups: dict[str, list[ServiceEntry]] = {}
    for key, entry in pairs:
        groups.setdefault(key, []).append(entry)
    return {key: tuple(entries) for key, entries in groups.items()}


def speaks_query(entry: ServiceEntry) -> bool:
    """Whether the service answers requests with Action=. SQS does although its model has forgotten it."""
    return "query" in entry.protocols or entry.query_compatible


@cache
def catalog() -> Catalog:
    """The committed index, read at the first request."""
    entries = msgspec.json.decode(INDEX_FILE.read_bytes(), type=list[ServiceEntry])
    return Catalog(
        {entry.name: entry for entry in entries},
        {entry.target_prefix: entry for entry in entries if entry.target_prefix},
        _grouped([(entry.signing_name, entry) for entry in entries]),
        _grouped([(entry.api_version, entry) for entry in entries if speaks_query(entry)]),
        _grouped([(entry.endpoint_prefix, entry) for entry in entries]),
    )
