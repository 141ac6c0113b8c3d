"""Make ops of a person's changes: each names the entries and dots that the view showed, and nothing that it did not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from mesyx_core.api import Change, Create, Delete, File, Flag, Refused, Remove, Rename, Subscribe, Uids
from mesyx_core.mailbox import directory, names
from mesyx_core.mailbox.directory import Box
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.storage import Connection
from mesyx_core.record import ops
from mesyx_core.record.ops import Dot, Off, Op

SIZE: Final = 14 << 10
"""Most bytes of one batch: it is sealed inline."""
_TOGETHER: Final = 20_000
"""Entries that one op names at most."""
_DELETED: Final = "\\Deleted"
_FIXED: Final = frozenset(map(names.named, names.SPECIAL))


class Draft(NamedTuple):
    """What changes come to."""

    batches: list[bytes]
    filed: list[tuple[int, bytes, list[tuple[int, int]]]]
    """For each File: row of its mailbox, the id it goes to, and (UID, shown) of each message."""
    unchanged: list[int]


class Composer:
    """Reads one state of the index; used for one call of `View.change`."""

    def __init__(self, ledger: Ledger, db: Connection, now: float) -> None:
        self._ledger = ledger
        self._db = db
        self._boxes = {box.id: box for box in directory.boxes(ledger, db)}
        row = db.execute("SELECT value FROM meta WHERE key = 'clock'").fetchone()
        self._clock = min(max(int(now * 1000) << 16, (row[0] if row else 0) + 1), ops.MAX_CLOCK - 1)
        self._parts: list[Callable[[], list[Op]]] = []
        self._ops: list[Op] = []
        self._names = {box.name for box in self._boxes.values()}

    def compose(self, changes: Iterable[Change], unchanged_since: int | None) -> Draft:
        """Ops for all changes, or Refused for any of them."""
        draft = Draft([], [], [])
        for change in changes:
            if isinstance(change, Flag):
                self._flag(change, unchanged_since, draft)
            elif isinstance(change, File):
                self._file(change, draft)
            elif isinstance(change, Remove):
                self._take_out(change.mailbox, self._messages(change.mailbox, change.uids))
            else:
                self._mailbox(change)
        draft.batches.extend(self._batches())
        return draft

    # --- messages ----------------------------------------------------------------------------------------------------

    def _flag(self, change: Flag, unchanged_since: int | None, draft: Draft) -> None:
        add = frozenset(map(names.flag, change.add))
        off = frozenset(map(names.flag, change.remove)) - add
        shown: list[int] = []
        for uid, group, flags, modseq in self._messages(change.mailbox, change.uids):
            if unchanged_since is not None and modseq > unchanged_since:
                draft.unchanged.append(uid)
            elif add - self._ledger.flag_names[flags] or off & self._ledger.flag_names[flags]:
                shown.append(group)
        entries = self._entries(shown)
        self._flags(entries, add - {_DELETED}, off - {_DELETED}, b"")
        self._flags(entries, add & {_DELETED}, off & {_DELETED}, change.mailbox)

    def _flags(self, entries: list[int], add: frozenset[str], off: frozenset[str], mailbox: bytes) -> None:
        row = self._box(mailbox).row if mailbox else 0
        if not add and not off:
            return

        def build(some: Sequence[int]) -> Op:
            taken = (self._off(some, row, flag, flag) for flag in sorted(off))
            return ops.FlagOp(self._spans(some), add, tuple(one for one in taken if one.own or one.dots), mailbox)

        self._split(entries, build)

    def _file(self, change: File, draft: Draft) -> None:
        to, here = self._box(change.to), self._box(change.mailbox)
        found = self._messages(change.mailbox, change.uids)
        draft.filed.append((to.row, to.id, [(uid, group) for uid, group, _, _ in found]))
        if to.id == here.id:
            return
        entries = self._entries([group for _, group, _, _ in found])

        def build(some: Sequence[int]) -> Op:
            off = (self._off(some, here.row, "", here.id),) if change.move else ()
            return ops.FileOp(self._spans(some), frozenset((to.id,)), off)

        self._split(entries, build)
        if change.move:
            self._flags(entries, frozenset(), frozenset((_DELETED,)), here.id)

    def _take_out(self, mailbox: bytes, found: list[tuple[int, int, int, int]]) -> None:
        here = self._box(mailbox)
        entries = self._entries([group for _, group, _, _ in found])

        def build(some: Sequence[int]) -> Op:
            return ops.FileOp(self._spans(some), frozenset(), (self._off(some, here.row, "", here.id),))

        self._split(entries, build)
        self._flags(entries, frozenset(), frozenset((_DELETED,)), here.id)

    def _messages(self, mailbox: bytes, uids: Uids) -> list[tuple[int, int, int, int]]:
        """(UID, shown, flags, modseq) of messages, in order of UID."""
        row = self._box(mailbox).row
        found: list[tuple[int, int, int, int]] = []
        for first, last in uids:
            found += self._db.execute(
                "SELECT uid, shown, flags, modseq FROM place WHERE mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid",
                (row, first, last),
            ).fetchall()
        return found

    def _entries(self, shown: Sequence[int]) -> list[int]:
        """All entries that the view shows as these messages."""
        more = self._db.execute(
            "SELECT e.id FROM json_each(?) j CROSS JOIN entry e ON e.shown = j.value AND e.shown != e.id",
            (json.dumps(shown),),
        )
        return sorted({*shown, *(row[0] for row in more)})

    def _off(self, entries: Sequence[int], row: int, flag: str, name: str | bytes) -> Off:
        """The dots that entries have for a key."""
        key = self._ledger.keys.get((row, flag))
        own = False
        dots: set[Dot] = set()
        if key is not None:
            sql = "SELECT d.entry, d.op, d.n FROM json_each(?) j CROSS JOIN dot d ON d.entry = j.value AND d.key = ?"
            seen: set[tuple[int, int]] = set()
            for entry, op, n in self._db.execute(sql, (json.dumps(entries), key)):
                if op == entry and n == 0:
                    own = True
                else:
                    seen.add((op, n))
            dots = {Dot(*self._ledger.ref(op), n) for op, n in seen}
        return Off(name, own, ops.dot_spans(dots))

    def _spans(self, entries: Iterable[int]) -> tuple[ops.Span, ...]:
        return ops.spans(map(self._ledger.ref, entries))

    # --- mailboxes ---------------------------------------------------------------------------------------------------

    def _mailbox(self, change: Create | Rename | Delete | Subscribe) -> None:
        if isinstance(change, Create):
            self._add(ops.CreateOp(self._new_name(change.name)))
        elif isinstance(change, Rename):
            self._rename(change)
        elif isinstance(change, Delete):
            box = self._box(change.mailbox)
            if box.id in _FIXED:
                raise Refused(f"{box.name} is a mailbox that every store has")
            self._take_out(box.id, self._messages(box.id, ((1, 0xFFFFFFFF),)))
            self._add(ops.DropOp(box.id))
            self._names.discard(box.name)
        else:
            self._subscribe(change)

    def _rename(self, change: Rename) -> None:
        """With its children (RFC 9051, section 6.3.6)."""
        box, name = self._box(change.mailbox), names.checked(change.name)
        if box.name == names.INBOX:
            raise Refused("INBOX keeps its name")
        if name.startswith(f"{box.name}/"):
            raise Refused("a mailbox cannot be moved into itself")
        below = f"{box.name}/"
        for one in list(self._boxes.values()):
            if one.id == box.id or one.name.startswith(below):
                new = self._new_name(name + one.name[len(box.name) :])
                self._names.discard(one.name)
                self._add(ops.NameOp(one.id, new, self._name_dots(one.row)))

    def _new_name(self, name: str) -> str:
        name = names.checked(name)
        if name in self._names:
            raise Refused(f"there is a mailbox {name} already")
        self._names.add(name)
        return name

    def _name_dots(self, row: int) -> tuple[ops.DotSpan, ...]:
        found = self._db.execute("SELECT op, n FROM name WHERE mailbox = ?", (row,))
        return ops.dot_spans(Dot(*self._ledger.ref(op), n) for op, n in found)

    def _subscribe(self, change: Subscribe) -> None:
        name = names.checked(change.name)
        found = self._db.execute("SELECT op, n FROM subscription WHERE name = ? AND op > 0", (name,)).fetchall()
        seen = ops.dot_spans(Dot(*self._ledger.ref(op), n) for op, n in found)
        if change.on:
            self._add(ops.SubscribeOp(name, True, False, seen))
        else:
            self._add(ops.SubscribeOp(name, False, True, seen))

    def _box(self, mailbox: bytes) -> Box:
        try:
            return self._boxes[mailbox]
        except KeyError:
            raise Refused("there is no such mailbox") from None

    # --- batches -----------------------------------------------------------------------------------------------------

    def _add(self, op: Op) -> None:
        self._ops.append(op)

    def _split(self, entries: Sequence[int], build: Callable[[Sequence[int]], Op]) -> None:
        """One op for all entries, or several where one would not fit a batch."""
        if not entries:
            return
        if len(entries) <= _TOGETHER:
            op = build(entries)
            if isinstance(op, ops.FlagOp | ops.FileOp) and not op.add and not op.off:
                return
            if len(entries) == 1 or len(ops.encode(ops.Batch(self._clock, (op,)))) < SIZE:
                self._ops.append(op)
                return
        half = len(entries) // 2
        self._split(entries[:half], build)
        self._split(entries[half:], build)

    def _batches(self) -> Iterable[bytes]:
        """As few batches as hold all ops in their order."""
        some: list[Op] = []
        size = 0
        for op in self._ops:
            one = len(ops.encode(ops.Batch(self._clock, (op,))))
            if some and (size + one > SIZE or len(some) >= 256):
                yield ops.encode(ops.Batch(self._clock, tuple(some)))
                some, size = [], 0
            some.append(op)
            size += one
        if some:
            yield ops.encode(ops.Batch(self._clock, tuple(some)))
