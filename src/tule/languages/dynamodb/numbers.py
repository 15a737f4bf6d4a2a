"""DynamoDB's numbers: 38 significant digits, magnitudes from 1E-130 to just under 1E+126.

A number is kept as its canonical text: plain digits without exponent, leading or trailing zeros, "-0" as "0". Equal
numbers have equal texts.
"""

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from functools import lru_cache
from typing import Final

from tule.languages.dynamodb.refusals import Refusal

MAX_DIGITS: Final = 38
MIN_EXPONENT: Final = -130
MAX_EXPONENT: Final = 125

OVERFLOW: Final = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDERFLOW: Final = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
TOO_PRECISE: Final = "Attempting to store more than 38 significant digits in a Number"
NOT_NUMERIC: Final = "The parameter cannot be converted to a numeric value"

_FORM = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")

_EXACT = Context(prec=600, Emin=MIN_EMIN, Emax=MAX_EMAX)
"""Sums of two numbers need at most 256 digits, so they are exact before the limits are applied."""

_BIAS: Final = -MIN_EXPONENT
_COMPLEMENT: Final = bytes(255 - n for n in range(256))


def canonical(text: str) -> str:
    """The one text of the number that `text` writes; refuses what DynamoDB refuses."""
    length = len(text)
    if 0 < length <= MAX_DIGITS and text.isascii() and text.isdigit() and (text[0] != "0" or length == 1):
        return text
    return _remembered(text) if length < 200 else _parse(text)


def _parse(text: str) -> str:
    match = _FORM.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        older = NOT_NUMERIC if text == "" else f"{NOT_NUMERIC}: {text}"
        raise Refusal(f"{NOT_NUMERIC}: {text}", older=older)
    sign, whole, fraction, exponent_text = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    trimmed = digits.rstrip("0")
    if len(trimmed) > MAX_DIGITS:
        raise Refusal(TOO_PRECISE)
    point = len(digits) - len(fraction) + _exponent(exponent_text)
    if point - 1 > MAX_EXPONENT:
        wraps = _exponent(exponent_text) == 2147483647
        raise Refusal(OVERFLOW, older=UNDERFLOW if wraps else OVERFLOW)
    if point - 1 < MIN_EXPONENT:
        raise Refusal(UNDERFLOW)
    return ("-" if sign == "-" else "") + _plain(trimmed, point)


_remembered = lru_cache(maxsize=4096)(_parse)


def _exponent(text: str) -> int:
    """The exponent's value; one too long to matter is cut to something equally out of range."""
    if not text:
        return 0
    negative = text[0] == "-"
    digits = text.lstrip("+-").lstrip("0") or "0"
    value = int(digits) if len(digits) <= 10 else 10**11
    return -value if negative else value


def _plain(digits: str, point: int) -> str:
    """`digits` (no zeros around them) with the decimal point after `point` of them."""
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return digits[:point] + "." + digits[point:]


def _parts(text: str) -> tuple[bool, str, int]:
    """(negative, significant digits, exponent of the first digit) of a canonical text other than "0"."""
    negative = text[0] == "-"
    whole, _, fraction = text.lstrip("-").partition(".")
    if whole == "0":
        digits = fraction.lstrip("0")
        return negative, digits.rstrip("0"), len(digits) - len(fraction) - 1
    return negative, (whole + fraction).rstrip("0"), len(whole) - 1


@lru_cache(maxsize=8192)
def order_bytes(text: str) -> bytes:
    """Bytes whose order is that of the numbers, and of which none is a prefix of another; `text` is canonical.

    One byte of sign, one of exponent, digits in pairs as 1 to 100, and a zero; negative numbers complemented.
    """
    if text == "0":
        return b"\x80"
    negative, digits, exponent = _parts(text)
    if len(digits) & 1:
        digits += "0"
    pairs = bytes(int(digits[i : i + 2]) + 1 for i in range(0, len(digits), 2))
    body = bytes((exponent + _BIAS,)) + pairs + b"\x00"
    return b"\x7f" + body.translate(_COMPLEMENT) if negative else b"\x81" + body


def size_bytes(text: str) -> int:
    """What a canonical number weighs in an item: a byte, one per two digits on either side of the point, the sign."""
    whole, point, fraction = text.partition(".")
    sign = 1 if whole[0] == "-" else 0
    if point:
        left = 0 if whole.lstrip("-") == "0" else len(whole) - sign
        return 1 + (left + 1) // 2 + (len(fraction.lstrip("0") if left == 0 else fraction) + 1) // 2 + sign
    return 1 + (len(whole.rstrip("0")) - sign + 1) // 2 + sign


def add(left: str, right: str) -> str:
    """The sum; what can't be stored exactly is refused as an overflow, as AWS does."""
    return _result(_EXACT.add(Decimal(left), Decimal(right)))


def subtract(left: str, right: str) -> str:
    """The difference; limits as in `add`."""
    return _result(_EXACT.subtract(Decimal(left), Decimal(right)))


def _result(value: Decimal) -> str:
    try:
        return canonical(format(value, "f"))
    except Refusal as refusal:
        if refusal.message == UNDERFLOW:
            raise
        raise Refusal(OVERFLOW, bare=True) from None


def less(left: str, right: str) -> bool:
    """Whether one canonical number is smaller than another."""
    return Decimal(left) < Decimal(right)
