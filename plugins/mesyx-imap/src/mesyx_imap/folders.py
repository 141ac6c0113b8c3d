"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501, sections 6.3.3 to 6.3.7)."""

from __future__ import annotations

from collections.abc import Sequence

from mesyx_core.api import Create, Delete, Mailbox, Rename, Subscribe
from mesyx_imap import format, names
from mesyx_imap.errors import No
from mesyx_imap.parser import Cursor
from mesyx_imap.selecting import named
from mesyx_imap.session import Session


async def create(session: Session, args: Cursor) -> bytes:
    args.space()
    name = names.check(args.mailbox().removesuffix(names.SEPARATOR))
    args.end()
    await _absent(session, name)
    missing = [*await _missing_parents(session, name), name]
    await session.view.change([Create(name=each) for each in missing])
    box = await named(session, name)
    return b"[MAILBOXID (%b)] Created" % format.object_id(b"F", box.id)


async def _absent(session: Session, name: str) -> None:
    if await session.view.mailboxes([name]):
        raise No(b"[ALREADYEXISTS] There is one of that name")


async def _missing_parents(session: Session, name: str) -> list[str]:
    above = names.parents(name)
    have = {box.name for box in await session.view.mailboxes(above)} if above else set()
    return [parent for parent in above if parent not in have]


async def delete(session: Session, args: Cursor) -> bytes:
    args.space()
    name = args.mailbox()
    args.end()
    if name == names.INBOX:
        raise No(b"[CANNOT] INBOX cannot be deleted")
    box = await named(session, name)
    await session.view.change([Delete(mailbox=box.id)])
    if session.current and session.current.id == box.id:
        session.select(None)
    return b"Deleted"


async def rename(session: Session, args: Cursor) -> bytes:
    args.space()
    old = args.mailbox()
    args.space()
    new = names.check(args.mailbox())
    args.end()
    await _absent(session, new)
    moved = _topmost(await session.view.mailboxes(), old)
    if not moved:
        raise No(b"[NONEXISTENT] No such mailbox")
    if new.startswith(old + names.SEPARATOR) and old != names.INBOX:
        raise No(b"[CANNOT] A mailbox cannot go below itself")
    if missing := await _missing_parents(session, new):
        await session.view.change([Create(name=name) for name in missing])
    await session.view.change([Rename(mailbox=box.id, name=new + box.name[len(old) :]) for box in moved])
    await session.catch_up()
    return b"Renamed"


def _topmost(boxes: Sequence[Mailbox], name: str) -> list[Mailbox]:
    """The mailbox of that name; if there is none, those below it that have no mailbox above them."""
    below = [box for box in boxes if box.name == name or box.name.startswith(name + names.SEPARATOR)]
    found = {box.name for box in below}
    return [box for box in below if found.isdisjoint(names.parents(box.name))]


async def subscribe(session: Session, args: Cursor) -> bytes:
    return await _subscribe(session, args, on=True)


async def unsubscribe(session: Session, args: Cursor) -> bytes:
    return await _subscribe(session, args, on=False)


async def _subscribe(session: Session, args: Cursor, on: bool) -> bytes:
    args.space()
    name = names.check(args.mailbox())
    args.end()
    await session.view.change([Subscribe(name=name, on=on)])
    return b"Subscribed" if on else b"Unsubscribed"
