"""Coming and going: LOGIN, AUTHENTICATE, STARTTLS, LOGOUT (RFC 3501, sections 6.1 and 6.2; RFC 4959)."""

from __future__ import annotations

from base64 import b64decode, b64encode

from mesyx_core.api import LoginFailed, View
from mesyx_core.wire.mechanisms import Attempt, PlainMechanism, mechanism
from mesyx_core.wire.sasl import LIMIT, SaslError
from mesyx_core.wire.tls import private
from mesyx_imap.capability import capabilities
from mesyx_imap.errors import Bad, No
from mesyx_imap.parser import Cursor
from mesyx_imap.session import Session

_FAILED = b"[AUTHENTICATIONFAILED] Wrong name or app password"


async def login(session: Session, args: Cursor) -> bytes:
    args.space()
    name = args.astring()
    args.space()
    password = args.astring()
    args.end()
    _require_privacy(session)
    attempt = PlainMechanism().respond(b"\0%b\0%b" % (name, password))
    assert isinstance(attempt, Attempt)
    return await _admit(session, await _enter(session, attempt))


async def authenticate(session: Session, args: Cursor) -> bytes:
    args.space()
    name = args.word()
    first = None
    if not args.at_end:
        args.space()
        first = args.base64()
    args.end()
    if name not in (b"PLAIN", b"SCRAM-SHA-256"):
        raise No(b"[CANNOT] Mechanism not offered")
    _require_privacy(session)
    talk = mechanism(name.decode(), session.context.random, session.context.salt)
    assert talk is not None
    message = await _ask(session, talk.opening) if first is None else _decode(first)
    try:
        while isinstance(step := talk.respond(message), bytes):
            message = await _ask(session, step)
    except SaslError:
        raise Bad(b"Malformed %b message" % name) from None
    view = await _enter(session, step)
    if (last := talk.success()) is not None:
        await _ask(session, last)
    return await _admit(session, view)


async def starttls(session: Session, args: Cursor) -> bytes:
    args.end()
    if not session.wire.upgradable:
        raise Bad(b"TLS is not offered here, or has begun")
    session.wire.hold()
    session.upgrade = True
    return b"Begin TLS"


async def logout(session: Session, args: Cursor) -> bytes:
    args.end()
    session.bye(b"Until next time")
    return b"Logged out"


def _require_privacy(session: Session) -> None:
    if not private(local=session.wire.local, secure=session.wire.secure):
        raise No(b"[PRIVACYREQUIRED] Log in under TLS only")


async def _enter(session: Session, attempt: Attempt) -> View:
    try:
        if not attempt.name:
            raise LoginFailed("wrong name or app password")
        return await session.context.login(*attempt)
    except LoginFailed:
        await session.context.sleep(session.failures.another())
        if session.failures.enough:
            session.bye(b"Too many failed log-ins")
        raise No(_FAILED) from None


async def _admit(session: Session, view: View) -> bytes:
    await session.admit(view)
    return b"[CAPABILITY %b] Logged in" % capabilities(session.wire, known=True)


async def _ask(session: Session, challenge: bytes) -> bytes:
    session.out.write(b"+ %b\r\n" % b64encode(challenge))
    await session.out.flush()
    line = await session.wire.line()
    if line == b"*":
        raise Bad(b"Log-in cancelled")
    return _decode(line)


def _decode(raw: bytes) -> bytes:
    if raw == b"=":
        return b""
    try:
        return b64decode(raw, validate=True) if len(raw) <= 2 * LIMIT else b""
    except ValueError:
        raise Bad(b"Not base64") from None
