"""Addresses on their way to the wire: what may stand in MAIL and RCPT, and where a domain's mail goes."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

import idna

from mesyx_core.api import Refused

LONGEST: Final = 512

_LOCAL = re.compile(r'"(?:[^"\\<>]|\\.)*"|[^\s"(),:;<>@\[\\\]]+')
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?")


class AddressError(Refused):
    """No address that SMTP can carry."""


class Address(NamedTuple):
    """A mailbox."""

    local: str
    domain: str
    """As it was written: U-labels, A-labels, or a literal in brackets."""

    @property
    def ascii(self) -> str:
        """With the domain in A-labels: what a server without SMTPUTF8 is told, if the local part allows it."""
        return f"{self.local}@{self.domain if self.domain.isascii() else to_ascii(self.domain)}"


def parse(address: str) -> Address:
    """Split an address. Nothing gets through that could end a command or a path. Raises AddressError."""
    local, at, domain = address.rpartition("@")
    if not at or len(address.encode("utf-8", "replace")) > LONGEST or not address.isprintable():
        raise AddressError("not a mail address")
    if not _LOCAL.fullmatch(local):
        raise AddressError("not a mail address")
    if domain.startswith("["):
        literal(domain)
    else:
        to_ascii(domain)
    return Address(local, domain)


def literal(domain: str) -> IPv4Address | IPv6Address:
    """The address in [192.0.2.1] or [IPv6:2001:db8::1] (RFC 5321, section 4.1.3). Raises AddressError."""
    inner = domain[1:-1]
    try:
        if not domain.endswith("]"):
            raise ValueError
        if inner[:5].lower() == "ipv6:":
            return IPv6Address(inner[5:])
        return IPv4Address(inner)
    except ValueError:
        raise AddressError("not an address literal") from None


@lru_cache(maxsize=1024)
def to_ascii(domain: str) -> str:
    """The domain in lower case and A-labels (RFC 5891), without a dot at the end. Raises AddressError."""
    name = domain.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise AddressError("not a domain") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise AddressError("not a domain")
    return name
