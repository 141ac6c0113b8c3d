"""Coming and going: LOGIN, AUTHENTICATE, STARTTLS, LOGOUT (RFC 3501, sections 6.1 and 6.2; RFC 4959)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable

from mesyx_core.api import LoginFailed, View
from mesyx_core.wire.sasl import LIMIT, Plain, SaslError, Scram, parse_plain, plain_proof
from mesyx_imap.capability import capabilities, private
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
    return await _plain(session, b"\0%b\0%b" % (name, password))


async def authenticate(session: Session, args: Cursor) -> bytes:
    args.space()
    mechanism = args.word()
    first = None
    if not args.at_end:
        args.space()
        first = args.base64()
    args.end()
    if mechanism not in (b"PLAIN", b"SCRAM-SHA-256"):
        raise No(b"[CANNOT] Mechanism not offered")
    _require_privacy(session)
    message = await _ask(session, b"") if first is None else _decode(first)
    return await (_plain if mechanism == b"PLAIN" else _scram)(session, message)


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
    if not private(session.wire):
        raise No(b"[PRIVACYREQUIRED] Log in under TLS only")


async def _plain(session: Session, message: bytes) -> bytes:
    try:
        given = parse_plain(message)
    except SaslError:
        given = Plain("", "", "")
    view = await _enter(session, given.authorize, given.name, plain_proof(given.password))
    return await _admit(session, view)


async def _scram(session: Session, message: bytes) -> bytes:
    scram = Scram(session.context.random(18))
    try:
        first = scram.challenge(message, session.context.salt)
        proof = scram.respond(await _ask(session, first))
    except SaslError:
        raise Bad(b"Malformed SCRAM message") from None

    view = await _enter(session, scram.authorize, scram.name, proof)
    await _ask(session, scram.success())
    return await _admit(session, view)


async def _enter(session: Session, authorize: str, name: str, proof: Callable[[bytes], bool]) -> View:
    try:
        if not name or authorize not in ("", name):
            raise LoginFailed("wrong name or app password")
        return await session.context.login(name, proof)
    except LoginFailed:
        await _failed(session)
        raise No(_FAILED) from None


async def _admit(session: Session, view: View) -> bytes:
    await session.admit(view)
    return b"[CAPABILITY %b] Logged in" % capabilities(session.wire, known=True)


async def _failed(session: Session) -> None:
    session.failures += 1
    await session.context.sleep(session.limits.failure_delay * 2 ** (session.failures - 1))
    if session.failures >= session.limits.failures:
        session.bye(b"Too many failed log-ins")


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
