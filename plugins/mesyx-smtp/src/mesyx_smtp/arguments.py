"""What MAIL and RCPT say: an address and parameters, or the reply that refuses them (RFC 5321, sections 4.1.1.2 and 3).

RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 (SMTPUTF8), RFC 3461 (RET, ENVID, NOTIFY, ORCPT), RFC 8689 (REQUIRETLS).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from mesyx_core.api import Scalar
from mesyx_smtp import paths, replies

_NONE: Mapping[str, Scalar] = {}
_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
_ENVID = re.compile(rf"{_XTEXT}{{1,100}}")
_ORCPT = re.compile(
    rf"(?i:rfc822);{_XTEXT}{{1,500}}|(?i:utf-8);[!-<>-~\x80-\U0010ffff]{{1,500}}|[A-Za-z0-9\-]{{1,60}};{_XTEXT}{{1,500}}"
)
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}")


class Sender(NamedTuple):
    """MAIL."""

    address: str
    """Empty for bounces."""
    eight_bit: bool
    utf8: bool
    envelope: Mapping[str, Scalar]
    """What is kept beside the message: "smtputf8", "ret", "envid", "require_tls", where given."""


class To(NamedTuple):
    """RCPT."""

    address: str
    envelope: Mapping[str, Scalar]
    """"notify/ADDRESS" and "orcpt/ADDRESS", where given."""


def sender(argument: bytes, size: int, *, dsn: bool, login: bool, require_tls: bool = False) -> Sender | bytes:
    """Read MAIL's argument. `size`: the largest message; `dsn`, `login`, `require_tls`: these extensions are
    offered."""
    path = paths.parse(argument)
    if path is None:
        return replies.BAD_SENDER if argument.isascii() else _beyond(argument, replies.BAD_SENDER)
    if path.word != "FROM" or (path.address and "@" not in path.address):
        return replies.BAD_SENDER
    if not path.parameters:
        return Sender(path.address, False, False, _NONE) if path.address.isascii() else replies.NOT_ASCII
    eight_bit = utf8 = False
    envelope: dict[str, Scalar] = {}
    for key, value in path.parameters.items():
        if key == "SIZE" and value.isdecimal() and len(value) <= 20:
            if int(value) > size:
                return replies.TOO_BIG
        elif key == "BODY" and value.upper() in ("7BIT", "8BITMIME"):
            eight_bit = value.upper() == "8BITMIME"
        elif key == "SMTPUTF8" and not value:
            utf8 = envelope["smtputf8"] = True
        elif require_tls and key == "REQUIRETLS" and not value:
            envelope["require_tls"] = True
        elif dsn and key == "RET" and value.upper() in ("FULL", "HDRS"):
            envelope["ret"] = value.upper()
        elif dsn and key == "ENVID" and _ENVID.fullmatch(value):
            envelope["envid"] = value
        elif not (login and key == "AUTH" and value):  # RFC 4954, section 5: taken, and believed of nobody
            return _fault(key, dsn)
    if not utf8 and not path.address.isascii():
        return replies.NOT_ASCII
    return Sender(path.address, eight_bit, utf8, envelope)


def recipient(argument: bytes, *, utf8: bool, dsn: bool) -> To | bytes:
    """Read RCPT's argument. `utf8`: MAIL asked for SMTPUTF8."""
    path = paths.parse(argument)
    if path is None:
        return replies.BAD_RECIPIENT if argument.isascii() or utf8 else _beyond(argument, replies.BAD_RECIPIENT)
    if path.word != "TO" or not ("@" in path.address or path.address.lower() == "postmaster"):
        return replies.BAD_RECIPIENT
    if not utf8 and not path.address.isascii():
        return replies.NOT_ASCII
    if not path.parameters:
        return To(path.address, _NONE)
    envelope: dict[str, Scalar] = {}
    for key, value in path.parameters.items():
        if dsn and key == "NOTIFY" and _NOTIFY.fullmatch(value.upper()):
            envelope[f"notify/{path.address}"] = value.upper()
        elif dsn and key == "ORCPT" and _ORCPT.fullmatch(value) and (utf8 or value.isascii()):
            envelope[f"orcpt/{path.address}"] = value
        else:
            return _fault(key, dsn)
    return To(path.address, envelope)


_WITH_VALUE = frozenset({"", "SIZE", "SMTPUTF8"})
_OF_DSN = frozenset({"RET", "ENVID", "NOTIFY", "ORCPT"})


def _fault(key: str, dsn: bool) -> bytes:
    known = key in _WITH_VALUE or (dsn and key in _OF_DSN)
    return replies.BAD_PARAMETER if known else replies.UNKNOWN_PARAMETER


def _beyond(argument: bytes, otherwise: bytes) -> bytes:
    """Beyond ASCII and misshapen: whoever has not asked for SMTPUTF8 is told of that first."""
    return otherwise if b"SMTPUTF8" in argument.upper() else replies.NOT_ASCII
