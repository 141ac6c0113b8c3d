"""SEARCH: keys to a query, UIDs back to numbers (RFC 3501, section 6.4.4; RFC 8474, section 6)."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import TypeAlias

from mesyx_core.api import Query
from mesyx_imap import ranges
from mesyx_imap.errors import Bad, No
from mesyx_imap.limits import DEPTH, ITEMS
from mesyx_imap.parser import Cursor
from mesyx_imap.selected import Selected
from mesyx_imap.session import Session

NOTHING = Query("uid", ())
_FLAGS = {name: f"\\{name.capitalize()}" for name in ("ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN")}


async def search(session: Session, args: Cursor, by_uid: bool = False) -> bytes:
    args.space()
    if args.skip(b"CHARSET "):
        if args.astring().upper() not in (b"UTF-8", b"US-ASCII", b"UTF8", b"ASCII"):
            raise No(b"[BADCHARSET (US-ASCII UTF-8)] Charset not known")
        args.space()
    selected = session.selected
    query = _Keys(args, selected).all()
    args.end()
    uids = await session.view.search(selected.id, query)
    numbers = (number if not by_uid else uid for uid in uids if (number := selected.sequence(uid)))
    session.out.write(b"* SEARCH%b\r\n" % "".join([f" {number}" for number in numbers]).encode("ascii"))
    return b"Searched"


class _Keys:
    """Reads search keys; message numbers are as `selected` has them."""

    def __init__(self, args: Cursor, selected: Selected) -> None:
        self._args = args
        self._selected = selected
        self._count = 0
        self._depth = 0

    def all(self, closing: bytes = b"") -> Query:
        """One or more keys, all of which must match; up to the end, or to `closing`."""
        terms = [self._key()]
        while self._args.skip(b" "):
            terms.append(self._key())
        if closing:
            self._args.expect(closing)
        return terms[0] if len(terms) == 1 else Query("and", terms=tuple(terms))

    def _key(self) -> Query:
        self._count += 1
        if self._count > ITEMS:
            raise Bad(b"Too many search keys")
        self._depth += 1
        if self._depth > DEPTH:
            raise Bad(b"Search keys nested too deep")
        query = self._one()
        self._depth -= 1
        return query

    def _one(self) -> Query:
        if self._args.skip(b"("):
            return self.all(b")")
        if self._args.at_sequence:
            return Query("uid", self._selected.by_sequence(self._args.sequence(), lenient=True))
        name = self._args.word()
        read = KEYS.get(name)
        if read is None:
            raise Bad(b"Unknown search key")
        return read(self, name)

    # --- kinds of keys ---

    def flag(self, name: bytes) -> Query:
        word = name.decode("ascii")
        return Query("unflag", _FLAGS[word[2:]]) if word.startswith("UN") else Query("flag", _FLAGS[word])

    def keyword(self, name: bytes) -> Query:
        self._args.space()
        return Query("unflag" if name.startswith(b"UN") else "flag", self._args.flag())

    def text(self, name: bytes) -> Query:
        return Query(name.lower().decode("ascii"), self._string())

    def header(self, name: bytes) -> Query:
        field = self._string()
        return Query("header", self._string(), name=field)

    def day(self, name: bytes) -> Query:
        self._args.space()
        return Query(name.lower().decode("ascii"), self._args.date())

    def octets(self, name: bytes) -> Query:
        self._args.space()
        return Query(name.lower().decode("ascii"), self._args.number())

    def uid(self, name: bytes) -> Query:
        self._args.space()
        return Query("uid", self._selected.by_uid(self._args.sequence()))

    def negation(self, name: bytes) -> Query:
        self._args.space()
        return Query("not", terms=(self._key(),))

    def either(self, name: bytes) -> Query:
        self._args.space()
        first = self._key()
        self._args.space()
        return Query("or", terms=(first, self._key()))

    def recency(self, name: bytes) -> Query:
        recent = Query("uid", ranges.collect(sorted(self._selected.recent)))
        if name == b"OLD":
            return Query("not", terms=(recent,))
        return Query("and", terms=(recent, Query("unflag", "\\Seen"))) if name == b"NEW" else recent

    def every(self, name: bytes) -> Query:
        return Query("all")

    def object(self, name: bytes) -> Query:
        self._args.space()
        raw = self._args.astring()
        letter, op = (b"M", "id") if name == b"EMAILID" else (b"T", "thread")
        try:
            return (
                Query(op, urlsafe_b64decode(raw[1:] + b"=" * (-(len(raw) - 1) % 4))) if raw[:1] == letter else NOTHING
            )
        except ValueError:
            return NOTHING

    def _string(self) -> str:
        self._args.space()
        try:
            return self._args.astring().decode()
        except UnicodeDecodeError:
            raise No(b"[BADCHARSET (US-ASCII UTF-8)] Search string is not UTF-8") from None


Read: TypeAlias = Callable[[_Keys, bytes], Query]

KEYS: Mapping[bytes, Read] = {
    b"ALL": _Keys.every,
    **{name.encode(): _Keys.flag for word in _FLAGS for name in (word, f"UN{word}")},
    **dict.fromkeys((b"KEYWORD", b"UNKEYWORD"), _Keys.keyword),
    **dict.fromkeys((b"BCC", b"BODY", b"CC", b"FROM", b"SUBJECT", b"TEXT", b"TO"), _Keys.text),
    **dict.fromkeys((b"BEFORE", b"ON", b"SINCE", b"SENTBEFORE", b"SENTON", b"SENTSINCE"), _Keys.day),
    **dict.fromkeys((b"LARGER", b"SMALLER"), _Keys.octets),
    **dict.fromkeys((b"NEW", b"OLD", b"RECENT"), _Keys.recency),
    **dict.fromkeys((b"EMAILID", b"THREADID"), _Keys.object),
    b"HEADER": _Keys.header,
    b"UID": _Keys.uid,
    b"NOT": _Keys.negation,
    b"OR": _Keys.either,
}
