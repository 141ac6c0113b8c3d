"""Values that the index's parts hand to one another."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

SEQ: Final = 40
"""An entry is its origin's row << SEQ | seq."""
SEQ_MASK: Final = (1 << SEQ) - 1
SAME: Final = 5 * 86_400_000
"""Identical mails at most this many milliseconds apart are one message."""

Why: TypeAlias = Literal["body", "blob", "locked", "cause", "epoch", "member", "fault", "gone"]
"""Why an entry waits: payload or blob not here, key not open, an op it builds on or its epoch not opened, its node not
in the manifest, this release failed at it, or its payload was purged: then only a message that stands for it helps."""


class Arrival(NamedTuple):
    """A message as the common file knows it."""

    entry: int
    keyset: int
    time: int
    """Unix milliseconds."""
    link: bytes | None
    """Equal for entries that may be the same message."""
    always: bool
    """Whether an equal link is enough however far apart (a network's own id)."""
    mailbox: bytes
    mailbox_name: str
    flags: frozenset[str]
    email: bytes
    thread: bytes
