"""What one connection may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """Bounds on one command while it is still being read."""

    line: int
    """Octets of all text runs together, literals not counted."""
    literal: int
    """Octets of one literal."""
    literals: int
    """How many literals."""


STRANGER = Ceiling(line=8192, literal=1024, literals=4)
"""Before log-in: room for LOGIN and AUTHENTICATE, and nothing to fill memory with."""

PERSON = Ceiling(line=65536, literal=65536, literals=64)
"""After log-in; APPEND's message has a limit of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds, octets and counts of one listener."""

    stranger: Ceiling = STRANGER
    person: Ceiling = PERSON
    append: int = 50 << 20
    """Largest message that APPEND takes."""
    held: int = 256 << 20
    """Octets of APPENDs that may be in memory over all connections of the listener."""
    login_time: float = 60
    """From the greeting to a successful log-in, each TLS handshake included."""
    idle_time: float = 31 * 60
    """Without a command; RFC 3501, section 5.4, asks for at least 30 minutes."""
    read_time: float = 5 * 60
    """With a half-sent command, or with a reply that the client does not read."""
    failures: int = 3
    """Failed log-ins until the connection is closed."""
    failure_delay: float = 1
    """Before the answer to the first failed log-in; doubles with each."""
    bad: int = 50
    """Commands in a row that are not IMAP, until the connection is closed."""


DEPTH = 16
"""Parentheses in parentheses."""

ITEMS = 512
"""Elements of one list: search keys, fetch items, flags, header names, patterns."""

RANGES = 20_000
"""Elements of one sequence set; a full line holds fewer than 33,000."""

FLAG = 255
"""Octets of a keyword."""
