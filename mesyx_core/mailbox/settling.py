"""Bring what is shown up to date with the dots: one comparison serves arrivals, flags, moves, merges and removals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from mesyx_core.api import Changed

if TYPE_CHECKING:
    from mesyx_core.mailbox.ledger import Change

_GROUPS: Final = """
    INSERT OR IGNORE INTO temp.moved (shown)
    SELECT e.shown FROM temp.touched t JOIN entry e ON e.id = t.id ORDER BY t.at"""
_KEYS: Final = """
    SELECT m.shown, d.key FROM temp.moved m JOIN dot d ON d.entry = m.shown
    UNION
    SELECT m.shown, d.key FROM temp.moved m JOIN entry e ON e.shown = m.shown AND e.shown != e.id
    JOIN dot d ON d.entry = e.id"""
_GONE: Final = """
    SELECT s.id FROM temp.moved m JOIN shown s ON s.id = m.shown
    WHERE s.keyset IN (SELECT value FROM json_each(?))"""
_PLACES: Final = """
    SELECT p.shown, p.mailbox, p.uid, p.flags FROM temp.moved m JOIN place p ON p.shown = m.shown"""


class _Tally:
    """What one transaction did to each mailbox."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self.added: dict[int, list[int]] = {}
        self.removed: dict[int, list[int]] = {}
        self.flagged: dict[int, dict[int, frozenset[str]]] = {}
        self.counts: dict[tuple[int, int], int] = {}
        self.next: dict[int, int] = {}

    def count(self, mailbox: int, flags: int, by: int) -> None:
        self.counts[mailbox, flags] = self.counts.get((mailbox, flags), 0) + by

    def uid(self, mailbox: int) -> int:
        """The mailbox's next UID; never given twice."""
        if mailbox not in self.next:
            found = self._change.db.execute("SELECT uidnext FROM mailbox WHERE id = ?", (mailbox,)).fetchone()
            self.next[mailbox] = found[0]
        self.next[mailbox] += 1
        return self.next[mailbox] - 1

    def write(self) -> None:
        db, modseq = self._change.db, self._change.modseq
        db.executemany(
            "INSERT INTO tally (mailbox, flags, count) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET count = count + excluded.count",
            ((mailbox, flags, by) for (mailbox, flags), by in self.counts.items() if by),
        )
        db.execute("DELETE FROM tally WHERE count = 0")
        db.executemany("UPDATE mailbox SET uidnext = ? WHERE id = ?", ((uid, row) for row, uid in self.next.items()))
        mailboxes = self.added.keys() | self.removed.keys() | self.flagged.keys()
        db.executemany("UPDATE mailbox SET modseq = ? WHERE id = ?", ((modseq, row) for row in mailboxes))
        self._change.changed += self._report(mailboxes)

    def _report(self, mailboxes: Iterable[int]) -> Iterator[Changed]:
        change = self._change
        for row in sorted(mailboxes):
            mid, exists = change.db.execute(
                "SELECT mid, (SELECT coalesce(sum(count), 0) FROM tally WHERE mailbox = ?) FROM mailbox WHERE id = ?",
                (row, row),
            ).fetchone()
            yield Changed(
                mailbox=mid,
                modseq=change.modseq,
                exists=exists,
                added=sorted(self.added.get(row, ())),
                removed=sorted(self.removed.get(row, ())),
                flags=self.flagged.get(row, {}),
            )


class _Difference(NamedTuple):
    """Rows of `place` to write: (mailbox, uid, group, flags), with the flags before as a fifth where they change."""

    new: list[tuple[int, int, int, int]]
    """Their UIDs are those of the oldest place the message has now, to sort by."""
    gone: list[tuple[int, int, int, int]]
    flagged: list[tuple[int, int, int, int, int]]


def settle(change: Change) -> None:
    """Compare where messages are shown with where the dots of their entries say they are, and write the difference."""
    if not change.touched:
        return
    tally = _Tally(change)
    difference = _difference(change)
    _take_out(change, tally, difference.gone)
    _flag(change, tally, difference.flagged)
    _put_in(change, tally, difference.new)
    tally.write()


def _difference(change: Change) -> _Difference:
    wanted = _wanted(change)
    shown: dict[int, dict[int, tuple[int, int]]] = {}
    for group, mailbox, uid, flags in change.db.execute(_PLACES):
        shown.setdefault(group, {})[mailbox] = (uid, flags)
    found = _Difference([], [], [])
    for group, places in wanted.items():
        now = shown.get(group, {})
        oldest = min((uid for uid, _ in now.values()), default=1 << 62)
        for mailbox, flags in places.items():
            if mailbox not in now:
                found.new.append((mailbox, oldest, group, flags))
            elif now[mailbox][1] != flags:
                found.flagged.append((mailbox, now[mailbox][0], group, flags, now[mailbox][1]))
        found.gone.extend(
            (mailbox, uid, group, flags) for mailbox, (uid, flags) in now.items() if mailbox not in places
        )
    found.new.sort(key=lambda row: row[1])
    return found


def _wanted(change: Change) -> dict[int, dict[int, int]]:
    """For each group touched, in order: mailbox to flags."""
    db, ledger = change.db, change.ledger
    db.execute("CREATE TEMP TABLE IF NOT EXISTS touched (at INTEGER PRIMARY KEY, id INTEGER NOT NULL)")
    db.execute("CREATE TEMP TABLE IF NOT EXISTS moved (at INTEGER PRIMARY KEY, shown INTEGER NOT NULL UNIQUE)")
    db.execute("DELETE FROM temp.touched")
    db.execute("DELETE FROM temp.moved")
    db.executemany("INSERT INTO temp.touched (id) VALUES (?)", ((entry,) for entry in change.touched))
    db.execute(_GROUPS)
    keys: dict[int, list[int]] = {row[0]: [] for row in db.execute("SELECT shown FROM temp.moved ORDER BY at")}
    for group, key in db.execute(_KEYS):
        keys[group].append(key)
    places: dict[tuple[int, ...], dict[int, int]] = {}
    wanted: dict[int, dict[int, int]] = {}
    for group, found in keys.items():
        one = tuple(sorted(found))
        if one not in places:
            places[one] = _places(change, [ledger.key_names[key] for key in one])
        wanted[group] = places[one]
    return {**wanted, **_gone(change)}


def _gone(change: Change) -> dict[int, dict[int, int]]:
    """Of the groups touched, those whose key is destroyed here: shown nowhere."""
    if not change.ledger.gone:
        return {}
    rows = change.db.execute(_GONE, (json.dumps(sorted(change.ledger.gone)),))
    return {group: {} for (group,) in rows.fetchall()}


def _places(change: Change, keys: list[tuple[int, str]]) -> dict[int, int]:
    """Mailbox to flags, from the keys that have dots: (mailbox, '') puts it there, (0, flag) holds everywhere."""
    everywhere = frozenset(flag for mailbox, flag in keys if not mailbox)
    within: dict[int, set[str]] = {mailbox: set() for mailbox, flag in keys if mailbox and not flag}
    for mailbox, flag in keys:
        if flag and mailbox in within:
            within[mailbox].add(flag)
    return {mailbox: change.flags(everywhere | flags) for mailbox, flags in within.items()}


def _put_in(change: Change, tally: _Tally, new: list[tuple[int, int, int, int]]) -> None:
    rows: list[tuple[int, ...]] = []
    for mailbox, _, group, flags in new:
        uid = tally.uid(mailbox)
        rows.append((mailbox, uid, group, flags, change.modseq, change.modseq))
        tally.count(mailbox, flags, 1)
        tally.added.setdefault(mailbox, []).append(uid)
    change.db.executemany(
        "INSERT INTO place (mailbox, uid, shown, flags, added, modseq) VALUES (?, ?, ?, ?, ?, ?)", rows
    )


def _take_out(change: Change, tally: _Tally, gone: list[tuple[int, int, int, int]]) -> None:
    for mailbox, uid, _, flags in gone:
        tally.count(mailbox, flags, -1)
        tally.removed.setdefault(mailbox, []).append(uid)
    change.db.executemany("DELETE FROM place WHERE mailbox = ? AND uid = ?", ((row[0], row[1]) for row in gone))
    change.db.executemany(
        "INSERT INTO vanished (modseq, mailbox, uid) VALUES (?, ?, ?)",
        ((change.modseq, row[0], row[1]) for row in gone),
    )


def _flag(change: Change, tally: _Tally, flagged: list[tuple[int, int, int, int, int]]) -> None:
    names = change.ledger.flag_names
    for mailbox, uid, _, flags, before in flagged:
        tally.count(mailbox, before, -1)
        tally.count(mailbox, flags, 1)
        tally.flagged.setdefault(mailbox, {})[uid] = names[flags]
    change.db.executemany(
        "UPDATE place SET flags = ?, modseq = ? WHERE mailbox = ? AND uid = ?",
        ((flags, change.modseq, mailbox, uid) for mailbox, uid, _, flags, _ in flagged),
    )


def clear(change: Change, group: int) -> None:
    """Show a group nowhere: its entries are about to join another."""
    tally = _Tally(change)
    rows = change.db.execute("SELECT mailbox, uid, shown, flags FROM place WHERE shown = ?", (group,)).fetchall()
    _take_out(change, tally, rows)
    tally.write()
