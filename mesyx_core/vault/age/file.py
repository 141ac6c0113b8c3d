"""Whole age files: encrypt to recipients or a passphrase, and the way back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from . import header, payload
from .armor import decode as dearmor
from .armor import encode as enarmor
from .armor import is_armored
from .errors import AgeError, HeaderError, NoMatch
from .header import FILE_KEY_SIZE, Stanza
from .identity import Identity, parse_recipient
from .recipients import (
    CLASSIC_SIZE,
    SALT_SIZE,
    SCRYPT,
    unwrap_scrypt,
    wrap_classic,
    wrap_hybrid,
    wrap_scrypt,
)

LARGEST: Final = 64 << 20
"""Most bytes of a plaintext; all is held in memory."""
LARGEST_FILE: Final = LARGEST // 2 * 3
"""Most bytes of a file; armor adds a good third."""


def encrypt(
    plaintext: bytes,
    recipients: Sequence[str],
    *,
    armor: bool = False,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The age file of `plaintext` to these recipients, all hybrid or all classic; AgeError otherwise.

    [A classic recipient beside hybrid ones would take the post-quantum claim from the file.]
    """
    keys = [parse_recipient(recipient) for recipient in recipients]
    if not 0 < len(keys) <= header.MOST_STANZAS or len({key.kind for key in keys}) != 1:
        raise AgeError("a file is sealed to hybrid recipients or to classic ones")
    file_key = random(FILE_KEY_SIZE)
    stanzas = [
        wrap_hybrid(file_key, key.public)
        if key.kind == "hybrid"
        else wrap_classic(file_key, key.public, random(CLASSIC_SIZE))
        for key in keys
    ]
    return _write(stanzas, file_key, plaintext, armor, random)


def decrypt(file: bytes, identities: Sequence[Identity]) -> bytes:
    """The plaintext of a file, armored or not, that is sealed to one of these identities.

    Raises NoMatch, HeaderError, PayloadError or ArmorError, and then has given nothing away.
    """
    file = _binary(file)
    found = _read(file)
    return _finish(file, found, _first(_unwrapped(found.stanzas, identities)))


def encrypt_to(
    plaintext: bytes,
    wrap: Callable[[bytes], Sequence[Stanza]],
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The age file of `plaintext` to whoever `wrap` seals the file key to; AgeError where it gives no stanza."""
    file_key = random(FILE_KEY_SIZE)
    stanzas = wrap(file_key)
    if not 0 < len(stanzas) <= header.MOST_STANZAS:
        raise AgeError("a file is sealed to somebody")
    return _write(stanzas, file_key, plaintext, False, random)


def decrypt_by(file: bytes, unwrap: Callable[[Sequence[Stanza]], bytes | None]) -> bytes:
    """The plaintext of a file whose key `unwrap` finds in its stanzas. Raises as `decrypt` does."""
    file = _binary(file)
    found = _read(file)
    return _finish(file, found, _first([unwrap(found.stanzas)]))


def encrypt_passphrase(
    plaintext: bytes,
    passphrase: str,
    *,
    work: int = 18,
    armor: bool = False,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The age file of `plaintext` under a passphrase; scrypt costs 2^`work` (18: about a second and 256 MiB)."""
    if not 1 <= work <= 22:
        raise AgeError("a work factor is 1 to 22")
    file_key = random(FILE_KEY_SIZE)
    stanza = wrap_scrypt(file_key, passphrase, random(SALT_SIZE), work)
    return _write([stanza], file_key, plaintext, armor, random)


def decrypt_passphrase(file: bytes, passphrase: str, max_work: int = 22) -> bytes:
    """The plaintext of a passphrase file; a dearer one than `max_work` is a HeaderError. Raises as `decrypt` does.

    Opening takes 2^work KiB of memory, so a file from a stranger asks for a lower `max_work` (22 is 4 GiB).
    """
    file = _binary(file)
    found = _read(file)
    keys = (unwrap_scrypt(stanza, passphrase, max_work) for stanza in found.stanzas if stanza.type == SCRYPT)
    return _finish(file, found, _first(keys))


def _write(
    stanzas: Sequence[Stanza], file_key: bytes, plaintext: bytes, armored: bool, random: Callable[[int], bytes]
) -> bytes:
    if len(plaintext) > LARGEST:
        raise AgeError("too large to be sealed in memory")
    file = header.write(stanzas, file_key) + payload.seal(file_key, random(payload.NONCE_SIZE), plaintext)
    return enarmor(file) if armored else file


def _binary(file: bytes) -> bytes:
    if len(file) > LARGEST_FILE:
        raise AgeError("too large to be opened in memory")
    return dearmor(file) if is_armored(file) else file


def _read(file: bytes) -> header.Header:
    found = header.read(file)
    if len(found.stanzas) > 1 and any(stanza.type == SCRYPT for stanza in found.stanzas):
        raise HeaderError("a passphrase beside other recipients")
    return found


def _unwrapped(stanzas: Iterable[Stanza], identities: Sequence[Identity]) -> Iterable[bytes | None]:
    for stanza in stanzas:
        for identity in identities:
            if identity.key.type == stanza.type:
                yield identity.key.unwrap(stanza)


def _first(keys: Iterable[bytes | None]) -> bytes:
    for key in keys:
        if key is not None:
            return key
    raise NoMatch("sealed to none of the keys at hand")


def _finish(file: bytes, found: header.Header, file_key: bytes) -> bytes:
    header.check(found, file_key)
    return payload.open_(file_key, memoryview(file)[found.end :])
