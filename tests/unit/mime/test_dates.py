"""Date headers (RFC 5322, sections 3.3 and 4.3)."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest

from mesyx_core import mime


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"Thu, 22 Aug 2002 12:36:23 +0100", "2002-08-22T12:36:23+01:00"),
        (b"Thu, 22 Aug 2002 12:36:23 +0100 (IST)", "2002-08-22T12:36:23+01:00"),
        (b"22 Aug 2002 12:36 -0330", "2002-08-22T12:36:00-03:30"),
        (b"Thu,22 Aug 2002 1:02:03 GMT", "2002-08-22T01:02:03+00:00"),
        (b"Thu, 22 Aug 02 12:36:23 EDT", "2002-08-22T12:36:23-04:00"),
        (b"22 Aug 97 12:36:23 -0000", "1997-08-22T12:36:23+00:00"),
        (b"22 Aug 102 12:36:23 Z", "2002-08-22T12:36:23+00:00"),
        (b"22 Aug 0102 12:36:23 Z", "2002-08-22T12:36:23+00:00"),
        (b"Thu, 22-August-2002 12.36.23 +0000", "2002-08-22T12:36:23+00:00"),
        (b"Thu (a day), 22 Aug 2002 (x) 12:36:60 XYZ", "2002-08-22T12:36:59+00:00"),
        (b"Thu Aug 22 12:36:23 2002", "2002-08-22T12:36:23+00:00"),
        (b"Thu Aug  2 12:36:23 EST 2002", "2002-08-02T12:36:23+00:00"),
        (b"22 Aug 2002 12:36:23 +9999", "2002-08-22T12:36:23+00:00"),
    ],
)
def test_a_date_keeps_its_own_offset(raw: bytes, shown: str) -> None:
    found = mime.parse_date(raw)
    assert found is not None
    assert found.isoformat() == shown


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"never", b"31 Feb 2002 12:00:00", b"22 Foo 2002 12:00", b"22 Aug 2002", b"22 Aug 2002 25:00",
        b"22 Aug 9999 12:00", b"22 Aug 1066 12:00", b"22 Aug 99999 12:00", b"\xff" * 300, b"2002-08-22",
    ],
)  # fmt: skip
def test_what_is_no_date_is_none(raw: bytes) -> None:
    assert mime.parse_date(raw) is None


def test_a_date_can_be_shown_in_any_zone() -> None:
    for raw in (b"31 Dec 9998 23:59:59 -2359", b"1 Jan 1900 00:00 +2359"):
        found = mime.parse_date(raw)
        assert found is not None
        assert found.astimezone(UTC).tzinfo is UTC
        assert found.astimezone(timezone(timedelta(hours=23))) == found
