"""MAIL and RCPT with the parameters that a server offers: SIZE, 8BITMIME, SMTPUTF8, DSN (RFC 3461), REQUIRETLS."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import TYPE_CHECKING

from mesyx_smtp.egress.address import Address

if TYPE_CHECKING:
    from mesyx_smtp.egress.client import Mail

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2}){1,100}")
_ORCPT = re.compile(r"[A-Za-z0-9.\-]{1,40};(?:[!-*,-<>-~]|\+[0-9A-F]{2}){1,500}")
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}")


def mail(mail: Mail, offered: Container[str], *, utf8: bool, secure: bool) -> str:
    """The MAIL command, with its CRLF."""
    words = [f"MAIL FROM:<{_wire(mail.sender, utf8=utf8) if mail.sender else ''}>"]
    if "SIZE" in offered:
        words.append(f"SIZE={mail.size}")
    if "8BITMIME" in offered and mail.eight_bit:
        words.append("BODY=8BITMIME")
    if utf8:
        words.append("SMTPUTF8")
    if "REQUIRETLS" in offered and secure and mail.require_tls:
        words.append("REQUIRETLS")
    if "DSN" in offered:
        if mail.ret in ("FULL", "HDRS"):
            words.append(f"RET={mail.ret}")
        if _XTEXT.fullmatch(mail.envid):
            words.append(f"ENVID={mail.envid}")
    return " ".join(words) + "\r\n"


def rcpt(mail: Mail, recipient: str, offered: Container[str], *, utf8: bool) -> str:
    """The RCPT command, with its CRLF."""
    words = [f"RCPT TO:<{_wire(mail.recipients[recipient], utf8=utf8)}>"]
    if "DSN" in offered:
        notify, orcpt = mail.notify.get(recipient, "").upper(), mail.orcpt.get(recipient, "")
        if _NOTIFY.fullmatch(notify):
            words.append(f"NOTIFY={notify}")
        if _ORCPT.fullmatch(orcpt):
            words.append(f"ORCPT={orcpt}")
    return " ".join(words) + "\r\n"


def _wire(address: Address, *, utf8: bool) -> str:
    return f"{address.local}@{address.domain}" if utf8 else address.ascii
