"""Schedule expressions by table, and what holds of all of them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tule.languages.schedules import ScheduleError, parse, zone

BERLIN = zone("Europe/Berlin")


def ms(text, tz=UTC):
    return round(datetime.fromisoformat(text).replace(tzinfo=tz).timestamp() * 1000)


def times(expression, after, n=3, tz=UTC):
    schedule, at, found = parse(expression), ms(after, tz), []
    while len(found) < n and (at := schedule.next_after(at, tz)) is not None:
        found.append(datetime.fromtimestamp(at / 1000, tz).strftime("%Y-%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0 10 * * ? *)", ["2026-01-01 10:00", "2026-01-02 10:00", "2026-01-03 10:00"]),
        ("cron(0 10 * * ?)", ["2026-01-01 10:00", "2026-01-02 10:00", "2026-01-03 10:00"]),
        ("cron(15 12 ? * MON-FRI *)", ["2026-01-01 12:15", "2026-01-02 12:15", "2026-01-05 12:15"]),
        ("cron(0/25 8-9 ? * 2 *)", ["2026-01-05 08:00", "2026-01-05 08:25", "2026-01-05 08:50"]),
        ("cron(0 8 1 * ? *)", ["2026-01-01 08:00", "2026-02-01 08:00", "2026-03-01 08:00"]),
        ("cron(0 0 L * ? *)", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
        ("cron(0 0 LW * ? *)", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-31 00:00"]),
        ("cron(0 0 3W * ? *)", ["2026-01-02 00:00", "2026-02-03 00:00", "2026-03-03 00:00"]),
        ("cron(0 0 1W 2,3,8 ? *)", ["2026-02-02 00:00", "2026-03-02 00:00", "2026-08-03 00:00"]),
        ("cron(0 9 ? * 2#1 *)", ["2026-01-05 09:00", "2026-02-02 09:00", "2026-03-02 09:00"]),
        ("cron(0 9 ? * 6L *)", ["2026-01-30 09:00", "2026-02-27 09:00", "2026-03-27 09:00"]),
        ("cron(0 9 ? * L *)", ["2026-01-03 09:00", "2026-01-10 09:00", "2026-01-17 09:00"]),
        ("cron(0 0 ? * FRI-SUN 2026)", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
        ("cron(0 0 29 FEB ? *)", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("cron(0 0 1 1 ? 2020)", []),
        ("cron(0 0 31 2 ? *)", []),
        ("at(2026-06-01T12:00:00)", ["2026-06-01 12:00"]),
        ("at(2025-06-01T12:00:00)", []),
    ],
)
def test_moments_that_an_expression_means(expression, expected):
    assert times(expression, "2026-01-01T00:00:01") == expected


def test_a_rate_counts_from_where_it_began():
    assert parse("rate(5 minutes)", anchor_ms=1000).next_after(1000) == 301_000
    assert parse("rate(5 minutes)", anchor_ms=1000).next_after(301_000) == 601_000
    assert parse("rate(1 hour)", anchor_ms=5_000).next_after(0) == 3_605_000


def test_local_time_follows_the_clocks_of_its_zone():
    assert times("cron(30 2 * * ? *)", "2026-03-28T00:00:00", 3, BERLIN) == [
        "2026-03-28 02:30",
        "2026-03-30 02:30",  # the 29th has no half past two
        "2026-03-31 02:30",
    ]
    assert parse("cron(30 2 25 10 ? *)").next_after(ms("2026-10-01T00:00:00"), BERLIN) == ms("2026-10-25T00:30:00")
    assert parse("at(2026-07-01T12:00:00)").next_after(0, BERLIN) == ms("2026-07-01T10:00:00")


@pytest.mark.parametrize(
    "expression",
    [
        "", "daily", "rate(0 minutes)", "rate(1 minutes)", "rate(5 minute)", "rate(5 weeks)", "rate(-1 minutes)",
        "at(2026-13-01T00:00:00)", "at(tomorrow)", "cron(0 10 * * * *)", "cron(0 10 ? * ? *)", "cron(60 0 * * ? *)",
        "cron(0 24 * * ? *)", "cron(0 0 32 * ? *)", "cron(0 0 * 13 ? *)", "cron(0 0 ? * 8 *)", "cron(0 0 * * ?  * *)",
        "cron(0/0 0 * * ? *)", "cron(x 0 * * ? *)", "cron(0 0 ? * MON#6 *)", "cron(0 0 * * ? 1969)", "cron(0 0 * *)",
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused(expression):
    with pytest.raises(ScheduleError):
        parse(expression)


def test_zones_are_those_of_the_iana_database():
    with pytest.raises(ScheduleError, match="no time zone"):
        zone("Mars/Base")


@given(
    st.integers(0, 59), st.integers(0, 23), st.sampled_from(["*", "1", "15W", "L", "10-20"]),
    st.integers(ms("2000-01-01T00:00:00"), ms("2100-01-01T00:00:00")),
)  # fmt: skip
def test_the_next_moment_is_later_and_fits(minute, hour, day, after):
    at = parse(f"cron({minute} {hour} {day} * ? *)").next_after(after)

    assert at is not None
    assert at > after
    found = datetime.fromtimestamp(at / 1000, UTC)
    assert (found.minute, found.hour, found.second) == (minute, hour, 0)
