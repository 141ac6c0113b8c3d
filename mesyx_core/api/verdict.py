"""What filters decide and egresses report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mesyx_core.api.message import Importance, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One filter's word on a message for one recipient, with Sieve's actions (RFC 5228)."""

    word: Literal["accept", "reject", "drop", "hold"] = "accept"
    reason: str = ""
    """Shown to the sender on a reject; it must not repeat the message's text."""
    temporary: bool = False
    """A reject that may be tried again (451 rather than 550)."""
    rewritten: Message | None = None
    importance: Importance | None = None
    mailbox: str | None = None
    flags: frozenset[str] = frozenset()
    forward: tuple[str, ...] = ()
    answer: Message | None = None


ACCEPT = Verdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a delivery: acknowledged only now, since only now durable."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """Per recipient address as given."""
    trace: str = ""
    """Id for `mesyx trace`, safe to tell the network; empty when nothing was kept."""

    @property
    def accepted(self) -> bool:
        return any(v.word != "reject" for v in self.verdicts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one recipient on the way out."""

    word: Literal["sent", "later", "never"]
    reason: str = ""
    after: float | None = None
    """Seconds to wait before the next attempt, if the network said so."""
    remote: str = ""
    """Who said so."""
    relayed: bool = False
    """Of "sent": the sender asked to be told when it arrives, and nobody further on has promised to. `Reports` is then
    asked to say that it was handed over."""
