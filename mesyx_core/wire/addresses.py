"""Mail addresses as they are compared: one form for all that reach the same mailbox (RFC 5321, 6531, 5890)."""

from __future__ import annotations

import unicodedata
from typing import Final

from mesyx_core.api import Refused

LONGEST: Final = 320
"""Octets of an address in UTF-8 (RFC 5321, section 4.5.3.1)."""

_JOINERS: Final = "\u200c\u200d"
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"})


def normal(address: str) -> str:
    """The form that addresses are compared in: NFC, lower case, the domain in Unicode, without +tag. Raises Refused
    for what is no address."""
    local, at, domain = address.strip().strip("<>").rpartition("@")
    if not at or not local or not domain:
        raise _no_address(address)
    if not address.isascii() or "xn--" in domain.lower():
        # NFC last: there are small letters that compose where the capital does not.
        local, domain = unicodedata.normalize("NFC", local.lower()), unicode_domain(domain)
    if len(address) > LONGEST or len(address.split()) != 1:
        raise _no_address(address)
    return f"{local.partition('+')[0] or local}@{domain}".lower()


def unicode_domain(domain: str) -> str:
    """A domain in lower case, its labels as U-labels (RFC 5890): the same for both spellings of an internationalised
    one. Raises Refused for a name that IDNA does not allow. What no A-label can be in, like an address in brackets,
    stays."""
    domain = domain.lower()
    if domain.isascii() and "xn--" not in domain:
        return domain
    import idna

    if len(domain) > 255:
        raise _no_address(domain)
    try:
        return idna.decode(idna.encode(domain, uts46=True).decode("ascii")).lower()
    except (idna.IDNAError, UnicodeError):
        raise Refused(f"{domain!r} is not a domain name", "write it as it is registered") from None


def ascii_domain(domain: str) -> str:
    """A domain as DNS and old servers know it, its labels as A-labels. "" for a name that IDNA does not allow."""
    if domain.isascii():
        return domain
    import idna

    try:
        return idna.encode(domain[:256], uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return ""


def printable(text: str) -> bool:
    """No control, format or space character is in it, joiners excepted: what is shown is what is there."""
    return all(c in _JOINERS or unicodedata.category(c) not in _UNSEEN for c in text)


def _no_address(address: str) -> Refused:
    return Refused(f"{address!r} is not a mail address", "write LOCAL@DOMAIN")
