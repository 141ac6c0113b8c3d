"""SELECT, EXAMINE, CLOSE, UNSELECT, NOOP, CHECK and IDLE: which mailbox, and what is new in it."""

from __future__ import annotations

from mesyx_core.api import Mailbox, Query
from mesyx_imap import format
from mesyx_imap.errors import Bad, No
from mesyx_imap.filing import expunge_deleted
from mesyx_imap.parser import SYSTEM, Cursor
from mesyx_imap.selected import Selected
from mesyx_imap.session import Session


async def select(session: Session, args: Cursor) -> bytes:
    await _open(session, args, read_only=False)
    return b"[READ-WRITE] Selected"


async def examine(session: Session, args: Cursor) -> bytes:
    await _open(session, args, read_only=True)
    return b"[READ-ONLY] Examined"


async def named(session: Session, name: str) -> Mailbox:
    """The mailbox of that name. Raises No."""
    found = await session.view.mailboxes([name])
    if not found:
        raise No(b"[NONEXISTENT] No such mailbox")
    return found[0]


async def _open(session: Session, args: Cursor, read_only: bool) -> None:
    args.space()
    name = args.mailbox()
    args.end()
    session.select(None)  # a failed SELECT leaves nothing selected (RFC 3501, section 6.3.1)
    mailbox = await named(session, name)
    uids, modseq = await session.view.uids(mailbox.id)
    unseen = await session.view.search(mailbox.id, Query("unflag", "\\Seen")) if mailbox.unseen else ()
    selected = Selected(mailbox, uids, modseq, read_only, session.marks)
    _describe(session, selected, unseen[0] if unseen else 0)
    session.select(selected)


def _describe(session: Session, selected: Selected, unseen: int) -> None:
    write, mailbox = session.out.write, selected.mailbox
    write(selected.flags_line())
    permanent = b"" if selected.read_only else " ".join([*SYSTEM.values(), *sorted(selected.keywords), "\\*"]).encode()
    write(b"* OK [PERMANENTFLAGS (%b)] Flags that last\r\n" % permanent)
    write(b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(selected.uids), len(selected.recent)))
    if number := selected.sequence(unseen):
        write(b"* OK [UNSEEN %d] First unseen\r\n" % number)
    write(b"* OK [UIDVALIDITY %d] UIDs are valid\r\n" % mailbox.uidvalidity)
    top = selected.uids[-1] + 1 if selected.uids else 1
    write(b"* OK [UIDNEXT %d] Predicted next UID\r\n" % max(mailbox.uidnext, top))
    write(b"* OK [MAILBOXID (%b)] Its id\r\n" % format.object_id(b"F", mailbox.id))


async def close(session: Session, args: Cursor) -> bytes:
    args.end()
    selected = session.selected
    if not selected.read_only:
        await expunge_deleted(session, selected, None)
    session.select(None)
    return b"Closed"


async def unselect(session: Session, args: Cursor) -> bytes:
    args.end()
    session.select(None)
    return b"Unselected"


async def noop(session: Session, args: Cursor) -> bytes:
    args.end()
    await session.catch_up()
    return b"Nothing done"


async def check(session: Session, args: Cursor) -> bytes:
    args.end()
    await session.catch_up()
    return b"Checked"


async def idle(session: Session, args: Cursor) -> bytes:
    """RFC 2177."""
    args.end()
    await session.catch_up()
    session.out.write(b"+ Idling\r\n")
    await session.out.flush()
    session.idling = session.current is not None
    session.speak()
    try:
        line = await session.wire.line()
    finally:
        session.idling = False
    if line.upper() != b"DONE":
        raise Bad(b"Expected DONE")
    return b"Idled"
