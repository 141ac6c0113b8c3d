"""SASL as in the RFCs' own examples, and nothing beyond them."""

import contextlib
from base64 import b64decode, b64encode
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core.wire import sasl

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def exchange() -> sasl.Scram:
    """RFC 7677, section 3, whose server nonce happens to be text: it is put in as it stands there."""
    scram = sasl.Scram(b"")
    scram._nonce = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    return scram


def test_the_example_of_rfc_7677() -> None:
    scram = exchange()
    first = scram.challenge(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", lambda name: SALT)
    assert first == b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert scram.name == "user"
    proof = scram.respond(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert not proof(sasl.make_verifier("other", SALT).pack())
    with pytest.raises(sasl.SaslError):
        scram.success()
    assert proof(sasl.make_verifier("pencil", SALT).pack())
    assert scram.success() == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,n=,r=x",
        b"n,,n=user",
        b"n,,n=user,r=",
        b"n,,m=ext,n=user,r=x",
        b"n,,n=us=er,r=x",
        b"n,user,n=user,r=x",
        b"p=tls-unique,,n=user,r=x",
        b"n,,n=\xff,r=x",
        b"n,,n=user,r=" + b"x" * 5000,
    ],
)
def test_a_malformed_first_message_is_refused(message: bytes) -> None:
    with pytest.raises(sasl.SaslError):
        sasl.Scram(b"0" * 18).challenge(message, lambda name: SALT)


def test_a_final_message_of_another_exchange_is_refused() -> None:
    scram = exchange()
    scram.challenge(b"n,,n=user,r=abc", lambda name: SALT)
    proof = b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    for message in (b"c=biws,r=abc" + proof, b"c=eSws,r=abc%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" + proof, b"c=biws", b""):
        with pytest.raises(sasl.SaslError):
            scram.respond(message)


def test_names_are_unescaped_and_asked_for_as_prepared() -> None:
    scram = sasl.Scram(b"0" * 18)
    first = scram.challenge(b"n,a=bob,n=a=2Cb=3Dc,r=x", lambda name: name.encode())
    assert b"s=" + b64encode(b"a,b=c") in first
    assert (scram.name, scram.authorize) == ("a,b=c", "bob")


def test_plain_is_checked_against_the_same_verifier() -> None:
    verifier = sasl.make_verifier("p\u00e9ncil", SALT)
    assert sasl.Verifier.unpack(verifier.pack()) == verifier
    assert sasl.check_plain(verifier, "pe\u0301ncil")
    assert not sasl.check_plain(verifier, "pencil")


def test_plain_stretches_once_for_all_verifiers_of_one_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    verifiers = [sasl.make_verifier(p, SALT).pack() for p in ("a", "b", "c")]
    stretched = Mock(wraps=sasl.make_verifier)
    monkeypatch.setattr(sasl, "make_verifier", stretched)
    proof = sasl.plain_proof("c")
    assert [proof(v) for v in verifiers] == [False, False, True]
    assert stretched.call_count == 1


def test_plain_messages() -> None:
    assert sasl.parse_plain(b"\0alice\0secret") == ("", "alice", "secret")
    assert sasl.parse_plain(b"bob\0alice\0secret") == ("bob", "alice", "secret")
    for bad in (b"", b"alice", b"\0alice\0", b"\0\0secret", b"\0a\0b\0c", b"\0\xff\0b", b"\0a\0" + b"x" * 5000):
        with pytest.raises(sasl.SaslError):
            sasl.parse_plain(bad)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX")],
)
def test_saslprep_examples_of_rfc_4013(text: str, prepared: str) -> None:
    assert sasl.prepare(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u06271"])
def test_saslprep_prohibits(text: str) -> None:
    with pytest.raises(sasl.SaslError):
        sasl.prepare(text)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_sasl_error(first: bytes, second: bytes) -> None:
    scram = sasl.Scram(b"0" * 18)
    for step in (
        lambda: sasl.parse_plain(first),
        lambda: sasl.Verifier.unpack(first),
        lambda: scram.challenge(b"n,," + first, lambda name: SALT),
        lambda: scram.challenge(b"n,,n=u,r=x", lambda name: SALT),
        lambda: scram.respond(second)(first),
    ):
        with contextlib.suppress(sasl.SaslError):
            step()
