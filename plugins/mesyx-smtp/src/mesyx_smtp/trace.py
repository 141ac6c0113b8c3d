"""Trace headers that a server puts on top of what it takes in (RFC 5321, section 4.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

_HELLO = re.compile(r"[A-Za-z0-9._:\-\[\]]{1,255}")


@lru_cache(maxsize=1024)
def literal(host: str) -> str:
    """An address as RFC 5321, section 4.1.3, writes it; "unknown" for what is none, like a Unix socket."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return "unknown"
    return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"


@lru_cache(maxsize=2)
def _date(time: datetime) -> str:
    return format_datetime(time)


def headers(
    *, sender: str, hello: str, peer: str, host: str, protocol: str, recipients: Sequence[str], time: datetime
) -> bytes:
    """Return-Path and Received. `peer` is a `literal`. A recipient is named only if alone."""
    claimed = hello if _HELLO.fullmatch(hello) else "unknown"
    only = f"\r\n\tfor <{recipients[0]}>" if len(recipients) == 1 else ""
    return (
        f"Return-Path: <{sender}>\r\n"
        f"Received: from {claimed} ({peer})\r\n"
        f"\tby {host} with {protocol}{only};\r\n"
        f"\t{_date(time.replace(microsecond=0))}\r\n"
    ).encode()
