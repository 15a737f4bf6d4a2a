"""What used units would cost at AWS: a dated book of list prices. What it doesn't know is unpriced, never free."""

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Final

import msgspec

BOOK: Final = "us-east-1.json"


class Price(msgspec.Struct, frozen=True):
    """`usd` for `per` units of the meter, at the list price's first tier and without free tiers."""

    usd: Decimal
    per: Decimal
    unit: str
    note: str = ""


class PriceBook(msgspec.Struct, frozen=True):
    """List prices of one region on one day."""

    region: str
    dated: str
    currency: str
    source: str
    meters: dict[str, Price]

    def cost(self, meter: str, units: float) -> Decimal | None:
        """US dollars for `units` of `meter`; None if the book has no price for it."""
        price = self.meters.get(meter)
        if price is None:
            return None
        return price.usd * Decimal(str(units)) / price.per


class Line(msgspec.Struct, frozen=True):
    """One meter of a bill. `usd` is None where the book has no price: print "unpriced"."""

    meter: str
    units: float
    usd: Decimal | None
    unit: str = ""


class Bill(msgspec.Struct, frozen=True):
    """What usage costs by the book; `total_usd` adds up what has a price, `unpriced` names what has none."""

    lines: list[Line]
    total_usd: Decimal
    unpriced: list[str]
    dated: str
    region: str


@lru_cache(maxsize=1)
def price_book() -> PriceBook:
    """The book that comes with this release."""
    raw = (resources.files("tule.observe") / "pricebooks" / BOOK).read_bytes()
    return msgspec.json.decode(raw, type=PriceBook)


def bill(usage: Iterable[tuple[str, float]], book: PriceBook | None = None) -> Bill:
    """The bill for (meter, units) pairs."""
    book = book or price_book()
    lines = []
    for meter, units in usage:
        price = book.meters.get(meter)
        lines.append(Line(meter, units, book.cost(meter, units), price.unit if price else ""))
    total = sum((line.usd for line in lines if line.usd is not None), Decimal(0))
    return Bill(lines, total, [line.meter for line in lines if line.usd is None], book.dated, book.region)
