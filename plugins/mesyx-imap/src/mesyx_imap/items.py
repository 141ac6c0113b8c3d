"""What a FETCH asks for, as a plan that is made once and used for every message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from mesyx_core import mime
from mesyx_core.api import Field, Row
from mesyx_imap import format, sections, structure
from mesyx_imap.errors import Bad
from mesyx_imap.parser import Cursor
from mesyx_imap.sections import Section

Show: TypeAlias = Callable[[Row, bool], bytes]
"""(row, whether it is recent) to `NAME value`."""


class Attribute(NamedTuple):
    """A fetch item that needs no content."""

    show: Show
    needs: frozenset[Field] = frozenset()


def _flags(row: Row, recent: bool) -> bytes:
    return b"FLAGS " + format.flags(row.flags or (), recent)


def _date(row: Row, recent: bool) -> bytes:
    return b"INTERNALDATE " + (format.date_time(row.time) if row.time else b'"01-Jan-1970 00:00:00 +0000"')


def _envelope(row: Row, recent: bool) -> bytes:
    return b"ENVELOPE " + structure.envelope(mime.unpack_envelope(row.envelope or b""))


def _body(row: Row, recent: bool) -> bytes:
    return b"BODY " + structure.body(mime.unpack_part(row.structure or b""), extended=False)


def _bodystructure(row: Row, recent: bool) -> bytes:
    return b"BODYSTRUCTURE " + structure.body(mime.unpack_part(row.structure or b""), extended=True)


def _thread(row: Row, recent: bool) -> bytes:
    return b"THREADID (%b)" % format.object_id(b"T", row.thread) if row.thread else b"THREADID NIL"


UID = Attribute(lambda row, recent: b"UID %d" % row.uid)
FLAGS = Attribute(_flags, frozenset({"flags"}))
ATTRIBUTES: Mapping[bytes, Attribute] = {
    b"UID": UID,
    b"FLAGS": FLAGS,
    b"INTERNALDATE": Attribute(_date, frozenset({"time"})),
    b"RFC822.SIZE": Attribute(lambda row, recent: b"RFC822.SIZE %d" % (row.size or 0), frozenset({"size"})),
    b"ENVELOPE": Attribute(_envelope, frozenset({"envelope"})),
    b"BODY": Attribute(_body, frozenset({"structure"})),
    b"BODYSTRUCTURE": Attribute(_bodystructure, frozenset({"structure"})),
    b"EMAILID": Attribute(lambda row, recent: b"EMAILID (%b)" % format.object_id(b"M", row.id)),
    b"THREADID": Attribute(_thread),
}

_FAST = (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE")
MACROS: Mapping[bytes, Sequence[bytes]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, b"ENVELOPE"),
    b"FULL": (*_FAST, b"ENVELOPE", b"BODY"),
}

_OLD: Mapping[bytes, tuple[Section, bool]] = {
    b"RFC822": (Section(b"RFC822"), True),
    b"RFC822.HEADER": (Section(b"RFC822.HEADER", what="HEADER"), False),
    b"RFC822.TEXT": (Section(b"RFC822.TEXT", what="TEXT"), True),
}
"""Sections by their older names, and whether they set \\Seen."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The items of one FETCH."""

    attributes: tuple[Attribute, ...]
    sections: tuple[Section, ...]
    marks: bool
    """It sets \\Seen."""

    @property
    def fields(self) -> frozenset[Field]:
        """What is needed of each row."""
        needs = frozenset[Field]().union(*(attribute.needs for attribute in self.attributes))
        return needs | {"structure"} if any(not section.whole for section in self.sections) else needs


class _Draft:
    def __init__(self, by_uid: bool) -> None:
        self.attributes: dict[bytes, Attribute] = {b"UID": UID} if by_uid else {}
        self.sections: dict[bytes, Section] = {}
        self.marks = False

    def add(self, name: bytes, args: Cursor) -> None:
        if name in (b"BODY", b"BODY.PEEK") and args.peek() == b"[":
            section = sections.parse(args)
            self.sections[section.label] = section
            self.marks |= name == b"BODY"
        elif name in ATTRIBUTES:
            self.attributes[name] = ATTRIBUTES[name]
        elif name in _OLD:
            self.sections[name], marks = _OLD[name]
            self.marks |= marks
        else:
            raise Bad(b"Unknown fetch item")

    def plan(self) -> Plan:
        return Plan(tuple(self.attributes.values()), tuple(self.sections.values()), self.marks)


def parse(args: Cursor, by_uid: bool) -> Plan:
    """A macro, an item, or a list of items; UID comes by itself `by_uid`. Raises Bad."""
    draft = _Draft(by_uid)
    if args.peek() == b"(":
        args.several(lambda: draft.add(args.name(), args))
        if not draft.attributes and not draft.sections:
            raise Bad(b"Nothing to fetch")
        return draft.plan()
    name = args.name()
    for item in MACROS.get(name, (name,)):
        draft.add(item, args)
    return draft.plan()
