"""Values with parameters (RFC 2045, section 5.1; RFC 2183): Content-Type, Content-Disposition, and lists of tokens."""

from __future__ import annotations

import re
from typing import Final

from mesyx_core.mime.model import Parameters

_TYPE = re.compile(rb"[\s]*+([^\s/;()\"=,]++)[\s]*+(?:\([^()]*+\)[\s]*+)?/[\s]*+([^\s/;()\"=,]++)")
_TOKEN = re.compile(rb"[\s\"]*+([^\s;()\",]++)")
_SEPARATOR = re.compile(rb"[\s;]*+(?>(?:\([^()]*+\)[\s;]*+)*)")
# An unquoted value runs to the semicolon: names with spaces are often sent bare.
_PARAMETER = re.compile(
    rb"""([^\s=;"()]++)[\s]*+=[\s]*+
    (?: "((?:[^"\\]++|\\.)*+)(?:"|\\?\Z) | ([^;"(]*+) )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_NAMES: Final = (b"name", b"filename")


def parse_type(value: bytes, limit: int) -> tuple[bytes, bytes, Parameters]:
    """Type, subtype and parameters of an unfolded Content-Type.

    One that does not begin with type/subtype means text/plain (RFC 2045, section 5.2).
    """
    match = _TYPE.match(value)
    if match is None:
        return b"text", b"plain", parse_parameters(value, max(value.find(b";"), 0), limit)
    at = match.end()
    params = parse_parameters(value, at, limit) if at < len(value) else ()
    return match[1].lower(), match[2].lower(), params


def parse_disposition(value: bytes, limit: int) -> tuple[bytes | None, Parameters]:
    """Disposition and parameters of an unfolded Content-Disposition; None when it names none."""
    match = _TOKEN.match(value)
    if match is None:
        return None, ()
    if b"=" in match[1]:
        return b"attachment", parse_parameters(value, 0, limit)
    return match[1].lower(), parse_parameters(value, match.end(), limit)


def parse_token(value: bytes) -> bytes:
    """The first token in lower case, or b""."""
    match = _TOKEN.match(value)
    return match[1].lower() if match else b""


def parse_tokens(value: bytes, limit: int) -> tuple[bytes, ...]:
    """Comma-separated tokens as they stand, comments left out."""
    found = []
    for item in value.split(b",", limit)[:limit]:
        match = _TOKEN.match(item)
        if match is not None:
            found.append(match[1])
    return tuple(found)


def parse_parameters(value: bytes, at: int, limit: int) -> Parameters:
    """The parameters after position `at`, at most `limit`; what is none is passed over."""
    found: list[tuple[bytes, bytes]] = []
    end = len(value)
    while at < end and len(found) < limit:
        if (separator := _SEPARATOR.match(value, at)) is not None:
            at = separator.end()
        match = _PARAMETER.match(value, at)
        if match is None:
            at = value.find(b";", at) + 1 or end
            continue
        name, quoted, bare = match.groups()
        name = name.lower()
        if quoted is not None:
            found.append((name, _ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted))
        elif bare := bare.strip():
            found.append((name, bare if name in _NAMES else bare.split(None, 1)[0]))
        at = match.end()
    return tuple(found)
