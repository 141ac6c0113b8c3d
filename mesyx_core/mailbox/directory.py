"""Which mailboxes there are and what they are called: a name is a register, and no two mailboxes show the same."""

from __future__ import annotations

from typing import NamedTuple

from mesyx_core.api import Mailbox
from mesyx_core.mailbox import names
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.storage import Connection
from mesyx_core.record.ops import Dot

_SEEN = "\\Seen"


class Box(NamedTuple):
    """A mailbox as it is shown."""

    row: int
    id: bytes
    name: str
    uidvalidity: int
    uidnext: int
    modseq: int


def boxes(ledger: Ledger, db: Connection) -> list[Box]:
    """All mailboxes shown, INBOX first, then by name."""
    rows = db.execute(
        """SELECT id, mid, first, clock, uidvalidity, uidnext, modseq FROM mailbox m WHERE known AND
           (NOT dropped OR EXISTS (SELECT 1 FROM tally t WHERE t.mailbox = m.id))"""
    ).fetchall()
    renamed = _renamed(ledger, db)
    fixed = {names.named(name) for name in names.SPECIAL}
    order: list[tuple[bool, int, Dot | None, bytes, str, Box]] = []
    for row, mid, first, clock, uidvalidity, uidnext, modseq in rows:
        name = first
        if row in renamed:
            clock, name = renamed[row]
        box = Box(row, mid, name, uidvalidity, uidnext, modseq)
        order.append((mid not in fixed, clock, None, mid, name, box))
    order.sort(key=lambda item: (item[0], item[1], item[3]))
    shown: dict[str, Box] = {}
    for *_, name, box in order:
        shown[_free(name, shown)] = box
    found = [box._replace(name=name) for name, box in shown.items()]
    return sorted(found, key=lambda box: (box.name != names.INBOX, box.name))


def _renamed(ledger: Ledger, db: Connection) -> dict[int, tuple[int, str]]:
    """Row to (clock, name) of the renaming that counts: of concurrent ones the later by clock, then by dot."""
    best: dict[int, tuple[int, tuple[bytes, bytes, int], int, str]] = {}
    for row, op, n, name, clock in db.execute("SELECT mailbox, op, n, name, clock FROM name"):
        value = (clock, ledger.ref(op), n, name)
        best[row] = max(best.get(row, value), value)
    return {row: (value[0], value[3]) for row, value in best.items()}


def _free(name: str, taken: dict[str, Box]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"


def listed(ledger: Ledger, db: Connection, only: list[str] | None) -> list[Mailbox]:
    """Mailboxes with their counts."""
    subscribed = set(subscriptions(db))
    wanted = None if only is None else {names.canonical(name) for name in only}
    return [
        _mailbox(ledger, db, box, box.name in subscribed)
        for box in boxes(ledger, db)
        if wanted is None or box.name in wanted
    ]


def _mailbox(ledger: Ledger, db: Connection, box: Box, subscribed: bool) -> Mailbox:
    exists = unseen = 0
    keywords: set[str] = set()
    for flags, count in db.execute("SELECT flags, count FROM tally WHERE mailbox = ?", (box.row,)):
        found = ledger.flag_names[flags]
        exists += count
        unseen += count if _SEEN not in found else 0
        keywords.update(flag for flag in found if not flag.startswith("\\"))
    return Mailbox(
        id=box.id,
        name=box.name,
        use=_USES.get(box.id, ""),
        subscribed=subscribed,
        uidvalidity=box.uidvalidity,
        uidnext=box.uidnext,
        exists=exists,
        unseen=unseen,
        modseq=box.modseq,
        keywords=sorted(keywords),
    )


_USES = {names.named(name): use for name, use in names.SPECIAL.items()}


def subscriptions(db: Connection) -> list[str]:
    """Names subscribed to: those that messages and every store bring, unless taken off, and those that people added."""
    off: set[str] = set()
    on: set[str] = set()
    for name, op in db.execute("SELECT name, op FROM subscription"):
        (on if op else off).add(name)
    began = {row[0] for row in db.execute("SELECT first FROM mailbox WHERE implied AND known")}
    return sorted(on | (began - off))
