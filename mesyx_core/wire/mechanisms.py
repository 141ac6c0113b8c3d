"""The SASL mechanisms that listeners offer, as a conversation without a socket: what IMAP and submission share.

A mechanism is told each response and gives the next challenge, until it gives an `Attempt` for `Context.login`. Once
that has succeeded, `success` may have something that the client is still to be shown before it is let in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from mesyx_core.wire.sasl import Plain, SaslError, Scram, parse_plain, plain_proof, prepare

NONCE: Final = 18
"""Random bytes in a SCRAM server's nonce."""


class Attempt(NamedTuple):
    """Somebody who wants in. An empty `name` is nobody's: refuse it as a wrong password would be."""

    name: str
    proof: Callable[[bytes], bool]


class Mechanism(Protocol):
    """One log-in. Raises SaslError for what its RFC does not allow."""

    @property
    def opening(self) -> bytes:
        """The challenge to who began without an initial response."""

    def respond(self, response: bytes) -> bytes | Attempt:
        """The next challenge, or who it is."""

    def success(self) -> bytes | None:
        """After the proof was fulfilled: one more challenge, which an empty response answers; or None."""


class PlainMechanism:
    """PLAIN (RFC 4616)."""

    opening = b""

    def respond(self, response: bytes) -> bytes | Attempt:
        try:
            given = parse_plain(response)
        except SaslError:
            given = Plain("", "", "")
        return _attempt(given.authorize, given.name, plain_proof(given.password))

    def success(self) -> bytes | None:
        return None


class LoginMechanism:
    """LOGIN: never standardised, and what some mail programs speak alone (draft-murchison-sasl-login)."""

    opening = b"Username:"

    def __init__(self) -> None:
        self._name: str | None = None

    def respond(self, response: bytes) -> bytes | Attempt:
        try:
            text = prepare(response.decode())
        except (SaslError, UnicodeDecodeError):
            text = ""
        if self._name is None:
            self._name = text
            return b"Password:"
        return _attempt("", self._name if text else "", plain_proof(text))

    def success(self) -> bytes | None:
        return None


class ScramMechanism:
    """SCRAM-SHA-256 (RFC 7677)."""

    opening = b""

    def __init__(self, random: Callable[[int], bytes], salt: Callable[[str], bytes]) -> None:
        self._scram = Scram(random(NONCE))
        self._salt = salt
        self._challenged = False

    def respond(self, response: bytes) -> bytes | Attempt:
        if not self._challenged:
            self._challenged = True
            return self._scram.challenge(response, self._salt)
        return _attempt(self._scram.authorize, self._scram.name, self._scram.respond(response))

    def success(self) -> bytes | None:
        return self._scram.success()


def mechanism(name: str, random: Callable[[int], bytes], salt: Callable[[str], bytes]) -> Mechanism | None:
    """A fresh conversation by a mechanism's name; None when there is none of that name. `salt` is `Context.salt`."""
    match name.upper():
        case "SCRAM-SHA-256":
            return ScramMechanism(random, salt)
        case "PLAIN":
            return PlainMechanism()
        case "LOGIN":
            return LoginMechanism()
    return None


def _attempt(authorize: str, name: str, proof: Callable[[bytes], bool]) -> Attempt:
    """Nobody may act as somebody else."""
    return Attempt(name if authorize in ("", name) else "", proof)
