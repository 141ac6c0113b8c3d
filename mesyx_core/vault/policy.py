"""A store's keyset policy: which keysets there shall be, as a person writes it.

    POLICY = CLAUSE *( ";" CLAUSE )
    CLAUSE = [ IMPORTANCE *( "," IMPORTANCE ) ":" ] PERIOD [ "keep" ( N | "forever" ) ] [ "strict" ]
    PERIOD = "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | YYYY | YYYY-MM | DATE ".." DATE

A clause that names no importance is for those that no other names. All times are UTC; weeks begin on Monday; of two
dates both are included. `keep N`: so many periods after its own ends, a keyset's short-term key is due to be re-sealed
and destroyed; without it never. `strict`: the long-term recipients are not in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, NamedTuple, cast

from mesyx_core.api.message import Importance

from . import calendar
from .calendar import UNITS, Period
from .keyset import IMPORTANCES

LONGEST: Final = 1_000
"""Characters of a policy."""
MOST_CLAUSES: Final = 64
MOST_KEPT: Final = 1_000
MOST_AHEAD: Final = 400
_ORDER: Final[tuple[Importance, ...]] = ("low", "normal", "high")
_TOKEN: Final = re.compile(r"\s*([^\s:;,]+|[:;,])")


class PolicyError(ValueError):
    """A text that is no policy; `column` is where, from 1."""

    def __init__(self, column: int, what: str) -> None:
        super().__init__(f"column {column}: {what}")
        self.column = column
        self.what = what


class Span(NamedTuple):
    """When a keyset is in use, and for what."""

    start: int | None
    end: int | None
    importances: frozenset[Importance]


class Frame(NamedTuple):
    """One keyset that a policy asks for."""

    name: str
    """For people: the period, and which importances if not all, like high:2026-11."""
    start: int
    end: int
    """Unix seconds; the end is excluded."""
    importances: frozenset[Importance]
    expires: int | None
    """From when on its short-term key is due to be destroyed; None never."""
    strict: bool
    """Whether only the short-term key opens it."""

    @property
    def span(self) -> Span:
        return Span(self.start, self.end, self.importances)


@dataclass(frozen=True)
class Clause:
    """Keysets of one sort."""

    importances: frozenset[Importance]
    period: Period
    keep: int | None = None
    """Periods; None for ever."""
    strict: bool = False

    def frame(self, number: int) -> Frame:
        """The keyset for the period of this number."""
        period = self.period
        return Frame(
            frame_name(self.importances, period.name(number)),
            period.start(number),
            period.start(number + 1),
            self.importances,
            None if self.keep is None else period.start(number + 1 + self.keep),
            self.strict,
        )

    def planned(self, now: int, ahead: int) -> Iterator[Frame]:
        """The current one and so many that follow; a period that stands alone until it has ended."""
        current, only = self.period.number(now), self.period.only
        if only is None:
            yield from map(self.frame, range(current, current + ahead + 1))
        elif only >= current:
            yield self.frame(only)


@dataclass(frozen=True)
class Policy:
    """Clauses, in the order in which they were written."""

    clauses: tuple[Clause, ...]
    text: str
    """As it was written, without superfluous space."""

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Policy:
    """The policy that a text says. Raises PolicyError."""
    if len(text) > LONGEST:
        raise PolicyError(LONGEST + 1, f"a policy has at most {LONGEST} characters")
    if not text.isascii():
        raise PolicyError(1 + next(at for at, c in enumerate(text) if not c.isascii()), "a policy is plain ASCII")
    found = list(_clauses(_Tokens(text)))
    named: frozenset[Importance] = frozenset().union(*(clause.importances for _, clause in found))
    rest = IMPORTANCES - named
    for column, clause in found:
        if not clause.importances and not rest:
            raise PolicyError(column, "every importance is named by other clauses: name some here too")
    clauses = [
        (column, clause if clause.importances else replace(clause, importances=rest)) for column, clause in found
    ]
    _check_apart(clauses)
    return Policy(tuple(clause for _, clause in clauses), _normal(text))


def planned(policy: Policy, now: int, ahead: int) -> tuple[Frame, ...]:
    """The keysets that there shall be at this time, in Unix seconds: of each sort the current one and the `ahead` that
    follow, those that end first in front."""
    frames = {frame for clause in policy.clauses for frame in clause.planned(now, min(ahead, MOST_AHEAD))}
    return tuple(sorted(frames, key=lambda frame: (frame.end, frame.start, frame.name)))


def left(policy: Policy, made: Collection[Span], now: int) -> int | None:
    """For how many of the coming periods there is a keyset among those `made`: of each sort that recurs those in a row
    that follow the current one, and the fewest of all sorts; -1 when the current one has none. None when nothing
    recurs."""
    counts = []
    for clause in policy.clauses:
        if clause.period.only is None:
            coming = clause.planned(now, MOST_AHEAD)
            missing = (count for count, frame in enumerate(coming) if frame.span not in made)
            counts.append(next(missing, MOST_AHEAD + 1) - 1)
    return min(counts, default=None)


def frame_of(policy: Policy, span: Span) -> Frame | None:
    """The frame of a policy that a keyset of this span was made for, whenever that was: it says how long its key is
    kept. None when it was made for none."""
    for clause in policy.clauses:
        if span.importances == clause.importances and span.start is not None:
            number = clause.period.number(span.start)
            frame = clause.frame(number)
            if frame.span == span and clause.period.only in (None, number):
                return frame
    return None


def frame_name(importances: frozenset[Importance], period: str) -> str:
    """What a keyset is called that covers these importances in a period."""
    if importances == IMPORTANCES:
        return period
    return f"{'+'.join(one for one in _ORDER if one in importances)}:{period}"


class _Tokens:
    """Words and marks, with where they stand."""

    def __init__(self, text: str) -> None:
        self._found = [(match[1], match.start(1) + 1) for match in _TOKEN.finditer(text)]
        self._end = len(text.rstrip()) + 1
        self._at = 0

    @property
    def word(self) -> str:
        """The next one; empty at the end."""
        return self._found[self._at][0] if self._at < len(self._found) else ""

    @property
    def column(self) -> int:
        return self._found[self._at][1] if self._at < len(self._found) else self._end

    def follows(self, mark: str) -> bool:
        """Whether this stands behind the next one."""
        return self._at + 1 < len(self._found) and self._found[self._at + 1][0] == mark

    def take(self) -> str:
        word = self.word
        self._at += 1
        return word


def _clauses(tokens: _Tokens) -> Iterator[tuple[int, Clause]]:
    for count in range(MOST_CLAUSES + 1):
        if count == MOST_CLAUSES:
            raise PolicyError(tokens.column, f"a policy has at most {MOST_CLAUSES} clauses")
        yield tokens.column, _clause(tokens)
        if not tokens.word:
            return
        if tokens.word != ";":
            raise PolicyError(tokens.column, f"{tokens.word!r} is not expected here: clauses are parted by ';'")
        tokens.take()


def _clause(tokens: _Tokens) -> Clause:
    importances = _importances(tokens)
    period = _period(tokens)
    keep, strict = None, False
    if tokens.word == "keep":
        tokens.take()
        keep = _keep(tokens)
    if tokens.word == "strict":
        tokens.take()
        strict = True
    return Clause(importances, period, keep, strict)


def _importances(tokens: _Tokens) -> frozenset[Importance]:
    named: set[Importance] = set()
    while tokens.follows(":") or tokens.follows(","):
        if tokens.word not in IMPORTANCES:
            raise PolicyError(tokens.column, f"{tokens.word!r} is no importance: write low, normal or high")
        if tokens.word in named:
            raise PolicyError(tokens.column, f"{tokens.word} is named twice")
        named.add(cast(Importance, tokens.take()))
        if tokens.take() == ":":
            return frozenset(named)
    if named:
        raise PolicyError(tokens.column, "importances end with ':'")
    return frozenset()


def _period(tokens: _Tokens) -> Period:
    word, column = tokens.word, tokens.column
    tokens.take()
    if word in UNITS:
        return Period(word)
    try:
        if found := re.fullmatch(r"(\d{4})(?:-(\d{2}))?", word):
            return calendar.month(int(found[1]), int(found[2])) if found[2] else calendar.year(int(found[1]))
        if found := re.fullmatch(r"(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})", word):
            return calendar.days(date.fromisoformat(found[1]), date.fromisoformat(found[2]))
    except ValueError as error:
        raise PolicyError(column, f"{word!r} is no period: {error}") from None
    what = f"{word!r} is no period" if word else "a period is missing"
    raise PolicyError(column, f"{what}: write {', '.join(UNITS)}, 2026, 2026-11 or 2026-01-01..2026-06-30")


def _keep(tokens: _Tokens) -> int | None:
    word, column = tokens.word, tokens.column
    tokens.take()
    if word == "forever":
        return None
    if not re.fullmatch(r"\d{1,4}", word) or int(word) > MOST_KEPT:
        raise PolicyError(column, f"write keep and a number of periods up to {MOST_KEPT}, or keep forever")
    return int(word)


def _check_apart(clauses: list[tuple[int, Clause]]) -> None:
    """Of two that recur for one importance the longer would never be used."""
    seen: set[Importance] = set()
    for column, clause in clauses:
        if clause.period.only is None:
            twice = sorted(clause.importances & seen)
            if twice:
                raise PolicyError(column, f"{', '.join(twice)} has a recurring period already")
            seen |= clause.importances


def _normal(text: str) -> str:
    words = " ".join(match[1] for match in _TOKEN.finditer(text))
    return re.sub(r" ([:;,])", r"\1", words).replace(", ", ",")
