"""COPY, MOVE, APPEND, EXPUNGE: messages into and out of mailboxes (RFC 3501, 4315, 6851)."""

from __future__ import annotations

from collections.abc import Sequence

from mesyx_core.api import Bytes, File, Mailbox, Message, Query, Remove, Uids
from mesyx_imap import ranges
from mesyx_imap.errors import Bad, No
from mesyx_imap.parser import Cursor
from mesyx_imap.selected import Selected
from mesyx_imap.session import Session


async def copy(session: Session, args: Cursor, by_uid: bool = False) -> bytes:
    uids, target = await _source_and_target(session, args, by_uid)
    filed = await _file(session, uids, target, move=False)
    if target.id == session.selected.id:
        await session.catch_up()
    return _copyuid(target, filed) + b"Copied"


async def move(session: Session, args: Cursor, by_uid: bool = False) -> bytes:
    selected = session.writable
    uids, target = await _source_and_target(session, args, by_uid)
    filed = await _file(session, uids, target, move=True)
    if filed:
        session.out.write(b"* OK %bMoved\r\n" % _copyuid(target, filed))
    if target.id == selected.id:
        await session.catch_up()
    selected.remove(source for source, _ in filed)
    return b"Moved"


async def _source_and_target(session: Session, args: Cursor, by_uid: bool) -> tuple[Uids, Mailbox]:
    args.space()
    asked = args.sequence()
    args.space()
    name = args.mailbox()
    args.end()
    uids = session.selected.numbers(asked, by_uid)
    return uids, await target_named(session, name)


async def target_named(session: Session, name: str) -> Mailbox:
    """A mailbox to put messages into. Raises No."""
    found = await session.view.mailboxes([name])
    if not found:
        raise No(b"[TRYCREATE] No such mailbox")
    return found[0]


async def _file(session: Session, uids: Uids, target: Mailbox, move: bool) -> Sequence[tuple[int, int]]:
    if not uids:
        return ()
    done = await session.view.change([File(mailbox=session.selected.id, uids=uids, to=target.id, move=move)])
    return done.filed


def _copyuid(target: Mailbox, filed: Sequence[tuple[int, int]]) -> bytes:
    if not filed:
        return b""
    sources = ranges.text(source for source, _ in filed)
    return b"[COPYUID %d %b %b] " % (target.uidvalidity, sources, ranges.text(there for _, there in filed))


async def append(session: Session, args: Cursor) -> bytes:
    args.space()
    name = args.mailbox()
    args.space()
    flags = frozenset[str]()
    if args.peek() == b"(":
        flags = frozenset(args.several(args.flag))
        args.space()
    time = session.context.now()
    if args.peek() == b'"':
        time = args.date_time()
        args.space()
    data = args.literal()
    args.end()
    if not data or b"\0" in data:
        raise Bad(b"Not a message")
    target = await target_named(session, name)
    out = target.use in ("Sent", "Drafts")
    message = Message(kind="mail", time=time, body=Bytes(data), direction="out" if out else "in", flags=flags)
    uid = await session.view.append(target.id, message)
    if session.current and session.current.id == target.id:
        await session.catch_up()
    return b"[APPENDUID %d %d] Appended" % (target.uidvalidity, uid)


async def expunge(session: Session, args: Cursor) -> bytes:
    args.end()
    await _expunge(session, None)
    return b"Expunged"


async def uid_expunge(session: Session, args: Cursor) -> bytes:
    args.space()
    asked = args.sequence()
    args.end()
    await _expunge(session, session.selected.by_uid(asked))
    return b"Expunged"


async def _expunge(session: Session, among: Uids | None) -> None:
    selected = session.writable
    selected.remove(await expunge_deleted(session, selected, among))


async def expunge_deleted(session: Session, selected: Selected, among: Uids | None) -> Sequence[int]:
    r"""Take out what has \Deleted; the UIDs that went."""
    if among is not None and not among:
        return ()
    deleted = Query("flag", "\\Deleted")
    query = deleted if among is None else Query("and", terms=(Query("uid", among), deleted))
    gone = await session.view.search(selected.id, query)
    if gone:
        await session.view.change([Remove(mailbox=selected.id, uids=ranges.collect(gone))])
    return gone
