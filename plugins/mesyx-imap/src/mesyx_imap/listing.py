"""LIST, LSUB and STATUS (RFC 3501, sections 6.3.8 to 6.3.10; RFC 5258, 5819, 6154)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from mesyx_core.api import Mailbox
from mesyx_imap import format, names
from mesyx_imap.errors import Bad
from mesyx_imap.parser import Cursor
from mesyx_imap.selecting import named
from mesyx_imap.session import Session

_SELECTIONS = frozenset({b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE"})
_RETURNS = frozenset({b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE"})
_STATUS = frozenset({b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN", b"MAILBOXID"})


async def list_(session: Session, args: Cursor) -> bytes:
    args.space()
    selections = _options(args, _SELECTIONS) if args.peek() == b"(" else frozenset()
    reference, patterns, plain = _patterns(args)
    returns, items = _returning(args)
    args.end()
    if plain and patterns == [""] and not selections:
        session.out.write(b'* LIST (\\Noselect) "/" ""\r\n')
        return b"Listed"
    wanted = [names.pattern(reference, pattern) for pattern in patterns]
    await _list(session, wanted, selections, returns | selections, items)
    return b"Listed"


def _options(args: Cursor, known: frozenset[bytes]) -> frozenset[bytes]:
    found = frozenset(args.several(args.word))
    args.space()
    if found - known or found == {b"RECURSIVEMATCH"}:
        raise Bad(b"Unknown LIST option")
    return found


def _patterns(args: Cursor) -> tuple[str, list[str], bool]:
    reference = args.mailbox()
    args.space()
    if args.peek() == b"(":
        return reference, args.several(args.pattern), False
    return reference, [args.pattern()], True


def _returning(args: Cursor) -> tuple[frozenset[bytes], Sequence[bytes]]:
    items: Sequence[bytes] = ()
    if args.at_end:
        return frozenset(), items

    def option() -> bytes:
        nonlocal items
        word = args.word()
        if word == b"STATUS":
            args.space()
            items = _items(args)
        elif word not in _RETURNS:
            raise Bad(b"Unknown LIST option")
        return word

    args.space()
    args.expect(b"RETURN ")
    return frozenset(args.several(option)), items


async def _list(
    session: Session,
    wanted: Sequence[re.Pattern[str]],
    selections: frozenset[bytes],
    returns: frozenset[bytes],
    items: Sequence[bytes],
) -> None:
    boxes = {box.name: box for box in await session.view.mailboxes()}
    subscribed = frozenset(await session.view.subscriptions()) if b"SUBSCRIBED" in returns else frozenset[str]()
    above = {parent for name in boxes for parent in names.parents(name)}
    for name in _ordered({*boxes, *above, *subscribed}):
        box = boxes.get(name)
        if b"SUBSCRIBED" in selections and name not in subscribed:
            continue
        if b"SPECIAL-USE" in selections and not (box and box.use):
            continue
        if box is None and name not in above and b"SUBSCRIBED" not in selections:
            continue
        if not any(pattern.fullmatch(name) for pattern in wanted):
            continue
        flags = _attributes(box, name in above, name in subscribed)
        session.out.write(b'* LIST (%b) "/" %b\r\n' % (flags, format.astring(names.encode(name))))
        if items and box:
            await _show_status(session, box, items)


def _ordered(found: Iterable[str]) -> list[str]:
    return sorted(found, key=lambda name: (name != names.INBOX, name))


def _attributes(box: Mailbox | None, above: bool, subscribed: bool) -> bytes:
    words = [] if box else ["\\Noselect"] if above else ["\\NonExistent"]
    words.append("\\HasChildren" if above else "\\HasNoChildren")
    if box and box.use:
        words.append(f"\\{box.use}")
    if subscribed:
        words.append("\\Subscribed")
    return " ".join(words).encode("ascii", "replace")


async def lsub(session: Session, args: Cursor) -> bytes:
    args.space()
    reference = args.mailbox()
    args.space()
    wanted = names.pattern(reference, args.pattern())
    args.end()
    subscribed = set(await session.view.subscriptions())
    above = {parent for name in subscribed for parent in names.parents(name)}
    for name in _ordered(subscribed | above):
        if wanted.fullmatch(name):
            flags = b"" if name in subscribed else b"\\Noselect"
            session.out.write(b'* LSUB (%b) "/" %b\r\n' % (flags, format.astring(names.encode(name))))
    return b"Listed"


async def status(session: Session, args: Cursor) -> bytes:
    args.space()
    name = args.mailbox()
    args.space()
    items = _items(args)
    args.end()
    await _show_status(session, await named(session, name), items)
    return b"That is its status"


def _items(args: Cursor) -> list[bytes]:
    items = args.several(args.word)
    if not items or not _STATUS.issuperset(items):
        raise Bad(b"Unknown status item")
    return items


async def _show_status(session: Session, box: Mailbox, items: Sequence[bytes]) -> None:
    values: Mapping[bytes, bytes] = {
        b"MESSAGES": b"%d" % box.exists,
        b"RECENT": b"%d" % (await _recent(session, box) if b"RECENT" in items else 0),
        b"UIDNEXT": b"%d" % box.uidnext,
        b"UIDVALIDITY": b"%d" % box.uidvalidity,
        b"UNSEEN": b"%d" % box.unseen,
        b"MAILBOXID": b"(%b)" % format.object_id(b"F", box.id),
    }
    shown = b" ".join([b"%b %b" % (item, values[item]) for item in dict.fromkeys(items)])
    session.out.write(b"* STATUS %b (%b)\r\n" % (format.astring(names.encode(box.name)), shown))


async def _recent(session: Session, box: Mailbox) -> int:
    if session.current and session.current.id == box.id:
        return len(session.current.recent)
    if not session.marks.may_have(box):
        return 0
    uids, _ = await session.view.uids(box.id)
    return len(session.marks.claim(box, uids, keep=False))
