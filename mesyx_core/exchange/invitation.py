"""An invitation: one line that a server's operator gives to a client, usable once, which names no store.

The secret in it never crosses the wire. The client shows the invitation's id (a hash of the secret), so that it can be
refused with a reason before anything is signed, and then proves the secret by an HMAC over both node keys, the store
and the manifest that makes the server a member.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mesyx_core.vault import labels
from mesyx_core.vault.encoding import EncodingError, decode, digest, encode, mac

from .errors import InvitationRefused

PREFIX: Final = "mesyx1-"
LIFETIME: Final = 7 * 86400
"""Seconds for which an invitation is good unless its maker says otherwise."""
SECRET_SIZE: Final = 16
ID_SIZE: Final = 16
MAX_LINE: Final = 4096
_CHECK: Final = 4
_MAX_COUNT: Final = 32
_MAX_TEXT: Final = 320  # an address: 64 + 1 + 255 octets (RFC 5321, section 4.5.3.1)
ROLES: Final = frozenset({"accept", "exchange", "client", "reencrypt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What the line holds."""

    node: bytes
    """Public key of the node that invites."""
    dial: tuple[str, ...]
    """Transport URLs under which it can be dialled."""
    roles: frozenset[str]
    """What it offers to do for the store."""
    addresses: tuple[str, ...] = ()
    """Mail addresses it grants; the client picks among them."""
    secret: bytes
    expires: int
    """Unix seconds."""

    @property
    def id(self) -> bytes:
        """16 bytes that name it without giving the secret away."""
        return digest(labels.INVITATION_ID, self.secret)[:ID_SIZE]

    def expired(self, now: float) -> bool:
        return now >= self.expires

    def encode(self) -> str:
        """One line of URL-safe text."""
        body = encode(
            (
                1,
                self.node,
                self.dial,
                self.addresses,
                sorted(self.roles),
                self.secret,
                self.expires,
            )
        )
        return PREFIX + base64.urlsafe_b64encode(body + _check(body)).rstrip(b"=").decode("ascii")

    def __repr__(self) -> str:
        return f"<Invitation {self.id.hex()[:8]}>"


def make(
    node: bytes,
    dial: tuple[str, ...],
    roles: frozenset[str],
    addresses: tuple[str, ...],
    now: float,
    random: Callable[[int], bytes],
    lifetime: int = LIFETIME,
) -> Invitation:
    """A new invitation by the node with public key `node`; `lifetime` in seconds."""
    return Invitation(
        node=node,
        dial=dial,
        roles=roles,
        addresses=addresses,
        secret=random(SECRET_SIZE),
        expires=int(now) + lifetime,
    )


def decode_line(line: str) -> Invitation:
    """The invitation in a line as pasted (white space around and within is forgiven). Raises InvitationRefused."""
    text = "".join(line[: 2 * MAX_LINE].split())
    if len(text) > MAX_LINE:
        raise InvitationRefused("this is too long for an invitation")
    if not text.startswith(PREFIX):
        if text.startswith("mesyx") and "-" in text[:9]:
            raise InvitationRefused("this invitation is of another version", "use the same release on both nodes")
        raise InvitationRefused("this is not an invitation", f"it starts with {PREFIX}")
    raw = _unpack(text[len(PREFIX) :])
    body, check = raw[:-_CHECK], raw[-_CHECK:]
    if not hmac.compare_digest(_check(body), check):
        raise InvitationRefused("this invitation is incomplete or mistyped", "copy the whole line again")
    try:
        return _read(decode(body, limit=MAX_LINE, depth=2, items=4 * _MAX_COUNT))
    except (EncodingError, ValueError, TypeError):
        raise InvitationRefused("this invitation makes no sense", "ask for a new one") from None


def proof(secret: bytes, server: bytes, client: bytes, store: bytes, manifest: bytes) -> bytes:
    """What a client presents for it: HMAC by the secret over both keys, the store and the manifest's hash."""
    return mac(secret, labels.INVITATION, server, client, store, manifest)


def proved(shown: bytes, secret: bytes, server: bytes, client: bytes, store: bytes, manifest: bytes) -> bool:
    """Whether `shown` is that proof, in constant time."""
    return hmac.compare_digest(shown, proof(secret, server, client, store, manifest))


def _unpack(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvitationRefused("this invitation is incomplete or mistyped", "copy the whole line again") from None


def _check(body: bytes) -> bytes:
    """Finds slips of copying, not attacks: whoever can change the line can make their own."""
    return hashlib.sha256(body).digest()[:_CHECK]


def _read(value: Any) -> Invitation:
    version, node, dial, addresses, roles, secret, expires = value
    if version != 1:
        raise InvitationRefused("this invitation is of another version", "use the same release on both nodes")
    if not (isinstance(node, bytes) and len(node) == 32 and isinstance(secret, bytes) and len(secret) == SECRET_SIZE):
        raise ValueError("keys")
    if not isinstance(expires, int) or isinstance(expires, bool) or not 0 <= expires < 1 << 40:
        raise ValueError("expiry")
    named = frozenset(_texts(roles))
    if not named <= ROLES:
        raise ValueError("roles")
    return Invitation(
        node=node, dial=_texts(dial), roles=named, addresses=_texts(addresses), secret=secret, expires=expires
    )


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MAX_COUNT:
        raise ValueError("a list")
    if not all(isinstance(text, str) and 0 < len(text) <= _MAX_TEXT and text.isprintable() for text in value):
        raise ValueError("texts")
    return tuple(value)
