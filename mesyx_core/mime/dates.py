"""Date headers (RFC 5322, sections 3.3 and 4.3), and what mailers made of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

_MONTHS: Final = {
    name: i + 1
    for i, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
    )
}
_HOURS: Final = {b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7}
_CLOCK: Final = rb"(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2}))?"
_DATE = re.compile(
    rb"\s*+(?:[A-Za-z]++[\s.,]*+)?(\d{1,2})[\s-]*+([A-Za-z]{3})[A-Za-z]*+[.\s-]*+(\d{2,4})[\s,]++"
    + _CLOCK
    + rb"\s*+(?:([+-])(\d\d):?(\d\d)|([A-Za-z]++))?"
)
_ASCTIME = re.compile(
    rb"\s*+[A-Za-z]++[.,]*\s++([A-Za-z]{3})[A-Za-z]*+\s++(\d{1,2})[,\s]++" + _CLOCK + rb"\s++(?:[A-Z]++\s++)?(\d{4})"
)
_COMMENT = re.compile(rb"\([^()]*+\)")


def parse_date(raw: bytes) -> datetime | None:
    """A Date header, aware, at the offset that it names (UTC for none or an unknown one); None when it is no date.

    Years are 1900 to 9998, so that converting it to any other zone cannot fail.
    """
    raw = raw[:200]
    if b"(" in raw:
        raw = _COMMENT.sub(b" ", raw)
    zone: timezone = UTC
    if (match := _DATE.match(raw)) is not None:
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes, name = match.groups()
        if sign is not None:
            zone = _offset(sign, int(zone_hours), int(zone_minutes))
        elif name is not None:
            zone = timezone(timedelta(hours=_HOURS.get(name.upper(), 0)))
    elif (match := _ASCTIME.match(raw)) is not None:
        month, day, hour, minute, second, year = match.groups()
    else:
        return None
    try:
        clock = int(hour), int(minute), min(int(second or 0), 59)  # 60 is a leap second
        found = datetime(_year(year), _MONTHS[month.lower()], int(day), *clock, tzinfo=zone)
    except (ValueError, KeyError):
        return None
    return found if 1900 <= found.year <= 9998 else None


def _year(digits: bytes) -> int:
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if 100 <= year < 200 else year  # years since 1900, printed as they were


def _offset(sign: bytes, hours: int, minutes: int) -> timezone:
    if hours > 23 or minutes > 59:
        return UTC
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == b"-" else offset) if offset else UTC
