"""Durations as people write them."""

import pytest

from tule.admin.durations import parse_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("15m", 900_000),
        ("12h", 43_200_000),
        ("15d", 1_296_000_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("2w", 1_209_600_000),
        ("250ms", 250),
        ("1.5h", 5_400_000),
        ("1D", 86_400_000),
    ],
)
def test_understood(text: str, ms: int):
    assert parse_ms(text) == ms


@pytest.mark.parametrize("text", ["", "15", "m", "15 minutes", "-5m", "5m!", "1h-30m", "9999999d", "٣m5x"])
def test_refused_with_a_hint(text: str):
    with pytest.raises(ValueError, match=r"Write it like|longer than a century"):
        parse_ms(text)
