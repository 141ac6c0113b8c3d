"""CAPABILITY, ID, ENABLE, NAMESPACE: what this server is (RFC 3501, 2971, 5161, 2342)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesyx_core.wire.tls import private
from mesyx_imap.output import Wire
from mesyx_imap.parser import Cursor

if TYPE_CHECKING:
    from mesyx_imap.session import Session

_ALWAYS = b"IMAP4rev1 LITERAL+ SASL-IR ID ENABLE"
_KNOWN = b" IDLE NAMESPACE UNSELECT UIDPLUS MOVE CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE OBJECTID"


def capabilities(wire: Wire, known: bool) -> bytes:
    """The list for this moment."""
    if known:
        return _ALWAYS + _KNOWN
    offers = b" STARTTLS" if wire.upgradable else b""
    return (
        _ALWAYS
        + offers
        + (b" AUTH=PLAIN AUTH=SCRAM-SHA-256" if private(local=wire.local, secure=wire.secure) else b" LOGINDISABLED")
    )


async def capability(session: Session, args: Cursor) -> bytes:
    args.end()
    session.out.write(b"* CAPABILITY %b\r\n" % capabilities(session.wire, session.known))
    return b"That is all"


async def identify(session: Session, args: Cursor) -> bytes:
    args.space()
    if not args.skip(b"NIL"):
        args.several(args.nstring)
    args.end()
    session.out.write(b'* ID ("name" "Mesyx")\r\n')
    return b"Pleased to meet you"


async def enable(session: Session, args: Cursor) -> bytes:
    """Nothing that this server has needs enabling; unknown names are passed over (RFC 5161, section 3.1)."""
    while not args.at_end:
        args.space()
        args.atom()
    session.out.write(b"* ENABLED\r\n")
    return b"Enabled"


async def namespace(session: Session, args: Cursor) -> bytes:
    args.end()
    session.out.write(b'* NAMESPACE (("" "/")) NIL NIL\r\n')
    return b"One namespace"
