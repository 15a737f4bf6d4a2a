"""Numbers: their one text, their order as bytes, their size and their sums."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tule.languages.dynamodb import numbers
from tule.languages.dynamodb.refusals import Refusal


@st.composite
def decimals(draw) -> Decimal:
    """Any number that DynamoDB can hold."""
    digits = draw(st.integers(0, 10**38 - 1))
    exponent = draw(st.integers(-130, 125))
    length = len(str(digits))
    return Decimal((draw(st.sampled_from((0, 1))), tuple(map(int, str(digits))), exponent - length + 1))


def in_range(number: Decimal) -> bool:
    return number == 0 or -130 <= number.adjusted() <= 125


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.000", "0"),
        ("+5", "5"),
        ("00042", "42"),
        ("1.50", "1.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("12.34e-3", "0.01234"),
        ("-0.10", "-0.1"),
        ("100", "100"),
        ("1e125", "1" + "0" * 125),
        ("1e-130", "0." + "0" * 129 + "1"),
        ("9" * 38, "9" * 38),
        ("1" + "0" * 50, "1" + "0" * 50),
        ("0e99999999999", "0"),
    ],
)
def test_every_spelling_has_one_text(given: str, canonical: str) -> None:
    assert numbers.canonical(given) == canonical


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "The parameter cannot be converted to a numeric value: "),
        *(
            (text, f"The parameter cannot be converted to a numeric value: {text}")
            for text in ("abc", "1.2.3", " 1", "1 ", "0x10", "1e", "NaN", "Infinity", "-", ".", "\u0661", "1_000")
        ),
        ("1" * 39, numbers.TOO_PRECISE),
        ("1e126", numbers.OVERFLOW),
        ("-1e126", numbers.OVERFLOW),
        ("1e2147483647", numbers.OVERFLOW),
        ("1e" + "9" * 5000, numbers.OVERFLOW),
        ("1e-131", numbers.UNDERFLOW),
    ],
)
def test_what_is_no_number_is_refused(given: str, message: str) -> None:
    with pytest.raises(Refusal) as refusal:
        numbers.canonical(given)
    assert refusal.value.message == message


@given(decimals().filter(in_range))
def test_text_keeps_the_value(number: Decimal) -> None:
    text = numbers.canonical(str(number))
    assert Decimal(text) == number
    assert numbers.canonical(text) == text
    assert "E" not in text


@given(decimals().filter(in_range), decimals().filter(in_range))
def test_bytes_sort_as_the_numbers_do(left: Decimal, right: Decimal) -> None:
    a, b = (numbers.order_bytes(numbers.canonical(str(number))) for number in (left, right))
    assert (a < b) == (left < right)
    assert (a == b) == (left == right)
    assert a == b or not (a.startswith(b) or b.startswith(a))


@given(st.integers(-(10**20), 10**20), st.integers(-(10**20), 10**20))
def test_sums_and_differences_are_exact(left: int, right: int) -> None:
    a, b = numbers.canonical(str(left)), numbers.canonical(str(right))
    assert numbers.add(a, b) == numbers.canonical(str(left + right))
    assert numbers.subtract(a, b) == numbers.canonical(str(left - right))


@pytest.mark.parametrize(("left", "right"), [("9" * 38 + "0" * 88, "1" + "0" * 125), ("1" + "0" * 125, "0.1")])
def test_sums_that_do_not_fit_overflow(left: str, right: str) -> None:
    with pytest.raises(Refusal) as refusal:
        numbers.add(left, right)
    assert refusal.value.message == numbers.OVERFLOW


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 1), ("1", 2), ("10", 2), ("-1", 3), ("123", 3), ("1000", 2), ("12.5", 3), ("0.001", 2), ("-12.34", 4)],
)
def test_size(text: str, size: int) -> None:
    assert numbers.size_bytes(text) == size
