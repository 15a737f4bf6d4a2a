"""Keys sort as their parts do, and come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tule.store.keys import OWN_KEYS, after, pack, pack_open, prefix_end, short, unpack

PART = st.one_of(st.text(max_size=5), st.binary(max_size=5), st.integers(0, 2**63 - 1))
PARTS = st.lists(PART, max_size=4)


def _rank(part):
    if isinstance(part, bytes):
        return (1, part)
    return (2, part.encode()) if isinstance(part, str) else (3, part)


@given(PARTS, PARTS)
def test_keys_sort_as_their_parts(first, second):
    ranks = [_rank(part) for part in first], [_rank(part) for part in second]
    assert (pack(*first) < pack(*second)) == (ranks[0] < ranks[1])


@given(PARTS)
def test_parts_come_back(parts):
    assert unpack(pack(*parts)) == parts


@given(PARTS, PARTS)
def test_a_prefix_range_holds_what_starts_so_and_nothing_else(prefix, other):
    start, key = pack(*prefix), pack(*other)
    assert (start <= key < prefix_end(start)) == (other[: len(prefix)] == prefix)
    assert key < OWN_KEYS


@given(st.text(max_size=4), st.text(max_size=6))
def test_an_open_prefix_holds_the_texts_that_start_so(start, text):
    opened = pack_open("kind", start)
    assert (opened <= pack("kind", text) < prefix_end(opened)) == text.startswith(start)


@given(PARTS)
def test_after_is_next(parts):
    key = pack(*parts)
    assert key < after(key) < key + b"\x00\x00"


@pytest.mark.parametrize("number", [-1, 2**63])
def test_numbers_out_of_range_are_refused(number):
    with pytest.raises(ValueError, match=r"2\*\*63"):
        pack(number)


@given(st.binary(max_size=80))
def test_short_parts_stay_and_long_ones_fit(data):
    shortened = short(data, 70)
    encoded = len(data) + data.count(0)
    assert shortened == data if encoded <= 70 else len(shortened) + shortened.count(b"\0") <= 70 + 32


def test_long_parts_differ_where_only_their_ends_do():
    assert short("a" * 5000 + "x") != short("a" * 5000 + "y")
    assert len(pack(short("é" * 5000))) < 1200
