"""STORE: flags of messages (RFC 3501, section 6.4.6)."""

from __future__ import annotations

import re

from mesyx_core.api import Flag, Uids
from mesyx_imap import format, ranges
from mesyx_imap.errors import Bad
from mesyx_imap.limits import ITEMS
from mesyx_imap.parser import Cursor
from mesyx_imap.selected import Selected
from mesyx_imap.session import Session

_ITEM = re.compile(rb"([+-]?)FLAGS(\.SILENT)?")


async def store(session: Session, args: Cursor, by_uid: bool = False) -> bytes:
    args.space()
    asked = args.sequence()
    args.space()
    item = _ITEM.fullmatch(args.word())
    if not item:
        raise Bad(b"Expected FLAGS")
    args.space()
    flags = _flags(args)
    args.end()
    selected = session.writable
    uids = selected.numbers(asked, by_uid)
    before = await _before(session, selected, uids) if uids else {}
    after = {uid: _after(item[1], old, flags) for uid, old in before.items()}
    await _change(session, selected, before, after)
    for response in selected.learn(flags):
        session.out.write(response)
    if not item[2]:
        await _show(session, selected, after, by_uid)
    return b"Stored"


def _flags(args: Cursor) -> frozenset[str]:
    if args.peek() == b"(":
        return frozenset(args.several(args.flag))
    flags = [args.flag()]
    while not args.at_end and len(flags) < ITEMS:
        args.space()
        flags.append(args.flag())
    return frozenset(flags)


async def _before(session: Session, selected: Selected, uids: Uids) -> dict[int, frozenset[str]]:
    found: dict[int, frozenset[str]] = {}
    async for batch in session.view.rows(selected.id, uids, frozenset({"flags"})):
        found.update((row.uid, row.flags or frozenset()) for row in batch if selected.sequence(row.uid))
    return found


def _after(sign: bytes, old: frozenset[str], flags: frozenset[str]) -> frozenset[str]:
    if sign == b"+":
        return old | flags
    return old - flags if sign == b"-" else flags


async def _change(
    session: Session, selected: Selected, before: dict[int, frozenset[str]], after: dict[int, frozenset[str]]
) -> None:
    """One op for all that differ: an op that adds or removes what is so already does nothing there."""
    differing = {uid: flags for uid, flags in after.items() if flags != before[uid]}
    if not differing:
        return
    add = frozenset[str]().union(*(flags - before[uid] for uid, flags in differing.items()))
    remove = frozenset[str]().union(*(before[uid] - flags for uid, flags in differing.items()))
    change = Flag(mailbox=selected.id, uids=ranges.collect(differing), add=add, remove=remove)
    done = await session.view.change([change])
    selected.told(differing, done.modseq)


async def _show(session: Session, selected: Selected, after: dict[int, frozenset[str]], by_uid: bool) -> None:
    for uid, flags in after.items():
        shown = format.flags(flags, uid in selected.recent)
        number = selected.sequence(uid)
        session.out.write(
            b"* %d FETCH (UID %d FLAGS %b)\r\n" % (number, uid, shown)
            if by_uid
            else b"* %d FETCH (FLAGS %b)\r\n" % (number, shown)
        )
        if session.out.full:
            await session.out.flush()
