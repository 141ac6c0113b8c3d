"""Evaluate a search over one mailbox: what the common file knows, then the keysets' text indexes, then the texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from mesyx_core.api import Locked, Query, Refused
from mesyx_core.mailbox.contents import Contents, fold
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.shelf import Shelf
from mesyx_core.mailbox.storage import Connection

_DEPTH: Final = 50
_NODES: Final = 1000
_FIELDS: Final = frozenset(("from", "to", "cc", "bcc", "subject"))
_TEXTS: Final = _FIELDS | {"body", "text", "header"}
_INSIDE: Final = _TEXTS | {"larger", "smaller", "sentbefore", "senton", "sentsince"}


class _Message(NamedTuple):
    shown: int
    flags: int
    modseq: int
    keyset: int
    time: int
    email: bytes
    thread: bytes


class Search:
    """One search in one mailbox, in a worker thread."""

    def __init__(self, ledger: Ledger, shelf: Shelf, db: Connection, mailbox: int) -> None:
        self._ledger = ledger
        self._shelf = shelf
        rows = db.execute(
            "SELECT p.uid, p.shown, p.flags, p.modseq, s.keyset, s.time, s.email, s.thread "
            "FROM place p JOIN shown s ON s.id = p.shown WHERE p.mailbox = ?",
            (mailbox,),
        )
        self._messages = {row[0]: _Message(*row[1:]) for row in rows}
        self._left = _NODES

    def run(self, query: Query) -> list[int]:
        """Matching UIDs, ascending. Raises Refused for a query that makes no sense."""
        return sorted(self._match(query, set(self._messages), 0))

    def _match(self, query: Query, among: set[int], depth: int) -> set[int]:
        self._left -= 1
        if depth > _DEPTH or self._left < 0:
            raise Refused("the search is nested too deeply or too long")
        if query.op == "and":
            # What costs little first: the texts of few messages are read sooner than those of many.
            for term in sorted(query.terms, key=_cost):
                among = self._match(term, among, depth + 1)
                if not among:
                    break
            return among
        if query.op == "or":
            found: set[int] = set()
            for term in sorted(query.terms, key=_cost):
                found |= self._match(term, among - found, depth + 1)
            return found
        if query.op == "not":
            for term in query.terms:
                among = among - self._match(term, among, depth + 1)
            return among
        if query.op in _INSIDE:
            return self._inside(query, among)
        return self._known(query, among)

    # --- what the common file knows ---------------------------------------------------------------------------------

    def _known(self, query: Query, among: set[int]) -> set[int]:
        op, value = query.op, query.value
        if op == "all":
            return among
        if op == "uid":
            ranges = list(_ranges(value))
            return {uid for uid in among if any(first <= uid <= last for first, last in ranges)}
        test = self._test(op, value)
        messages = self._messages
        return {uid for uid in among if test(messages[uid])}

    def _test(self, op: str, value: object) -> Callable[[_Message], bool]:
        if op in ("flag", "unflag") and isinstance(value, str):
            wanted = value.lower()
            having = {
                row for row, flags in self._ledger.flag_names.items() if any(flag.lower() == wanted for flag in flags)
            }
            return (lambda m: m.flags in having) if op == "flag" else (lambda m: m.flags not in having)
        if op in ("before", "on", "since") and isinstance(value, date):
            start = _midnight(value)
            end = start + 86_400_000
            if op == "before":
                return lambda m: m.time < start
            return (lambda m: start <= m.time < end) if op == "on" else (lambda m: m.time >= start)
        if op == "modseq" and isinstance(value, int):
            return lambda m: m.modseq >= value
        if op == "id":
            return lambda m: m.email == value
        if op == "thread":
            return lambda m: m.thread == value
        raise Refused(f"no such search: {op}")

    # --- what the keysets' files know -------------------------------------------------------------------------------

    def _inside(self, query: Query, among: set[int]) -> set[int]:
        """Messages whose key is not open match nothing."""
        uids: dict[int, dict[int, int]] = {}
        for uid in among:
            message = self._messages[uid]
            uids.setdefault(message.keyset, {})[message.shown] = uid
        found: set[int] = set()
        for keyset, entries in uids.items():
            try:
                with self._shelf.use(self._ledger.targets[keyset]) as contents:
                    found.update(entries[entry] for entry in _find(contents, query, entries))
            except Locked:
                continue
        return found


def _find(contents: Contents, query: Query, entries: dict[int, int]) -> Iterable[int]:
    op, value = query.op, query.value
    if op in ("larger", "smaller") and isinstance(value, int):
        sizes = contents.sizes(entries)
        return [entry for entry, size in sizes if (size > value if op == "larger" else size < value)]
    if op.startswith("sent") and isinstance(value, date):
        day = value.toordinal()
        test = {"sentbefore": day.__gt__, "senton": day.__eq__, "sentsince": day.__le__}[op]
        return [entry for entry, sent in contents.days(entries) if test(sent)]
    if op in _TEXTS and isinstance(value, str):
        needle = fold(value)
        return contents.matching(entries, *_check(op, query.name, needle))
    raise Refused(f"no such search: {op}")


def _check(op: str, name: str, needle: str) -> tuple[str, Callable[[str, str], bool]]:
    """What to look up in the index, and the exact check of what it finds."""
    if op == "text":
        return needle, lambda head, body: needle in head or needle in body
    if op == "body":
        return needle, lambda head, body: needle in body
    field = fold(name if op == "header" else op) + ":"

    def holds(head: str, body: str) -> bool:
        return any(needle in line[len(field) :] for line in head.split("\n") if line.startswith(field))

    # The field's name is in the index as well: an empty text asks whether the field is there.
    return needle or field, holds


def _cost(query: Query) -> int:
    if query.terms:
        return max(map(_cost, query.terms))
    return 2 if query.op in _TEXTS else 1 if query.op in _INSIDE else 0


def _ranges(value: object) -> Iterator[tuple[int, int]]:
    if not isinstance(value, list | tuple):
        raise Refused("UIDs are ranges")
    yield from value


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
