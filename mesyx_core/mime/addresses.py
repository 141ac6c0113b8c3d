"""Address lists (RFC 5322, sections 3.4 and 4.4) as an envelope shows them: one pass, no recursion, lenient."""

from __future__ import annotations

import re
from typing import Final

from mesyx_core.mime.model import Address

MISSING_MAILBOX: Final = b"MISSING_MAILBOX"
MISSING_DOMAIN: Final = b"MISSING_DOMAIN"
_WORDS: Final = 1000  # of one address; what comes after is left out
GROUP_END: Final = Address(None, None, None, None)

# The shapes of nearly all addresses: `Name <a@b>`, `"Name" <a@b>`, `<a@b>` and `a@b`, up to a comma or the end.
_COMMON = re.compile(
    rb"""[ \t]*+
    (?: (?: "([^"\\]*+)"[ \t]*+ | ([^"(),:;<>@\\\[\]]*+) )
        <([^\s"(),:;<>@\\\[\]]++)@([^\s"(),:;<>@\\\[\]]++)>
      | ([^\s"(),:;<>@\\\[\]]++)@([^\s"(),:;<>@\\\[\]]++) )
    [ \t]*+(?:,|\Z)""",
    re.VERBOSE,
)
_EMPTY = re.compile(rb"[ \t,]++")
_TOKEN = re.compile(
    rb"""
      (?P<space>[ \t\r\n\0]++)
    | (?P<atom>[^ \t\r\n\0"(),:;<>@\[]++)
    | "(?P<quoted>(?:[^"\\]++|\\.)*+)(?:"|\\?\Z)
    | (?P<literal>\[[^\[\]\s"(),;<>@]*+\]?)
    | (?P<special>.)""",
    re.VERBOSE | re.DOTALL,
)
_PAREN = re.compile(rb"(?>(?:[^()\\]++|\\.)*)([()]?)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def parse_addresses(value: bytes, limit: int) -> tuple[Address, ...]:
    """The addresses of an unfolded field, at most `limit`, group markers counted."""
    found: list[Address] = []
    at, end = 0, len(value)
    common = _COMMON.match
    while at < end and len(found) < limit:
        if (simple := common(value, at)) is not None:
            quoted, phrase, mailbox, host, bare, bare_host = simple.groups()
            name = quoted or (b" ".join(phrase.split()) if phrase else None)
            found.append(Address(name or None, None, mailbox or bare, host or bare_host))
            at = simple.end()
        elif (empty := _EMPTY.match(value, at)) is not None:
            at = empty.end()
        else:
            at = _Parser(value, found, limit).run(at)
    return tuple(found[:limit])


class _Parser:
    """Reads addresses of any shape, until one that is followed by a comma outside a group ends."""

    def __init__(self, value: bytes, found: list[Address], limit: int) -> None:
        self.value = value
        self.found = found
        self.limit = limit
        self.group = False
        self._clear()

    def _clear(self) -> None:
        self.words: list[bytes] = []  # each with a space in front where the header has one
        self.angle: list[bytes] | None = None
        self.closed = False
        self.route = False  # inside <@a,@b: where commas do not end the address
        self.comment: bytes | None = None
        self.gap = False
        self.signs = 0  # of @ among the words

    def run(self, at: int) -> int:
        token = _TOKEN.match
        value, end = self.value, len(self.value)
        while at < end and len(self.found) < self.limit:
            match = token(value, at)
            if match is None:  # cannot be: a special is any byte
                break
            kind, at = match.lastgroup, match.end()
            if kind == "space":
                self.gap = True
            elif kind == "special":
                sign = match[0]
                if sign == b"(":
                    at = self._comment(at)
                elif self._special(sign):
                    return at
            elif kind == "quoted":
                self._word(_unescape(match["quoted"]))
            else:
                self._word(match[0])
        self._flush()
        if self.group:
            self.found.append(GROUP_END)
        return end

    def _comment(self, at: int) -> int:
        depth, start, end = 1, at, len(self.value)
        while depth and at < end:
            match = _PAREN.match(self.value, at)
            sign = match[1] if match else b""
            if not match or not sign:
                return end  # never closed: it takes the rest with it
            depth += 1 if sign == b"(" else -1
            at = match.end()
        self.comment = _unescape(self.value[start : at - 1])
        self.gap = True
        return at

    def _word(self, word: bytes) -> None:
        words = self.words if self.angle is None else self.angle
        if not self.closed and len(words) < _WORDS:
            spaced = b" " + word if self.gap and words else word
            words.append(word if self.angle is not None and words and _joined(words[-1], spaced) else spaced)
        self.gap = False

    def _special(self, sign: bytes) -> bool:
        """True when an address outside a group has ended, so that the common shapes may be tried again."""
        inside = self.angle is not None and not self.closed
        if sign == b"<" and self.angle is None:
            self.angle = []
        elif sign == b">" and inside:
            self.closed = True
        elif sign == b"," and not (inside and self.route):
            self._flush()
            return not self.group
        elif sign == b";" and not inside:
            self._flush()
            if self.group:
                self.found.append(GROUP_END)
                self.group = False
            return True
        elif sign == b":" and not inside and not self.group and self.words and not self.signs and self.angle is None:
            self.found.append(Address(None, None, _phrase(self.words), None))
            self.group = True
            self._clear()
        elif sign not in b"<>":
            self.signs += sign == b"@"
            if inside:
                self.gap = False
                self.route = (sign == b"@" and not self.angle) or (self.route and sign != b":")
            self._word(sign)
        return False

    def _flush(self) -> None:
        if self.angle is not None:
            route, mailbox, host = _angle(self.angle)
            name = _phrase(self.words) or self.comment or None
            self.found.append(Address(name, route, mailbox, host))
        elif self.words:
            self.found.append(_bare(self.words, self.signs, self.comment))
        self._clear()


def _angle(words: list[bytes]) -> tuple[bytes | None, bytes, bytes]:
    route = None
    if words and words[0] == b"@" and b":" in words:
        colon = words.index(b":")
        route, words = b"".join(words[:colon]), words[colon + 1 :]
    if b"@" not in words:
        return route, b"".join(words) or MISSING_MAILBOX, MISSING_DOMAIN
    last = len(words) - 1 - words[::-1].index(b"@")
    return route, b"".join(words[:last]) or MISSING_MAILBOX, b"".join(words[last + 1 :]) or MISSING_DOMAIN


def _bare(words: list[bytes], signs: int, comment: bytes | None) -> Address:
    """An address without angle brackets: `a @ b . c`, `name a@b`, a local name, or no address at all."""
    sign = next((i for i, word in enumerate(words) if word.lstrip(b" ") == b"@"), -1) if signs else -1
    if sign < 0:
        if len(words) == 1:
            return Address(comment or None, None, words[0] or MISSING_MAILBOX, MISSING_DOMAIN)
        return Address(_phrase(words) or comment or None, None, MISSING_MAILBOX, MISSING_DOMAIN)
    first = sign
    while first > 0 and (first == sign or _joined(words[first - 1], words[first])):
        first -= 1
    last = sign + 1
    while last < len(words) and (last == sign + 1 or _joined(words[last - 1], words[last])):
        last += 1
    mailbox = _joint(words[first:sign])
    host = _joint(words[sign + 1 : last])
    name = _phrase(words[:first]) or comment or None
    return Address(name, None, mailbox or MISSING_MAILBOX, host or MISSING_DOMAIN)


def _joined(left: bytes, right: bytes) -> bool:
    """Two words that are one: nothing between them, or a dot or @ beside the space (RFC 5322, section 4.4)."""
    return right[:1] != b" " or left[-1:] in (b".", b"@") or right[1:2] in (b".", b"@")


def _joint(words: list[bytes]) -> bytes:
    return b"".join([word.lstrip(b" ") for word in words])


def _phrase(words: list[bytes]) -> bytes:
    return b"".join(words).strip()


def _unescape(quoted: bytes) -> bytes:
    return _ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted
