"""Text of an HTML part for search: tags, scripts and styles off, entities resolved. Linear, and for no browser."""

from __future__ import annotations

import re
from html.entities import html5

# Each of these always matches once it has begun: what is never closed runs to the end, and nothing is read twice.
# A possessive group is written (?>(?:…)*), not (?:…)*+: CPython 3.11.2, Debian 12's own, lets the latter take too much.
_HIDDEN = re.compile(
    r"<!--[^-]*+(?>(?:-(?!->)[^-]*+)*)(?:-->)?"
    r"|<script\b[^<]*+(?>(?:<(?!/script)[^<]*+)*)"
    r"|<style\b[^<]*+(?>(?:<(?!/style)[^<]*+)*)",
    re.IGNORECASE,
)
_INLINE = re.compile(
    r"</?(?:a|abbr|acronym|b|bdo|big|cite|code|em|font|i|ins|kbd|mark|s|small|span|strike|strong|sub|sup|tt|u|var|wbr)"
    r"(?![^\s/>])[^>]*+>?",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[a-zA-Z/!?][^>]*+>?")
_ENTITY = re.compile(r"&(?:#([0-9]{1,7}+)|#[xX]([0-9a-fA-F]{1,6}+)|([a-zA-Z][a-zA-Z0-9]{1,31}+));?")
_CHARSET = re.compile(rb"<meta\b[^>]{0,200}?\bcharset\s{0,9}=[\s\"']{0,9}([a-zA-Z0-9_:.-]{1,64})", re.IGNORECASE)


def strip_tags(markup: str) -> str:
    """The text between tags, its white space as single spaces. Words that only inline tags divide stay together."""
    if "<" in markup:
        markup = _HIDDEN.sub(" ", markup)
        markup = _INLINE.sub("", markup)
        markup = _TAG.sub(" ", markup)
    if "&" in markup:
        markup = _ENTITY.sub(_character, markup)
    return " ".join(markup.split())


def declared_charset(markup: bytes) -> str:
    """The charset that a <meta> near the start names, or ""."""
    match = _CHARSET.search(markup, 0, 2048)
    return match[1].decode("ascii") if match else ""


def _character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name is not None:
        return html5.get(name + ";") or match[0]
    code = int(decimal) if decimal is not None else int(hexadecimal, 16)
    if 0x80 <= code <= 0x9F:  # meant as Windows-1252, as browsers know
        return bytes((code,)).decode("cp1252", "replace")
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code <= 0xDFFF else "\ufffd"
