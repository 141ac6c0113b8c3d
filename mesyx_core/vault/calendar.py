"""Periods of the calendar in UTC, in which keysets follow one another: days, ISO weeks, months, quarters, years."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

DAY: Final = 86_400
EARLIEST: Final = 1970
LATEST: Final = 7999
"""Years that a period may lie in, so that what is counted on from it stays a date."""

Numbering = tuple[Callable[[date], int], Callable[[int], date], Callable[[date], str]]


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def _weekly_name(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


UNITS: Final[Mapping[str, Numbering]] = {
    "daily": (date.toordinal, date.fromordinal, date.isoformat),
    "weekly": (
        lambda day: (day.toordinal() - 1) // 7,
        lambda number: date.fromordinal(7 * number + 1),  # day 1 of the calendar was a Monday
        _weekly_name,
    ),
    "monthly": (lambda day: 12 * day.year + day.month - 1, _month, lambda day: f"{day:%Y-%m}"),
    "quarterly": (
        lambda day: 4 * day.year + (day.month - 1) // 3,
        lambda number: _month(3 * number),
        lambda day: f"{day.year}-Q{(day.month + 2) // 3}",
    ),
    "yearly": (lambda day: day.year, lambda number: date(number, 1, 1), lambda day: f"{day.year}"),
}
"""By word: the number of the period that a day lies in, its first day by number, and its name by its first day."""


@dataclass(frozen=True)
class Period:
    """Numbered spans of time without gaps: all of a unit, or of one that stands alone only that one."""

    unit: str
    """A word of UNITS; empty for a span of days."""
    only: int | None = None
    """The number of the one that is meant; None for all."""
    first: date = date(1, 1, 1)
    days: int = 0
    """Of a span of days: its first day, and how many."""

    def number(self, now: int) -> int:
        """Of the period that a time lies in, in Unix seconds; before EARLIEST and after LATEST of the nearest."""
        day = _day(now)
        return UNITS[self.unit][0](day) if self.unit else (day - self.first).days // self.days

    def start(self, number: int) -> int:
        """When it begins, in Unix seconds. It ends when the next one begins."""
        return _seconds(UNITS[self.unit][1](number) if self.unit else self.first + timedelta(number * self.days))

    def name(self, number: int) -> str:
        """Like 2026-11-23, 2026-W48, 2026-11, 2026-Q4, 2026 or 2026-01-01..2026-06-30."""
        if self.unit:
            _, first, name = UNITS[self.unit]
            return name(first(number))
        last = self.first + timedelta((number + 1) * self.days - 1)
        return f"{self.first + timedelta(number * self.days)}..{last}"


def year(number: int) -> Period:
    """One year. Raises ValueError, as all of these."""
    return Period("yearly", _bounded(date(number, 1, 1)).year)


def month(year: int, number: int) -> Period:
    """One month."""
    return Period("monthly", UNITS["monthly"][0](_bounded(date(year, number, 1))))


def days(first: date, last: date) -> Period:
    """A span of days, the last one included."""
    if last < first:
        raise ValueError("it ends before it begins")
    return Period("", 0, _bounded(first), (_bounded(last) - first).days + 1)


def _bounded(day: date) -> date:
    if not EARLIEST <= day.year <= LATEST:
        raise ValueError(f"a year is {EARLIEST} to {LATEST}")
    return day


def _day(now: int) -> date:
    earliest, latest = _seconds(date(EARLIEST, 1, 1)), _seconds(date(LATEST, 12, 31))
    return datetime.fromtimestamp(min(max(now, earliest), latest), UTC).date()


def _seconds(day: date) -> int:
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY
