"""What one connection may do."""

from __future__ import annotations

from dataclasses import dataclass

LINE = 2048
"""Longest command line. RFC 5321, section 4.5.3.1.4, asks for 512 and what extensions add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that the engine holds a connection to."""

    size: int = 50 * 1024 * 1024
    """Bytes of one message; announced by SIZE (RFC 1870)."""
    recipients: int = 1000
    """Of one message."""
    errors: int = 20
    """Refused commands, recipients and messages before the connection ends; a message that is kept sets it back."""
    idle: int = 200
    """Commands that lead to nothing (NOOP, RSET, VRFY, HELP, EHLO) before each counts as an error."""
    received: int = 100
    """Received headers, above which a message is in a loop (RFC 5321, section 6.3)."""
