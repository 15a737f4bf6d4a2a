"""Counters of the ledger and the meters, by name."""

from decimal import Decimal

from tule.observe import ledger, metering
from tule.observe.prices import bill, price_book


def test_balances_add_up_and_what_is_in_no_fate_is_pending():
    names = {
        ledger.counter_name("sqs:orders", ledger.ACCEPTED): 10,
        ledger.counter_name("sqs:orders", ledger.DELIVERED): 6,
        ledger.counter_name("sqs:orders", ledger.DEAD_LETTERED): 1,
        ledger.counter_name("http://x/y", ledger.ACCEPTED): 1,
        "meter/sqs.requests/5": 3,
    }
    by_hop = {balance.hop: balance for balance in ledger.balances(names)}
    assert by_hop["sqs:orders"].pending == 3
    assert by_hop["http://x/y"].pending == 1
    assert set(by_hop) == {"sqs:orders", "http://x/y"}


def test_usage_adds_up_minutes_and_can_be_cut_to_some():
    counters = {"meter/sqs.requests/5": 3, "meter/sqs.requests/6": 4, "meter/a/b/7": 1, "ledger/x/accepted": 9}
    assert metering.usage(counters) == {"a/b": 1, "sqs.requests": 7}
    assert metering.usage(counters, 6, 6) == {"sqs.requests": 4}


def test_a_bill_prices_what_the_book_knows_and_names_what_it_does_not():
    total = bill([("sqs.requests", 1_000_000), ("lambda.mb_ms", 1_024_000), ("quantum.qubits", 5)])
    assert [line.usd for line in total.lines] == [Decimal("0.40"), Decimal("0.0000166667"), None]
    assert total.total_usd == Decimal("0.4000166667")
    assert total.unpriced == ["quantum.qubits"]


def test_the_reference_month_of_ten_million_requests():
    """10 M requests of 200 ms at 256 MB: $2.00 + $8.33 by the price book."""
    book = price_book()
    requests = book.cost("lambda.requests", 10_000_000)
    compute = book.cost("lambda.mb_ms", 10_000_000 * 200 * 256)
    assert requests == Decimal("2.00")
    assert compute is not None
    assert round(compute, 2) == Decimal("8.33")


def test_the_book_is_dated():
    assert len(price_book().dated) == 10
