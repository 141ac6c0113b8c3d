"""Ops on the index's dots.

Any order of arrival gives one result: an op waits for the ops whose dots it takes off, and for each entry that is not
known yet its part waits alone.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from mesyx_core.mailbox import names
from mesyx_core.mailbox.model import SEQ, SEQ_MASK
from mesyx_core.record import ops
from mesyx_core.record.ops import Dot, DotSpan, FileOp, FlagOp, Op, Span

if TYPE_CHECKING:
    from mesyx_core.mailbox.ledger import Change

_DOTS: Final = """
    SELECT d.entry, d.op, d.n FROM json_each(?) j CROSS JOIN dot d ON d.entry = j.value AND d.key = ?"""


def apply(change: Change, entry: int, data: bytes, place: tuple[int, int]) -> str:
    """Apply the batch sealed in `entry`, or put it off until what it builds on is opened.

    `place` is its epoch and index. Returns what is wrong with it, if anything. Raises OpsError.
    """
    batch = ops.decode(data)
    for span in sorted(ops.causes(batch)):
        cause = change.unopened(span)
        if cause and cause != entry:
            change.put_off(entry, "cause", cause)
            return ""
    if not change.use(entry, place):
        return "repeats a key of its epoch"
    change.clock(min(batch.clock, ops.MAX_CLOCK - 2))
    for n, op in enumerate(batch.ops, 1):
        if isinstance(op, FlagOp | FileOp):
            known, unknown = _entries(change, op.entries)
            _entry_op(change, known, entry, n, op)
            if unknown:
                change.wait(unknown, entry, n, data)
        else:
            _mailbox_op(change, entry, n, op, batch.clock)
    change.passed(entry)
    return ""


def apply_to(change: Change, entry: int, op: int, n: int, data: bytes) -> None:
    """Apply the n-th op of a batch that waited for `entry` to it."""
    found = change.remembered(op, lambda: ops.decode(data)).ops[n - 1]
    if isinstance(found, FlagOp | FileOp):
        _entry_op(change, [entry], op, n, found)


def _entries(change: Change, spans: Iterable[Span]) -> tuple[list[int], list[int]]:
    """(messages known, entries not opened yet); what is opened and no message is left out."""
    known: list[int] = []
    unknown: list[int] = []
    for span in spans:
        first = change.origin(span.node, span.incarnation) << SEQ | span.first
        last = first + span.length - 1
        found = [row[0] for row in change.db.execute("SELECT id FROM entry WHERE id BETWEEN ? AND ?", (first, last))]
        known += found
        if len(found) < span.length and change.unopened(span):
            unknown += _unopened(change, first, last)
    return known, unknown


def _unopened(change: Change, first: int, last: int) -> list[int]:
    rows = change.db.execute("SELECT entry FROM pending WHERE entry BETWEEN ? AND ?", (first, last))
    put_off = [row[0] for row in rows]
    cursor = (first & ~SEQ_MASK) | change.cursors[first >> SEQ]
    return put_off + list(range(max(first, cursor + 1), last + 1))


def _entry_op(change: Change, entries: list[int], op: int, n: int, what: FlagOp | FileOp) -> None:
    if isinstance(what, FlagOp):
        within = change.mailbox(what.mailbox) if what.mailbox else 0
        add = [change.key(within, flag) for flag in sorted(what.add)]
        off = [(change.key(within, str(off.key)), off) for off in what.off]
    else:
        add = [change.key(change.mailbox(mailbox), "") for mailbox in sorted(what.add)]
        off = [(change.key(change.mailbox(bytes(off.key)), ""), off) for off in what.off]  # type: ignore[arg-type]
    for key, one in off:
        seen = change.remembered((op, n, key), partial(_Seen, change, one.dots))
        _take_off(change, entries, key, one.own, seen)
    for key in add:
        change.db.executemany(
            "INSERT OR IGNORE INTO dot (entry, key, op, n) VALUES (?, ?, ?, ?)", ((at, key, op, n) for at in entries)
        )
    change.touched.update(dict.fromkeys(entries))


class _Seen:
    """A set of dots that may be large, as its spans: quick to make, quick to ask."""

    def __init__(self, change: Change, spans: Iterable[DotSpan]) -> None:
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        found: list[tuple[int, int, int]] = []
        for span, n in spans:
            first = change.origin(span.node, span.incarnation) << SEQ | span.first
            found.append((n, first, first + span.length))
        for n, first, end in sorted(found):
            self._starts.setdefault(n, []).append(first)
            self._ends.setdefault(n, []).append(end)

    def __contains__(self, dot: tuple[int, int]) -> bool:
        op, n = dot
        at = bisect_right(self._starts.get(n, ()), op) - 1
        return at >= 0 and op < self._ends[n][at]


def _take_off(change: Change, entries: list[int], key: int, own: bool, seen: _Seen) -> None:
    """Remove the dots named, where they are; a dot that came since stays, and keeps what it added."""
    rows = change.db.execute(_DOTS, (json.dumps(entries), key))
    gone = [(e, key, op, n) for e, op, n in rows if (own and op == e and n == 0) or (op, n) in seen]
    change.db.executemany("DELETE FROM dot WHERE entry = ? AND key = ? AND op = ? AND n = ?", gone)


def _dots(change: Change, spans: Iterable[DotSpan]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for span, n in spans:
        first = change.origin(span.node, span.incarnation) << SEQ | span.first
        found.update((op, n) for op in range(first, first + span.length))
    return found


def _mailbox_op(change: Change, entry: int, n: int, op: Op, clock: int) -> None:
    db = change.db
    if isinstance(op, ops.CreateOp):
        mid = names.made(Dot(*change.ledger.ref(entry), n))
        change.mailbox(mid, names.canonical(op.name), clock=clock)
    elif isinstance(op, ops.NameOp):
        mailbox = change.mailbox(op.mailbox)
        db.executemany(
            "DELETE FROM name WHERE mailbox = ? AND op = ? AND n = ?",
            ((mailbox, at, number) for at, number in _dots(change, op.over)),
        )
        db.execute(
            "INSERT OR IGNORE INTO name (mailbox, op, n, name, clock) VALUES (?, ?, ?, ?, ?)",
            (mailbox, entry, n, names.canonical(op.name), clock),
        )
    elif isinstance(op, ops.DropOp):
        db.execute("UPDATE mailbox SET dropped = 1 WHERE id = ?", (change.mailbox(op.mailbox),))
    elif isinstance(op, ops.SubscribeOp):
        _subscribe(change, entry, n, op)
    change.renamed = True


def _subscribe(change: Change, entry: int, n: int, op: ops.SubscribeOp) -> None:
    db, name = change.db, names.canonical(op.name)
    db.executemany(
        "DELETE FROM subscription WHERE name = ? AND op = ? AND n = ?",
        ((name, at, number) for at, number in _dots(change, op.over)),
    )
    if op.on:
        db.execute("INSERT OR IGNORE INTO subscription (name, op, n) VALUES (?, ?, ?)", (name, entry, n))
    elif op.own:
        # Row 0 stands for: the subscription that the name began with is off.
        db.execute("INSERT OR IGNORE INTO subscription (name, op, n) VALUES (?, 0, 0)", (name,))
