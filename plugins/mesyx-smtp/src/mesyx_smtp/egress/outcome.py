"""From what several servers did with a recipient to the one outcome that is reported."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mesyx_core.api import Outcome
from mesyx_smtp.egress.client import Fate
from mesyx_smtp.egress.reply import clean

_REPLY: Final = re.compile(r"([245]\d\d) (?:([245]\.\d{1,3}\.\d{1,3})(?: |$))?")
_OURS: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")


class Told(NamedTuple):
    """A fate, and which server is behind it: "HOST [ADDRESS]", or empty."""

    fate: Fate
    remote: str = ""


def final(fate: Fate) -> bool:
    """Whether no other server is to be asked."""
    return fate.word in ("sent", "never", "unsure")


def better(old: Told | None, new: Told) -> Told:
    """Of two fates that are not final, or the second of which is, the one to tell. What is only true for now wins over
    what one server cannot, and what a server said wins over one that could not be reached."""
    if old is None or final(new.fate):
        return new
    return max(old, new, key=lambda told: (told.fate.word == "soft", bool(_REPLY.match(told.fate.reason)), told is new))


def outcome(told: Told) -> Outcome:
    """What `Egress.send` gives."""
    fate = told.fate
    if fate.word == "sent":
        return Outcome(word="sent", reason=clean(fate.reason), remote=told.remote, relayed=fate.relayed)
    later = fate.word in ("soft", "unsure")
    return Outcome(word="later" if later else "never", reason=clean(fate.reason), remote=told.remote)


def status(outcome: Outcome) -> str:
    """The enhanced status code that an outcome's reason has, or implies (RFC 3463)."""
    found = _REPLY.match(outcome.reason)
    if found:
        return found[2] or f"{found[1][0]}.0.0"
    ours = _OURS.match(outcome.reason)
    if ours:
        return ours[1]
    return {"sent": "2.0.0", "later": "4.0.0", "never": "5.0.0"}[outcome.word]


def replied(outcome: Outcome) -> bool:
    """Whether the reason is a server's reply, and not our own words."""
    return _REPLY.match(outcome.reason) is not None
