"""Arguments of MAIL and RCPT: paths (RFC 5321, section 4.1.2; RFC 6531, section 3.3) and parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from mesyx_core.api import Refused
from mesyx_core.wire.addresses import LONGEST, printable, unicode_domain

_LOCAL = rb'(?:"(?:[ !#-\[\]-~]|\\[ -~])*"|[!#-\'*+\-./0-9=?A-Z^-~]+)'
_DOMAIN = rb"(?:\[[A-Za-z0-9.:\-]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._\-]*[A-Za-z0-9_])?)"
_PATH = re.compile(
    rb"(?i:(FROM|TO)) ?: ?<(?:@[A-Za-z0-9.,@_\-]+:)?((?:%b(?:@%b)?)?)>(?: +(.*))?" % (_LOCAL, _DOMAIN), re.DOTALL
)
_BEYOND = "\x80-\U0010ffff"
_LOCAL_UTF8 = rf"(?:\"(?:[ !#-\[\]-~{_BEYOND}]|\\[ -~])*\"|[!#-'*+\-./0-9=?A-Z^-~{_BEYOND}]+)"
_DOMAIN_UTF8 = rf"[A-Za-z0-9_{_BEYOND}](?:[A-Za-z0-9._\-{_BEYOND}]*[A-Za-z0-9_{_BEYOND}])?"
_PATH_UTF8 = re.compile(
    r"(?i:(FROM|TO)) ?: ?<(?:@[A-Za-z0-9.,@_\-]+:)?"
    rf"((?:{_LOCAL_UTF8}@({_DOMAIN_UTF8}|\[[A-Za-z0-9.:\-]+\]))?)>(?: +(.*))?",
    re.DOTALL,
)
_KEYWORD = re.compile(r"[A-Z0-9][A-Z0-9\-]*")
_VALUE = re.compile(rf"[!-<>-~{_BEYOND}]+")


class Path(NamedTuple):
    """What stands behind MAIL or RCPT."""

    word: str
    """FROM or TO."""
    address: str
    """Without angle brackets and source route; empty for the null reverse path. May be beyond ASCII."""
    parameters: Mapping[str, str]


def parse(argument: bytes) -> Path | None:
    """Read FROM:<…> or TO:<…>; None when it is neither. A parameter given twice or misshapen has the key ""."""
    argument = argument.rstrip(b" ")
    if not argument.isascii():
        return _parse_utf8(argument)
    match = _PATH.fullmatch(argument)
    if match is None:
        return None
    word, address, rest = match.groups()
    return Path(word.decode().upper(), address.decode(), _parameters(rest.decode()) if rest else {})


def _parse_utf8(argument: bytes) -> Path | None:
    try:
        match = _PATH_UTF8.fullmatch(argument.decode())
    except UnicodeDecodeError:
        return None
    if match is None:
        return None
    word, address, domain, rest = match.groups()
    if len(address.encode()) > LONGEST or not printable(address.replace(" ", "")):
        return None
    try:
        unicode_domain(domain or "")
    except Refused:
        return None
    return Path(word.upper(), address, _parameters(rest or ""))


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in text.split():
        word, equals, value = item.partition("=")
        key = word.upper()
        if not (word.isascii() and _KEYWORD.fullmatch(key)) or key in found or (equals and not _VALUE.fullmatch(value)):
            key = ""
        found[key] = value
    return found
