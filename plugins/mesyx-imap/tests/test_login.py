"""Who may come in, and how."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import pbkdf2_hmac, sha256
from hmac import digest

from mesyx_core.api import Locked, View
from mesyx_core.testing.context import StandIn

from .transcript import Line, Stage, play

_PLAIN = b64encode(b"\0alice\0secret").decode()


def test_the_greeting_offers_what_is_possible_now() -> None:
    async def run() -> None:
        line = Line(StandIn())
        came = await line.say(b"")
        assert came == (
            b"* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE STARTTLS AUTH=PLAIN AUTH=SCRAM-SHA-256] Mesyx\r\n"
        )
        line.stop()

    asyncio.run(run())


def test_a_right_password_opens_the_store() -> None:
    play(
        """
        C: a LOGIN alice secret
        S: a OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE …
        C: b LOGIN alice secret
        S: b BAD Already logged in
        """,
        user=False,
    )


def test_login_takes_quoted_strings_and_literals() -> None:
    play(
        """
        C: a LOGIN {5}
        S: + OK
        C: alice {6+}
        C: secret
        S: a OK [CAPABILITY …
        """,
        user=False,
    )
    play('C: a LOGIN "alice" "sec\\\\ret"\nS: a NO [AUTHENTICATIONFAILED] Wrong name or app password', user=False)


def test_authenticate_plain_with_and_without_initial_response() -> None:
    play(f"C: a AUTHENTICATE PLAIN {_PLAIN}\nS: a OK [CAPABILITY …", user=False)
    play(f"C: a AUTHENTICATE plain\nS: + \nC: {_PLAIN}\nS: a OK [CAPABILITY …", user=False)
    play("C: a AUTHENTICATE PLAIN\nS: + \nC: *\nS: a BAD Log-in cancelled", user=False)
    play("C: a AUTHENTICATE PLAIN\nS: + \nC: !!!\nS: a BAD Not base64", user=False)
    play("C: a AUTHENTICATE GSSAPI\nS: a NO [CANNOT] Mechanism not offered", user=False)


def test_authenticate_scram_proves_both_sides() -> None:
    async def run() -> None:
        stage = Stage()
        line = await stage.open(user=False)
        bare = b"n=alice,r=abcdef"
        came = await line.say(b"a AUTHENTICATE SCRAM-SHA-256 %b\r\n" % b64encode(b"n,," + bare))
        first = b64decode(came[2:])
        nonce, salt, rounds = (field[2:] for field in first.split(b","))
        salted = pbkdf2_hmac("sha256", b"secret", b64decode(salt), int(rounds))
        client = digest(salted, b"Client Key", "sha256")
        final = b"c=biws,r=" + nonce
        signed = digest(sha256(client).digest(), b",".join((bare, first, final)), "sha256")
        proof = b64encode(bytes(a ^ b for a, b in zip(client, signed, strict=True)))
        came = await line.say(b64encode(final + b",p=" + proof) + b"\r\n")
        server = digest(digest(salted, b"Server Key", "sha256"), b",".join((bare, first, final)), "sha256")
        assert b64decode(came[2:]) == b"v=" + b64encode(server)
        assert (await line.say(b"\r\n")).startswith(b"a OK")
        stage.close()

    asyncio.run(run())


def test_acting_for_somebody_else_is_refused() -> None:
    other = b64encode(b"bob\0alice\0secret").decode()
    play(f"C: a AUTHENTICATE PLAIN {other}\nS: a NO [AUTHENTICATIONFAILED] …", user=False)


def test_wrong_passwords_are_slow_and_few() -> None:
    async def run() -> None:
        stage = Stage()
        line = await stage.open(user=False)
        await stage.play(
            """
            C: a LOGIN alice wrong
            S: a NO [AUTHENTICATIONFAILED] Wrong name or app password
            C: b LOGIN nobody secret
            S: b NO [AUTHENTICATIONFAILED] Wrong name or app password
            C: c LOGIN alice wrong
            S: * BYE Too many failed log-ins
            S: c NO [AUTHENTICATIONFAILED] Wrong name or app password
            """,
            line,
        )
        assert line.closed
        assert stage.context.slept == [1, 2, 4]
        stage.close()

    asyncio.run(run())


def test_passwords_do_not_cross_a_network_in_clear() -> None:
    play(
        f"""
        C: a CAPABILITY
        S: * CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE STARTTLS LOGINDISABLED
        S: a OK That is all
        C: b LOGIN alice secret
        S: b NO [PRIVACYREQUIRED] Log in under TLS only
        C: c AUTHENTICATE PLAIN {_PLAIN}
        S: c NO [PRIVACYREQUIRED] Log in under TLS only
        C: d STARTTLS
        S: d OK Begin TLS
        C: e STARTTLS
        S: e BAD TLS is not offered here, or has begun
        C: f LOGIN alice secret
        S: f OK …
        """,
        user=False,
        local=False,
    )


def test_what_is_sent_behind_starttls_in_clear_ends_the_connection() -> None:
    async def run() -> None:
        stage = Stage(local=False)
        line = await stage.open(user=False)
        assert await line.say(b"a STARTTLS\r\nb LOGIN alice secret\r\n") == b""
        assert line.closed
        stage.close()

    asyncio.run(run())


def test_a_locked_store_is_unavailable_and_not_wrong() -> None:
    class Closed(StandIn):
        async def login(self, name: str, proof: Callable[[bytes], bool]) -> View:
            raise Locked("alice is locked", "mesyx store unlock alice")

    async def run() -> None:
        line = Line(Closed())
        await line.say(b"")
        came = await line.say(b"a LOGIN alice secret\r\n")
        assert came == b"a NO [UNAVAILABLE] alice is locked: mesyx store unlock alice\r\n"
        line.stop()

    asyncio.run(run())


def test_before_log_in_there_is_nothing_else() -> None:
    play(
        """
        C: a SELECT INBOX
        S: a BAD Log in first
        C: b FETCH 1 FLAGS
        S: b BAD Log in first
        C: c NOOP
        S: c OK Nothing done
        C: d ID ("name" "test")
        S: * ID ("name" "Mesyx")
        S: d OK Pleased to meet you
        C: e LOGOUT
        S: * BYE Until next time
        S: e OK Logged out
        """,
        user=False,
    )


def test_small_commands_of_somebody_known() -> None:
    play(
        """
        C: a NAMESPACE
        S: * NAMESPACE (("" "/")) NIL NIL
        S: a OK One namespace
        C: b ENABLE CONDSTORE X-GOOD-IDEA
        S: * ENABLED
        S: b OK Enabled
        C: c ID NIL
        S: * ID ("name" "Mesyx")
        S: c OK Pleased to meet you
        C: d NOSUCH
        S: d BAD Unknown command
        C: e FETCH 1 FLAGS
        S: e BAD Select a mailbox first
        """
    )
