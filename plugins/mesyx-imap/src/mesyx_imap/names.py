"""Mailbox names on the wire: modified UTF-7 (RFC 3501, section 5.1.3), INBOX in any case, and LIST's patterns."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

from mesyx_imap.errors import No

INBOX = "INBOX"
SEPARATOR = "/"
_LONGEST = 1000
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_UNPRINTABLE = re.compile("[^\x20-\x7e]+|&")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def encode(name: str) -> bytes:
    """Unicode to modified UTF-7."""
    return _UNPRINTABLE.sub(_shift, name).encode("ascii")


def _shift(match: re.Match[str]) -> str:
    text = match[0]
    if text == "&":
        return "&-"
    packed = b64encode(text.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",").decode("ascii")
    return f"&{packed}-"


def decode(raw: bytes) -> str:
    """Modified UTF-7 to Unicode, with INBOX in capitals wherever it is the first level. Raises No."""
    if len(raw) > _LONGEST:
        raise No(b"[CANNOT] Mailbox name too long")
    try:
        name = _decode(raw)
    except ValueError:
        raise No(b"[CANNOT] Mailbox name is not modified UTF-7") from None
    first, separator, rest = name.partition(SEPARATOR)
    return INBOX + separator + rest if first.upper() == INBOX else name


def _decode(raw: bytes) -> str:
    parts: list[str] = []
    at = 0
    for match in _SHIFTED.finditer(raw):
        parts += (_plain(raw[at : match.start()]), _unshift(match[1]))
        at = match.end()
    parts.append(_plain(raw[at:]))
    return "".join(parts)


def _plain(raw: bytes) -> str:
    if b"&" in raw:
        raise ValueError
    return raw.decode("ascii")


def _unshift(packed: bytes) -> str:
    if not packed:
        return "&"
    padded = packed.replace(b",", b"/") + b"=" * (-len(packed) % 4)
    return b64decode(padded, validate=True).decode("utf-16-be")


def check(name: str) -> str:
    """A name that may be created. Raises No."""
    if not name or _CONTROL.search(name) or "*" in name or "%" in name:
        raise No(b"[CANNOT] Not a mailbox name")
    if not all(name.split(SEPARATOR)):
        raise No(b"[CANNOT] Empty level in a mailbox name")
    return name


def pattern(reference: str, mailbox: str) -> re.Pattern[str]:
    """LIST's reference and pattern as one expression: * matches anything, % anything but the separator."""
    squeezed = re.sub(r"[*%]*\*[*%]*", "*", reference + mailbox)  # runs of wildcards would backtrack
    squeezed = re.sub(r"%+", "%", squeezed)
    if squeezed.count("*") + squeezed.count("%") > 16:
        raise No(b"[LIMIT] Too many wildcards in a pattern")
    first, separator, rest = squeezed.partition(SEPARATOR)
    if first.upper() == INBOX:
        squeezed = INBOX + separator + rest
    expression = "".join({"*": ".*", "%": "[^/]*"}.get(c) or re.escape(c) for c in squeezed)
    return re.compile(expression, re.DOTALL)


def parents(name: str) -> list[str]:
    """All superior names, outermost first."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:n]) for n in range(1, len(levels))]
