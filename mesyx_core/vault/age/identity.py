"""Identities and recipients as text, as age-keygen writes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal, NamedTuple, NoReturn

from . import bech32
from .errors import AgeError
from .recipients import CLASSIC_SIZE, HYBRID_SIZE, SEED_SIZE, ClassicKey, HybridKey, classic_public, hybrid_public

_CLASSIC_PRIVATE: Final = "age-secret-key-"
_HYBRID_PRIVATE: Final = "age-secret-key-pq-"
_CLASSIC: Final = "age"
_HYBRID: Final = "age1pq"


class Identity:
    """A private key and the recipient that belongs to it."""

    __slots__ = ("_key", "_secret", "recipient")

    recipient: str
    """age1… or age1pq1…"""

    def __init__(self, secret: bytes, key: ClassicKey | HybridKey) -> None:
        self._secret = secret
        self._key = key
        self.recipient = bech32.encode(_HYBRID if isinstance(key, HybridKey) else _CLASSIC, key.public)

    @classmethod
    def classic(cls, secret: bytes) -> Identity:
        """The X25519 identity of 32 secret bytes."""
        return cls(_sized(secret), ClassicKey(secret))

    @classmethod
    def hybrid(cls, seed: bytes) -> Identity:
        """The hybrid identity of a 32-byte seed."""
        return cls(_sized(seed), HybridKey(seed))

    @property
    def key(self) -> ClassicKey | HybridKey:
        """What unwraps a stanza."""
        return self._key

    @property
    def text(self) -> str:
        """AGE-SECRET-KEY-1… or AGE-SECRET-KEY-PQ-1…, as in an age identity file."""
        prefix = _HYBRID_PRIVATE if isinstance(self._key, HybridKey) else _CLASSIC_PRIVATE
        return bech32.encode(prefix, self._secret).upper()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.recipient == other.recipient

    def __hash__(self) -> int:
        return hash(self.recipient)

    def __repr__(self) -> str:
        return f"<Identity {self.recipient[:16]}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity is stored as its text only, where that is meant")


class Recipient(NamedTuple):
    """A recipient as parsed: its kind and public key."""

    kind: Literal["x25519", "hybrid"]
    public: bytes


def generate(hybrid: bool = True, random: Callable[[int], bytes] = os.urandom) -> Identity:
    """A new identity; hybrid (post-quantum) unless asked otherwise."""
    secret = random(SEED_SIZE)
    return Identity.hybrid(secret) if hybrid else Identity.classic(secret)


def parse_identity(text: str) -> Identity:
    """The identity in a line of an age identity file; AgeError if it is none."""
    prefix, secret = bech32.decode(text)
    if text != text.upper() or len(secret) != SEED_SIZE:
        raise AgeError("not an age identity")
    if prefix == _HYBRID_PRIVATE:
        return Identity.hybrid(secret)
    if prefix == _CLASSIC_PRIVATE:
        return Identity.classic(secret)
    raise AgeError("not an age identity")


def check_recipient(text: str) -> Literal["x25519", "hybrid"]:
    """Which kind of recipient this is; AgeError if it is none, or one that everybody could open."""
    return parse_recipient(text).kind


@lru_cache(maxsize=1_024)
def parse_recipient(text: str) -> Recipient:
    """The kind and public key of a recipient; AgeError."""
    prefix, public = bech32.decode(text)
    if text == text.lower():
        if prefix == _CLASSIC and len(public) == CLASSIC_SIZE:
            classic_public(public)
            return Recipient("x25519", public)
        if prefix == _HYBRID and len(public) == HYBRID_SIZE:
            hybrid_public(public)
            return Recipient("hybrid", public)
    raise AgeError("not an age recipient")


def _sized(secret: bytes) -> bytes:
    if len(secret) != SEED_SIZE:
        raise AgeError("an identity has 32 secret bytes")
    return secret
