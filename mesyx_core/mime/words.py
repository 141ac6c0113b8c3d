"""Header values as people read them: encoded words (RFC 2047) and extended parameters (RFC 2231)."""

from __future__ import annotations

import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from mesyx_core.mime.charsets import decode
from mesyx_core.mime.headers import unfold
from mesyx_core.mime.model import Address, Parameters, Part
from mesyx_core.mime.transfer import decode_base64

_WORD = re.compile(rb"=\?([^?\s]{1,64})\?([bBqQ])\?([^?\r\n]*+)\?=")
_SECTIONS: Final = 200  # continuations of one parameter


def decode_words(raw: bytes) -> str:
    """A header value as text: unfolded, encoded words decoded, 8-bit bytes taken for UTF-8 or Windows-1252."""
    raw = unfold(raw)
    if b"=?" not in raw:
        return raw.decode("ascii") if raw.isascii() else decode(raw)
    found: list[str] = []
    at = 0
    pending: list[bytes] = []
    charset = ""
    for match in _WORD.finditer(raw):
        between = raw[at : match.start()]
        language = match[1].partition(b"*")[0].decode("latin-1")  # charset*language, RFC 2231, section 5
        content = _content(match[2], match[3])
        if at and not between.strip() and language == charset:
            pending.append(content)  # a character may be split between two words, against the rules
        else:
            found.append(decode(b"".join(pending), charset))
            if not at or between.strip():
                found.append(decode(between))
            pending, charset = [content], language
        at = match.end()
    found.append(decode(b"".join(pending), charset))
    found.append(decode(raw[at:]))
    return "".join(found).replace("\r", " ").replace("\n", " ")


def _content(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"bB":
        return decode_base64(text)
    return binascii.a2b_qp(text, header=True)


def decode_address(address: Address) -> str:
    """An address as people write it: Name <mailbox@host>, the name decoded; a group's marker gives its name."""
    if address.host is None:
        return decode_words(address.mailbox) if address.mailbox else ""
    mailbox = decode((address.mailbox or b"") + b"@" + address.host)
    return f"{decode_words(address.name)} <{mailbox}>" if address.name else mailbox


def parameter(params: Parameters, name: bytes) -> str | None:
    """A parameter as text: plain, extended or continued (RFC 2231), or with encoded words, as many mailers send it."""
    plain: bytes | None = None
    sections: dict[int, tuple[bool, bytes]] = {}
    for key, value in params:
        if key == name:
            plain = value if plain is None else plain
        elif key.startswith(name + b"*"):
            rest = key[len(name) + 1 :]
            extended = rest.endswith(b"*") or not rest
            number = rest.rstrip(b"*") or b"0"
            if len(number) <= 3 and number.isdigit():
                sections.setdefault(int(number), (extended, value))
    if 0 not in sections:
        return decode_words(plain) if plain is not None else None
    charset = ""
    content: list[bytes] = []
    for position in range(_SECTIONS):
        if position not in sections:
            break
        extended, value = sections[position]
        if extended and not content and value.count(b"'") >= 2:
            named, _, value = value.split(b"'", 2)
            charset = named.decode("latin-1")
        content.append(unquote_to_bytes(value) if extended else value)
    return decode(b"".join(content), charset)


def filename(part: Part) -> str | None:
    """The file name that a part suggests, in disposition or type. It is a stranger's: never open a path by it."""
    found = parameter(part.disposition_params, b"filename")
    return found if found is not None else parameter(part.params, b"name")
