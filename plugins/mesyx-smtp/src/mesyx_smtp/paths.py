"""Arguments of MAIL and RCPT: paths (RFC 5321, section 4.1.2) and parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_LOCAL = rb'(?:"(?:[ !#-\[\]-~]|\\[ -~])*"|[!#-\'*+\-./0-9=?A-Z^-~]+)'
_DOMAIN = rb"(?:\[[A-Za-z0-9.:\-]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._\-]*[A-Za-z0-9_])?)"
_PATH = re.compile(
    rb"(?i:(FROM|TO)) ?: ?<(?:@[A-Za-z0-9.,@_\-]+:)?((?:%b(?:@%b)?)?)>(?: +(.*))?" % (_LOCAL, _DOMAIN), re.DOTALL
)
_KEYWORD = re.compile(r"[A-Z0-9][A-Z0-9\-]*")
_VALUE = re.compile(r"[!-<>-~]+")


class Path(NamedTuple):
    """What stands behind MAIL or RCPT."""

    word: str
    """FROM or TO."""
    address: str
    """Without angle brackets and source route; empty for the null reverse path."""
    parameters: Mapping[str, str]


def parse(argument: bytes) -> Path | None:
    """Read FROM:<…> or TO:<…>; None when it is neither. A parameter given twice or misshapen has the key ""."""
    match = _PATH.fullmatch(argument.rstrip(b" "))
    if match is None:
        return None
    word, address, rest = match.groups()
    return Path(word.decode().upper(), address.decode(), _parameters((rest or b"").decode("ascii", "replace")))


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in text.split():
        key, equals, value = item.partition("=")
        key = key.upper()
        if not _KEYWORD.fullmatch(key) or key in found or (equals and not _VALUE.fullmatch(value)):
            key = ""
        found[key] = value
    return found
