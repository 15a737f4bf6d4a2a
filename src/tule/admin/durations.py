"""Durations as people write them: 90s, 15m, 12h, 15d, 1h30m."""

import re
from typing import Final

_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")

MAX_MS: Final = 100 * 365 * 86_400_000
"""A century (ours): beyond it somebody mistyped."""


def parse_ms(text: str) -> int:
    """Milliseconds of a duration. Raises ValueError with a sentence that says what is accepted."""
    compact = text.replace(" ", "").lower()
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f'"{text}" is no duration. Write it like 90s, 15m, 12h, 15d or 1h30m.')
    total = round(sum(float(number) * _UNITS_MS[unit] for number, unit in parts))
    if total > MAX_MS:
        raise ValueError(f'"{text}" is longer than a century.')
    return total
