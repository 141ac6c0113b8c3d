"""Keysets: who a message is sealed to, by time and importance, and the one choice among them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from mesyx_core.api.message import Importance

from . import labels
from .age import AgeError, check_recipient
from .encoding import digest

IMPORTANCES: Final[frozenset[Importance]] = frozenset(("low", "normal", "high"))
MOST_RECIPIENTS: Final = 64


class KeysetError(ValueError):
    """A keyset that cannot be: no or mixed recipients, an empty time frame or range of importance."""


def key_id(recipient: str) -> bytes:
    """Names the private key of a recipient, 32 bytes."""
    return digest(labels.RECIPIENT, recipient)


@dataclass(frozen=True)
class Keyset:
    """An immutable set of age recipients for a time frame and a range of importance.

    Recipients are all hybrid or all classic; their order does not matter. Times are Unix seconds: a keyset is in use
    from `start` until just before `end`; None has no bound.
    """

    recipients: tuple[str, ...]
    start: int | None = None
    end: int | None = None
    importances: frozenset[Importance] = IMPORTANCES
    fallback: bool = False
    """The one with the long-term recipients, no end and all importances."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipients", tuple(sorted(set(self.recipients))))
        object.__setattr__(self, "importances", frozenset(self.importances))
        self._check_recipients()
        if not self.importances or not self.importances <= IMPORTANCES:
            raise KeysetError("a keyset covers some of low, normal and high")
        if any(time is not None and not 0 <= time < 1 << 63 for time in (self.start, self.end)):
            raise KeysetError("times are Unix seconds")
        if self.end is not None and self.end <= (self.start or 0):
            raise KeysetError("a keyset ends after it starts")
        if self.fallback and (self.end is not None or self.importances != IMPORTANCES):
            raise KeysetError("the fallback keyset has no end and all importances")

    def _check_recipients(self) -> None:
        if not 0 < len(self.recipients) <= MOST_RECIPIENTS:
            raise KeysetError("a keyset has 1 to 64 recipients")
        try:
            kinds = {check_recipient(recipient) for recipient in self.recipients}
        except AgeError:
            raise KeysetError("not an age recipient") from None
        if len(kinds) > 1:
            raise KeysetError("a keyset is all hybrid or all classic")

    @cached_property
    def id(self) -> bytes:
        """Its hash, 32 bytes."""
        return digest(labels.KEYSET, *self.values())

    def values(self) -> list[Any]:
        """The plain values that stand in a manifest and that the id is the hash of."""
        return [list(self.recipients), self.start, self.end, sorted(self.importances), self.fallback]

    @classmethod
    def of(cls, values: Any) -> Keyset:
        """The keyset with these plain values, exactly as `values` gives them; KeysetError for any other form."""
        try:
            recipients, start, end, importances, fallback = values
            if not _plain(recipients, importances) or not isinstance(fallback, bool):
                raise KeysetError("not a keyset")
            if any(time is not None and type(time) is not int for time in (start, end)):
                raise KeysetError("not a keyset")
            keyset = cls(tuple(recipients), start, end, frozenset(importances), fallback)
        except (TypeError, ValueError) as error:
            raise error if isinstance(error, KeysetError) else KeysetError("not a keyset") from None
        if keyset.values() != list(values):
            raise KeysetError("not in its one form")
        return keyset

    def covers(self, now: int, importance: str) -> bool:
        """Whether it is in use at this time for this importance; an unknown importance counts as normal."""
        if (importance if importance in IMPORTANCES else "normal") not in self.importances:
            return False
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


def _plain(*lists: Any) -> bool:
    return all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in lists)


def select(
    keysets: Iterable[Keyset], now: int, importance: str, closed: Container[bytes], *, last_epoch: int = 0
) -> Keyset | None:
    """The keyset to seal to: of those that fit, the one that ends first, then the lowest id; None if none fits.

    `closed` holds ids that must not be used. `last_epoch` is when this node's last epoch began: a keyset that ended
    before it is never used again, even if the clock went back.
    """
    moment = max(now, last_epoch)
    fitting = (
        keyset
        for keyset in keysets
        if keyset.covers(now, importance) and keyset.covers(moment, importance) and keyset.id not in closed
    )
    return min(fitting, key=_order, default=None)


def _order(keyset: Keyset) -> tuple[bool, int, bytes]:
    return keyset.end is None, keyset.end or 0, keyset.id
