"""What a mail program may leave to the server: Date and Message-ID (RFC 6409, sections 8.2 and 8.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime

from mesyx_core import mime
from mesyx_core.mime import Limits
from mesyx_core.wire.addresses import ascii_domain

HEADER = Limits().header
"""Bytes of a header that are looked at."""


def header(body: bytes | bytearray) -> bytes:
    """The header of a whole message, with the last CRLF of its lines."""
    if body.startswith(b"\r\n"):
        return b""
    end = body.find(b"\r\n\r\n", 0, HEADER)
    return bytes(body[: end + 2] if end >= 0 else body[:HEADER])


def missing(head: bytes, sender: str, now: datetime, random: Callable[[int], bytes]) -> bytes:
    """Header lines that belong on top of `head` because it has none of their name. `sender`: the return path.

    The id names the sender's domain and nothing of this machine; the date tells no time zone.
    """
    names = {name.lower() for name, *_ in mime.header_fields(head, 0, len(head))}
    added = b""
    if b"date" not in names:
        added += f"Date: {format_datetime(now.replace(microsecond=0))}\r\n".encode()
    if b"message-id" not in names:
        domain = ascii_domain(sender.rpartition("@")[2])
        added += f"Message-ID: <{random(16).hex()}@{domain or 'localhost'}>\r\n".encode()
    return added
