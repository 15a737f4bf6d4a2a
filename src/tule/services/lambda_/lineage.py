"""The recursion guard's memory: how often a chain of requests has passed through each function.

It travels in the trace header's Lineage field, as `a87bd80c:1,68fd508a:5`: a hash of a function's ARN and the count of
its invocations in this chain. SDKs hand the header on with every call a function makes, queues keep it with messages.
AWS's documentation shows "|" between entries; botocore percent-encodes that, so it is only read. Pure functions.
"""

from zlib import crc32

from tule.services.lambda_ import limits


def mark(arn: str) -> str:
    """A function's name in a lineage, from its unqualified ARN: versions and aliases are the same loop."""
    return f"{crc32(arn.encode()):08x}"


def _entries(lineage: str) -> dict[str, int]:
    found = {}
    for entry in lineage.replace("%7C", ",").replace("|", ",").split(","):
        name, _, count = entry.rpartition(":")
        if name and count.isascii() and count.isdecimal() and len(count) < 10:
            found[name] = int(count)
    return found


def passes(lineage: str, name: str) -> int:
    """How often the function called `name` has run in this chain."""
    return _entries(lineage).get(name, 0) if name in lineage else 0


def advanced(lineage: str, name: str) -> str:
    """The lineage of what the function called `name` starts when it runs once more."""
    if not lineage:
        return f"{name}:1"
    entries = _entries(lineage)
    count = entries.pop(name, 0) + 1
    kept = [f"{other}:{n}" for other, n in entries.items()][-(limits.LINEAGE_MAX - 1) :]
    return ",".join([*kept, f"{name}:{count}"])


def merged(lineages: list[str]) -> str:
    """The lineage of what several requests cause together: of each function its longest chain."""
    most: dict[str, int] = {}
    for lineage in lineages:
        for name, count in _entries(lineage).items():
            most[name] = max(count, most.get(name, 0))
    return ",".join(f"{name}:{count}" for name, count in list(most.items())[-limits.LINEAGE_MAX :])


def of_header(header: str) -> str:
    """The Lineage field of a trace header, or ""."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == "Lineage":
            return value
    return ""
