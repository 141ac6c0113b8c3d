"""Mechanisms as conversations: what the client says, what it is asked, and whom it turns out to be."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import pbkdf2_hmac, sha256
from hmac import digest

import pytest

from mesyx_core.wire.mechanisms import Attempt, Mechanism, mechanism
from mesyx_core.wire.sasl import SaslError, make_verifier

SALT = b"0123456789abcdef"
VERIFIER = make_verifier("secret", SALT).pack()
OTHER = make_verifier("other", SALT).pack()


def begun(name: str) -> Mechanism:
    made = mechanism(name, bytes, lambda name: SALT)
    assert made is not None
    return made


def attempted(step: bytes | Attempt) -> Attempt:
    assert isinstance(step, Attempt)
    return step


def test_plain_says_it_at_once() -> None:
    plain = begun("plain")
    assert plain.opening == b""
    attempt = attempted(plain.respond(b"\0alice\0secret"))
    assert (attempt.name, attempt.proof(VERIFIER), attempt.proof(OTHER)) == ("alice", True, False)
    assert plain.success() is None


@pytest.mark.parametrize(
    "message", [b"", b"alice", b"\0alice\0", b"bob\0alice\0secret", b"\0\xff\0secret", b"\0a\0b\0c"]
)
def test_what_is_not_plain_and_who_acts_for_another_is_nobody(message: bytes) -> None:
    assert attempted(begun("PLAIN").respond(message)).name == ""


def test_login_is_asked_for_name_and_password() -> None:
    login = begun("LOGIN")
    assert login.opening == b"Username:"
    assert login.respond(b"alice") == b"Password:"
    attempt = attempted(login.respond(b"secret"))
    assert (attempt.name, attempt.proof(VERIFIER)) == ("alice", True)


@pytest.mark.parametrize(
    ("name", "password"), [(b"", b"secret"), (b"alice", b""), (b"\xff", b"x"), (b"alice", b"\x00")]
)
def test_login_without_name_or_password_is_nobody(name: bytes, password: bytes) -> None:
    login = begun("LOGIN")
    login.respond(name)
    assert attempted(login.respond(password)).name == ""


def test_scram_proves_both_sides() -> None:
    scram = begun("SCRAM-SHA-256")
    with pytest.raises(SaslError):
        scram.success()
    first = scram.respond(b"n,,n=alice,r=abc")
    assert isinstance(first, bytes)
    nonce, salt, rounds = (field[2:] for field in first.split(b","))
    key = pbkdf2_hmac("sha256", b"secret", b64decode(salt), int(rounds))
    client, final = digest(key, b"Client Key", "sha256"), b"c=biws,r=" + nonce
    exchanged = b",".join((b"n=alice,r=abc", first, final))
    mask = digest(sha256(client).digest(), exchanged, "sha256")
    proof = b64encode(bytes(a ^ b for a, b in zip(client, mask, strict=True)))
    attempt = attempted(scram.respond(final + b",p=" + proof))
    assert attempt.name == "alice"
    assert not attempt.proof(OTHER)
    assert attempt.proof(VERIFIER)
    assert scram.success() == b"v=" + b64encode(digest(digest(key, b"Server Key", "sha256"), exchanged, "sha256"))


@pytest.mark.parametrize("message", [b"", b"p=tls-unique,,n=alice,r=abc", b"n,,n=,r=abc", b"n,,r=abc", b"x" * 5000])
def test_what_is_not_scram_is_refused(message: bytes) -> None:
    with pytest.raises(SaslError):
        begun("SCRAM-SHA-256").respond(message)


def test_other_mechanisms_are_not_there() -> None:
    assert mechanism("GSSAPI", bytes, lambda name: SALT) is None
