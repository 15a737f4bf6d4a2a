"""AWS's schedule expressions: at(...), rate(...) and cron(...), whose dialect differs from every other cron's.

Six fields: minutes, hours, day of month, month, day of week (1 is Sunday), year. `?` stands in one of the two day
fields, `L` is the last day, `15W` the weekday nearest to the 15th, `LW` the last weekday, `6L` the month's last Friday,
`2#1` its first Monday. Source: "Schedule types" in the guide of EventBridge Scheduler, and the same in that of
Application Auto Scaling, where the year may be left out.
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

YEAR_FIRST, YEAR_LAST = 1970, 2199

_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_UNITS_MS: Final = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_AT = re.compile(r"at\((\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\)")
_RATE = re.compile(r"rate\((\d{1,9}) (minute|hour|day)(s?)\)")
_CRON = re.compile(r"cron\((.+)\)")
_NEAREST = re.compile(r"(\d{1,2})W")
_LAST = re.compile(r"([1-7]|[A-Z]{3})L")
_NTH = re.compile(r"([1-7]|[A-Z]{3})#([1-5])")


class ScheduleError(ValueError):
    """An expression that is none; says why."""


class Schedule(Protocol):
    """When something is to happen."""

    def next_after(self, after_ms: int, zone: tzinfo = UTC) -> int | None:
        """The first moment later than `after_ms`, both in milliseconds since the epoch; None if there is none."""


@dataclass(frozen=True, slots=True)
class At:
    """Once, at a local time."""

    moment: datetime

    def next_after(self, after_ms: int, zone: tzinfo = UTC) -> int | None:
        at_ms = _ms(self.moment.replace(tzinfo=zone))
        return at_ms if at_ms > after_ms else None


@dataclass(frozen=True, slots=True)
class Rate:
    """Again and again, counted from `anchor_ms`."""

    period_ms: int
    anchor_ms: int = 0

    def next_after(self, after_ms: int, zone: tzinfo = UTC) -> int | None:  # noqa: ARG002 - a zone changes no rate
        if after_ms < self.anchor_ms:
            return self.anchor_ms + self.period_ms
        return self.anchor_ms + ((after_ms - self.anchor_ms) // self.period_ms + 1) * self.period_ms


@dataclass(frozen=True, slots=True)
class Cron:
    """At all local times that fit six fields."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    month_days: str
    months: tuple[int, ...]
    week_days: str
    years: tuple[int, ...]

    def next_after(self, after_ms: int, zone: tzinfo = UTC) -> int | None:
        start = datetime.fromtimestamp(after_ms / 1000, zone).replace(tzinfo=None, fold=0)
        for year, month, day in self._dates(start):
            for hour in self.hours:
                for minute in self.minutes:
                    local = datetime(year, month, day, hour, minute)
                    if local + timedelta(hours=2) < start:  # clocks are put back by no more
                        continue
                    at_ms = _ms(local.replace(tzinfo=zone))
                    if at_ms > after_ms and _exists(local, zone):
                        return at_ms
        return None

    def _dates(self, start: datetime) -> Iterator[tuple[int, int, int]]:
        """Dates that fit, from the day before `start` on."""
        first = start - timedelta(days=1)
        for year in self.years:
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                for day in self._days(year, month):
                    if (year, month, day) >= (first.year, first.month, first.day):
                        yield year, month, day

    def _days(self, year: int, month: int) -> list[int]:
        last = calendar.monthrange(year, month)[1]
        if self.week_days == "?":
            found = _month_days(self.month_days, year, month, last)
        else:
            found = _week_days(self.week_days, year, month, last)
        return sorted(day for day in found if 1 <= day <= last)


def parse(text: str, *, anchor_ms: int = 0) -> Schedule:
    """What an expression means; rates count from `anchor_ms`. Raises `ScheduleError`."""
    if match := _AT.fullmatch(text):
        try:
            return At(datetime.fromisoformat(match[1]))
        except ValueError as error:
            raise ScheduleError(f"{match[1]} is no time: {error}.") from error
    if match := _RATE.fullmatch(text):
        return _rate(int(match[1]), match[2], plural=bool(match[3]), anchor_ms=anchor_ms)
    if match := _CRON.fullmatch(text):
        return _cron(match[1])
    raise ScheduleError(f"{text} is neither at(yyyy-mm-ddThh:mm:ss) nor rate(value unit) nor cron(fields).")


def zone(name: str) -> tzinfo:
    """The time zone of the IANA database that is called so. Raises `ScheduleError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"{name} is no time zone of the IANA database.") from error


def _rate(value: int, unit: str, *, plural: bool, anchor_ms: int) -> Rate:
    if value < 1:
        raise ScheduleError("The value of a rate is at least 1.")
    if plural != (value > 1):
        raise ScheduleError(f"It is rate({value} {unit}{'s' if value > 1 else ''}): units are singular for 1 alone.")
    return Rate(value * _UNITS_MS[unit], anchor_ms)


def _cron(text: str) -> Cron:
    fields = text.upper().split()
    if len(fields) == 5:
        fields.append("*")
    if len(fields) != 6:
        raise ScheduleError(f"A cron expression has six fields, and {text} has {len(fields)}.")
    minutes, hours, month_days, months, week_days, years = fields
    if (month_days == "?") == (week_days == "?"):
        raise ScheduleError("One of the fields day of month and day of week has to be ?, and one of them alone.")
    cron = Cron(
        _numbers(minutes, "minutes", 0, 59),
        _numbers(hours, "hours", 0, 23),
        month_days,
        _numbers(months, "month", 1, 12, _MONTHS),
        week_days,
        _numbers(years, "year", YEAR_FIRST, YEAR_LAST),
    )
    cron._days(2024, 1)  # noqa: SLF001 - reads the day fields, which are read by month
    return cron


def _numbers(text: str, field: str, low: int, high: int, names: dict[str, int] | None = None) -> tuple[int, ...]:
    """The values that a field lists: *, numbers or names, ranges, steps."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if step and (not step.isdigit() or int(step) < 1):
            raise ScheduleError(f"{step} is no step in the field {field}.")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, field, low, high, names)
            end = _number(last, field, low, high, names) if dash else (high if step else start)
        if end < start:  # FRI-MON, 22-2
            found.update(range(start, high + 1), range(low, end + 1))
        else:
            found.update(range(start, end + 1, int(step or 1)))
    return tuple(sorted(found))


def _number(text: str, field: str, low: int, high: int, names: dict[str, int] | None) -> int:
    number = (names or {}).get(text, int(text) if text.isdigit() and len(text) < 5 else low - 1)
    if not low <= number <= high:
        raise ScheduleError(f"{text} is no value of the field {field}, which has {low} to {high}.")
    return number


def _month_days(text: str, year: int, month: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        if part == "L":
            found.add(last)
        elif part == "LW":
            found.add(_weekday_near(last, year, month, last))
        elif match := _NEAREST.fullmatch(part):
            day = _number(match[1], "day of month", 1, 31, None)
            found.update([_weekday_near(day, year, month, last)] if day <= last else [])
        else:
            found.update(_numbers(part, "day of month", 1, 31))
    return found


def _weekday_near(day: int, year: int, month: int, last: int) -> int:
    """The weekday nearest to a day, without leaving the month."""
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < last else day - 2
    return day


def _week_days(text: str, year: int, month: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        if match := _LAST.fullmatch(part):
            found.add(_of_week(_number(match[1], "day of week", 1, 7, _DAYS), year, month, last)[-1])
        elif match := _NTH.fullmatch(part):
            days = _of_week(_number(match[1], "day of week", 1, 7, _DAYS), year, month, last)
            found.update(days[int(match[2]) - 1 : int(match[2])])
        else:
            for number in _numbers("7" if part == "L" else part, "day of week", 1, 7, _DAYS):
                found.update(_of_week(number, year, month, last))
    return found


def _of_week(number: int, year: int, month: int, last: int) -> list[int]:
    """All days of a month that fall on a day of the week, 1 for Sunday."""
    python = (number + 5) % 7
    return [day for day in range(1, last + 1) if calendar.weekday(year, month, day) == python]


def _exists(local: datetime, zone_: tzinfo) -> bool:
    """Whether a local time is not skipped when clocks are put forward."""
    return local.replace(tzinfo=zone_).astimezone(UTC).astimezone(zone_).replace(tzinfo=None) == local


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
