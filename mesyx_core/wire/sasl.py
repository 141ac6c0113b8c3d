"""SASL on the server's side: PLAIN (RFC 4616), SCRAM-SHA-256 (RFC 5802, RFC 7677), and verifiers for both.

A verifier is what a node keeps of an app password; the password cannot be had from it. Several app passwords of
one store share one salt, so that SCRAM, which shows the salt before it knows the password, can try its proof on each.
"""

from __future__ import annotations

import hashlib
import hmac
import stringprep
import struct
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import NamedTuple

from mesyx_core.api import Refused

ITERATIONS = 4096
"""PBKDF2 rounds: RFC 7677's minimum, since app passwords are drawn at random and not chosen by people."""

LIMIT = 4096
"""Longest SASL message that is looked at, in bytes, base64 removed."""

_HEAD = struct.Struct(">BI32s32s")


class SaslError(Refused):
    """Not what the mechanism's RFC allows. Says nothing of names or passwords."""


class Verifier(NamedTuple):
    """RFC 5802, section 3: enough to check a password or a proof, and to prove in turn that the server knows it."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def pack(self) -> bytes:
        """Versioned bytes for the node's sealed state."""
        return _HEAD.pack(1, self.iterations, self.stored_key, self.server_key) + self.salt

    @classmethod
    def unpack(cls, data: bytes) -> Verifier:
        """Raises SaslError on anything that `pack` has not made."""
        if not _HEAD.size < len(data) <= _HEAD.size + 64 or data[0] != 1:
            raise SaslError("not a verifier of a version that is known here")
        _, iterations, stored, server = _HEAD.unpack_from(data)
        return cls(data[_HEAD.size :], iterations, stored, server)


def make_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """What to keep of `password`. Takes a few milliseconds. Raises SaslError when SASLprep forbids the password."""
    return _derive(prepare(password).encode(), salt, iterations)


def check_plain(verifier: Verifier, password: str) -> bool:
    """Whether this is the password, in constant time."""
    return plain_proof(password)(verifier.pack())


def plain_proof(password: str) -> Callable[[bytes], bool]:
    """For `Context.login`: whether a packed verifier is of `password`. Stretches once per salt, not per verifier."""
    derived: dict[tuple[bytes, int], Verifier] = {}

    def proof(packed: bytes) -> bool:
        try:
            verifier = Verifier.unpack(packed)
            at = verifier.salt, verifier.iterations
            if at not in derived:
                derived[at] = make_verifier(password, *at)
        except SaslError:
            return False
        return hmac.compare_digest(derived[at].stored_key, verifier.stored_key)

    return proof


class Plain(NamedTuple):
    """The one message of PLAIN."""

    authorize: str
    """Whom to act as; empty: the same as `name`."""
    name: str
    password: str


def parse_plain(message: bytes) -> Plain:
    """Read [authzid] NUL authcid NUL passwd (RFC 4616, section 2). Raises SaslError."""
    parts = message.split(b"\0") if len(message) <= LIMIT else []
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslError("malformed PLAIN message")
    try:
        authorize, name, password = (part.decode() for part in parts)
    except UnicodeDecodeError:
        raise SaslError("PLAIN message is not UTF-8") from None
    return Plain(authorize, prepare(name), password)


class Scram:
    """One SCRAM-SHA-256 exchange as the server: `challenge`, `respond`, then `success` if a proof was fulfilled.

    `nonce`: at least 18 fresh random bytes. Channel binding is not offered; a client that says so is believed.
    """

    def __init__(self, nonce: bytes) -> None:
        self.name = ""
        """Who logs in; known after `challenge`."""
        self.authorize = ""
        """Whom to act as; empty: the same as `name`."""
        self._nonce = b64encode(nonce)
        self._header = self._bare = self._first = b""
        self._signature: bytes | None = None

    def challenge(self, message: bytes, salt: Callable[[str], bytes], iterations: int = ITERATIONS) -> bytes:
        """Read client-first-message, give server-first-message. `salt` is asked for the name; it knows all names."""
        header, bare = _gs2(message)
        fields = _fields(bare, b"nr")
        self.authorize = _saslname(header.split(b",")[1][2:])
        self.name = prepare(_saslname(fields[0]))
        if not self.name or not _printable(fields[1]):
            raise SaslError("malformed SCRAM message")
        self._header, self._bare, self._nonce = header, bare, fields[1] + self._nonce
        self._first = b"r=%b,s=%b,i=%d" % (self._nonce, b64encode(salt(self.name)), iterations)
        return self._first

    def respond(self, message: bytes) -> Callable[[bytes], bool]:
        """Read client-final-message, give the proof for `Context.login`. Raises SaslError."""
        if not self._first:
            raise SaslError("SCRAM messages out of order")
        without, _, proof = message.rpartition(b",p=")
        fields = _fields(without, b"cr") if len(message) <= LIMIT else []
        client = _base64(proof)
        if not fields or _base64(fields[0]) != self._header or len(client) != 32:
            raise SaslError("malformed SCRAM message")
        if not hmac.compare_digest(fields[1], self._nonce):
            raise SaslError("SCRAM nonce of another exchange")
        return lambda packed: self._fulfils(packed, client, b",".join((self._bare, self._first, without)))

    def success(self) -> bytes:
        """The server-final-message, by which the client knows the server. Raises SaslError before a match."""
        if self._signature is None:
            raise SaslError("SCRAM proof not fulfilled")
        return b"v=" + b64encode(self._signature)

    def _fulfils(self, packed: bytes, proof: bytes, exchanged: bytes) -> bool:
        try:
            verifier = Verifier.unpack(packed)
        except SaslError:
            return False
        signature = _mac(verifier.stored_key, exchanged)
        key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(key).digest(), verifier.stored_key):
            return False
        self._signature = _mac(verifier.server_key, exchanged)
        return True


def prepare(text: str) -> str:
    """SASLprep (RFC 4013): one form for names and passwords that look alike. Raises SaslError for what it prohibits."""
    if text.isascii():
        if not text.isprintable():
            raise SaslError("control character in a name or password")
        return text
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    done = unicodedata.normalize("NFKC", mapped)
    if any(prohibited(c) for c in done for prohibited in _PROHIBITED):
        raise SaslError("character in a name or password that SASLprep prohibits")
    if any(map(stringprep.in_table_d1, done)) and (
        any(map(stringprep.in_table_d2, done))
        or not (stringprep.in_table_d1(done[0]) and stringprep.in_table_d1(done[-1]))
    ):
        raise SaslError("name or password mixes writing directions")
    return done


_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def _derive(password: bytes, salt: bytes, iterations: int) -> Verifier:
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    stored = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    return Verifier(salt, iterations, stored, _mac(salted, b"Server Key"))


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _gs2(message: bytes) -> tuple[bytes, bytes]:
    flag, _, rest = message.partition(b",")
    authorize, comma, bare = rest.partition(b",")
    if len(message) > LIMIT or not comma or (authorize and not authorize.startswith(b"a=")):
        raise SaslError("malformed SCRAM message")
    if flag not in (b"n", b"y"):
        raise SaslError("SCRAM channel binding is not offered here")
    return b"%b,%b," % (flag, authorize), bare


def _fields(message: bytes, names: bytes) -> list[bytes]:
    """Values of `names`, which come first and in order; so m= is refused, other extensions are passed over."""
    parts = message.split(b",")
    if len(parts) < len(names) or any(part[:2] != b"%c=" % name for name, part in zip(names, parts, strict=False)):
        raise SaslError("malformed SCRAM message")
    return [part[2:] for part in parts[: len(names)]]


def _saslname(value: bytes) -> str:
    for at in range(len(value)):
        if value[at] == 0x3D and value[at : at + 3] not in (b"=2C", b"=3D"):
            raise SaslError("malformed SCRAM name")
    try:
        return value.replace(b"=2C", b",").replace(b"=3D", b"=").decode()
    except UnicodeDecodeError:
        raise SaslError("SCRAM name is not UTF-8") from None


def _base64(value: bytes) -> bytes:
    try:
        return b64decode(value, validate=True)
    except ValueError:
        raise SaslError("malformed base64") from None


def _printable(nonce: bytes) -> bool:
    return bool(nonce) and all(0x21 <= c <= 0x7E for c in nonce)
