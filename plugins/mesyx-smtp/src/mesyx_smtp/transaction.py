"""One mail on one connection, from MAIL on (RFC 5321, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mesyx_core.api import Scalar


@dataclass(slots=True)
class Transaction:
    """What MAIL and RCPT have said so far."""

    sender: str
    """Reverse path; empty for bounces."""
    eight_bit: bool
    """BODY=8BITMIME was announced (RFC 6152). Content passes unchanged in either case."""
    utf8: bool = False
    """SMTPUTF8 was asked for (RFC 6531)."""
    envelope: dict[str, Scalar] = field(default_factory=dict)
    """What else is kept of MAIL's and RCPT's parameters."""
    recipients: list[str] = field(default_factory=list)
    """Accepted ones, in order."""
    begun: bool = False
    """A Recipient event was given: somebody holds a delivery."""
    asked: str = ""
    """The last recipient that was asked for."""
    chunked: bool = False
    """Its content comes by BDAT, and has begun to (RFC 3030)."""
