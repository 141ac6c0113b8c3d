"""Logging in to a smarthost (RFC 4954): SCRAM-SHA-256, PLAIN or LOGIN, as the client."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

from mesyx_core.api import Temporary
from mesyx_core.wire.sasl import SaslError, prepare

ITERATIONS: Final = (4096, 600_000)
"""SCRAM rounds that a server may ask for: RFC 7677's least, and what takes us a quarter of a second."""
LONGEST: Final = 4096


class AuthError(Temporary):
    """The server offers no way that we take, or does not say what the mechanism's RFC asks for."""


class Login(NamedTuple):
    """Who logs in."""

    name: str
    password: str
    nonce: bytes
    """Fresh random bytes, at least 18."""


class Mechanism(Protocol):
    """One exchange. Messages are without base64."""

    name: str
    proved: bool
    """The server has shown all that it must before its yes counts."""

    def first(self) -> bytes | None:
        """The initial response, if the mechanism has one."""

    def respond(self, challenge: bytes) -> bytes:
        """What to say to a challenge. Raises AuthError."""


def choose(login: Login, offered: Collection[str]) -> Mechanism:
    """The best mechanism that both know. Raises AuthError."""
    if "SCRAM-SHA-256" in offered:
        return Scram(login)
    if "PLAIN" in offered:
        return Fixed("PLAIN", f"\0{login.name}\0{login.password}".encode())
    if "LOGIN" in offered:  # never standardised: asks for the name, then for the password, in any words
        return Fixed("LOGIN", None, login.name.encode(), login.password.encode())
    raise AuthError("the server offers none of SCRAM-SHA-256, PLAIN and LOGIN")


def encode(response: bytes) -> str:
    """A response for the wire."""
    return b64encode(response).decode("ascii")


def decode(text: str | bytes) -> bytes:
    """A challenge off the wire. Raises AuthError."""
    try:
        if len(text) <= LONGEST:
            return b64decode(text, validate=True)
    except ValueError:
        pass
    raise AuthError("a challenge is not base64")


class Fixed:
    """PLAIN and LOGIN: what is said does not depend on what is heard."""

    def __init__(self, name: str, first: bytes | None, *responses: bytes) -> None:
        self.name = name
        self.proved = True
        self._first = first
        self._responses = list(responses)

    def first(self) -> bytes | None:
        return self._first

    def respond(self, challenge: bytes) -> bytes:
        if not self._responses:
            raise AuthError("the server asks for more than the mechanism has")
        return self._responses.pop(0)


class Scram:
    """SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding. The password never leaves."""

    name = "SCRAM-SHA-256"

    def __init__(self, login: Login) -> None:
        self.proved = False
        self._password = _prepared(login.password).encode()
        self._nonce = b64encode(login.nonce)
        name = _prepared(login.name).replace("=", "=3D").replace(",", "=2C").encode()
        self._bare = b"n=%b,r=%b" % (name, self._nonce)
        self._signature = b""

    def first(self) -> bytes | None:
        return b"n,," + self._bare

    def respond(self, challenge: bytes) -> bytes:
        if not self._signature:
            return self._proof(challenge)
        if self.proved or not hmac.compare_digest(challenge, b"v=" + b64encode(self._signature)):
            raise AuthError("the server does not know the password")
        self.proved = True
        return b""

    def _proof(self, challenge: bytes) -> bytes:
        salt, rounds, nonce = self._challenge(challenge)
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, rounds)
        client = _mac(salted, b"Client Key")
        without = b"c=biws,r=" + nonce
        said = b",".join((self._bare, challenge, without))
        signature = _mac(hashlib.sha256(client).digest(), said)
        self._signature = _mac(_mac(salted, b"Server Key"), said)
        return b"%b,p=%b" % (without, b64encode(bytes(a ^ b for a, b in zip(client, signature, strict=True))))

    def _challenge(self, message: bytes) -> tuple[bytes, int, bytes]:
        fields = [part.partition(b"=") for part in message.split(b",")]
        if [name for name, _, _ in fields[:3]] != [b"r", b"s", b"i"]:
            raise AuthError("malformed SCRAM challenge")
        nonce, salt, rounds = (value for _, _, value in fields[:3])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise AuthError("SCRAM nonce of another exchange")
        if not rounds.isdigit() or len(rounds) > 9 or not ITERATIONS[0] <= int(rounds) <= ITERATIONS[1]:
            raise AuthError("the server asks for too few or too many SCRAM rounds")
        return decode(salt), int(rounds), nonce


def _prepared(text: str) -> str:
    try:
        return prepare(text)
    except SaslError:
        raise AuthError("the name or the password has a character that SASLprep prohibits") from None


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
