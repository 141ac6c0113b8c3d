"""Which keysets a policy asks for, and when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mesyx_core.vault.keyset import IMPORTANCES
from mesyx_core.vault.policy import LONGEST, PolicyError, left, parse, planned

NOW = int(datetime(2026, 11, 25, 21, 30, tzinfo=UTC).timestamp())  # a Wednesday
DAY = 86_400


def day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def names(text: str, ahead: int = 2, now: int = NOW) -> list[str]:
    return [frame.name for frame in planned(parse(text), now, ahead)]


def test_the_current_period_and_those_that_follow_are_planned() -> None:
    assert names("daily") == ["2026-11-25", "2026-11-26", "2026-11-27"]
    assert names("weekly") == ["2026-W48", "2026-W49", "2026-W50"]
    assert names("monthly") == ["2026-11", "2026-12", "2027-01"]
    assert names("quarterly") == ["2026-Q4", "2027-Q1", "2027-Q2"]
    assert names("yearly") == ["2026", "2027", "2028"]


def test_weeks_begin_on_monday_and_are_named_as_iso_8601_does() -> None:
    [frame] = planned(parse("weekly"), day("2027-01-02"), 0)
    assert (frame.name, frame.start, frame.end) == ("2026-W53", day("2026-12-28"), day("2027-01-04"))


def test_a_period_that_stands_alone_is_planned_until_it_has_ended() -> None:
    assert names("2026") == ["2026"]
    assert names("2025; 2026-10; 2027-03") == ["2027-03"]
    [frame] = planned(parse("2026-11-20..2026-11-25"), NOW, 8)
    assert (frame.start, frame.end) == (day("2026-11-20"), day("2026-11-26"))
    assert names("2026-11-20..2026-11-25", now=day("2026-11-26")) == []


def test_a_clause_without_importances_is_for_those_that_no_other_names() -> None:
    weekly, monthly = planned(parse("weekly keep 4; high: monthly keep forever strict"), NOW, 0)
    assert weekly.name == "low+normal:2026-W48"
    assert weekly.importances == {"low", "normal"}
    assert weekly.expires == weekly.end + 4 * 7 * DAY
    assert not weekly.strict
    assert (monthly.name, monthly.expires, monthly.strict) == ("high:2026-11", None, True)
    [alone] = planned(parse("weekly"), NOW, 0)
    assert alone.importances == IMPORTANCES


def test_keys_are_kept_for_periods_of_their_own_sort() -> None:
    def kept(text: str) -> int | None:
        [frame] = planned(parse(text), NOW, 0)
        return frame.expires

    assert kept("monthly keep 3") == day("2027-03-01")
    assert kept("2026 keep 2") == day("2029-01-01")
    assert kept("2026-11-21..2026-11-30 keep 1") == day("2026-12-11")
    assert kept("weekly keep 0") == day("2026-11-30")
    assert kept("weekly") is None


def test_what_is_written_in_many_ways_is_said_in_one() -> None:
    assert str(parse("  high ,low:weekly   keep 4 ;normal :\n 2026 ")) == "high,low: weekly keep 4; normal: 2026"
    assert parse(str(parse("high,low:daily;2026"))) == parse("high,low: daily; 2026")


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("", 1, "a period is missing"),
        ("weekly;", 8, "a period is missing"),
        ("fortnightly", 1, "'fortnightly' is no period"),
        ("urgent: weekly", 1, "'urgent' is no importance"),
        ("high, weekly", 7, "importances end with ':'"),
        ("high,high: weekly", 6, "high is named twice"),
        ("weekly keep", 12, "write keep and a number"),
        ("weekly keep 1001", 13, "write keep and a number"),
        ("weekly keep 4 forever", 15, "'forever' is not expected here"),
        ("weekly strict keep 4", 15, "'keep' is not expected here"),
        ("2026-13", 1, "'2026-13' is no period"),
        ("2026-02-30..2026-03-01", 1, "is no period"),
        ("2026-12-01..2026-11-01", 1, "it ends before it begins"),
        ("9999", 1, "a year is 1970 to 7999"),
        ("weekly; monthly", 9, "has a recurring period already"),
        ("high: weekly; low,high: monthly", 15, "high has a recurring period already"),
        ("low,normal,high: weekly; 2027", 26, "every importance is named by other clauses"),
        ("wéekly", 2, "plain ASCII"),
        ("daily;" * 65, 385, "at most 64 clauses"),
        (" " * (LONGEST + 1), LONGEST + 1, "at most 1000 characters"),
    ],
)
def test_a_text_that_is_no_policy_is_refused_where_it_goes_wrong(text: str, column: int, what: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse(text)
    assert (refused.value.column, what in refused.value.what) == (column, True)


def test_how_many_periods_are_left_is_counted_for_the_sort_that_runs_out_first() -> None:
    policy = parse("weekly; high: monthly; 2030")
    made = {frame.span for frame in planned(policy, NOW, 8)}
    assert left(policy, made, NOW) == 8
    assert left(policy, made, NOW + 7 * DAY) == 7
    assert left(policy, made, NOW + 8 * 7 * DAY) == 0
    assert left(policy, made, NOW + 9 * 7 * DAY) == -1
    assert left(policy, set(), NOW) == -1
    assert left(parse("2026"), set(), NOW) is None


@pytest.mark.parametrize("now", [-(10**15), -1, 0, 10**12, 10**18])
def test_a_clock_gone_astray_harms_nothing(now: int) -> None:
    for frame in planned(parse("weekly keep 1000; high: yearly keep 1000"), now, 400):
        assert frame.start < frame.end
