"""Bech32 (BIP 173) without its limit of 90 characters, as age uses it for keys; hybrid recipients have 1,959."""

from __future__ import annotations

import binascii
from base64 import b32decode, b32encode
from typing import Final

from .errors import AgeError

LONGEST: Final = 2_048

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TO_BASE32: Final = str.maketrans(_ALPHABET, _BASE32)
_FROM_BASE32: Final = str.maketrans(_BASE32, _ALPHABET)
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM: Final = 6


def _step_table() -> tuple[int, ...]:
    table = []
    for top in range(32):
        value = 0
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                value ^= generator
        table.append(value)
    return tuple(table)


_STEPS: Final = _step_table()


def encode(prefix: str, data: bytes) -> str:
    """The lower-case bech32 string of `data` under a lower-case prefix."""
    values = _to_fives(data)
    checksum = _polymod([*_expand(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    values += [checksum >> 5 * (_CHECKSUM - 1 - place) & 31 for place in range(_CHECKSUM)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values)}"


def decode(text: str) -> tuple[str, bytes]:
    """(lower-case prefix, data); raises AgeError for mixed case, a wrong checksum, or padding other than zeros."""
    if len(text) > LONGEST or not text.isascii() or (text != text.lower() and text != text.upper()):
        raise AgeError("not a bech32 key")
    prefix, separator, rest = text.lower().rpartition("1")
    if not separator or not prefix or len(rest) < _CHECKSUM or not prefix.isprintable() or " " in prefix:
        raise AgeError("not a bech32 key")
    try:
        values = [_VALUES[character] for character in rest]
    except KeyError:
        raise AgeError("not a bech32 key") from None
    if _polymod([*_expand(prefix), *values]) != 1:
        raise AgeError("a mistyped key: its checksum is wrong")
    return prefix, _from_fives(rest[:-_CHECKSUM])


def _expand(prefix: str) -> list[int]:
    codes = prefix.encode("ascii")
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: list[int]) -> int:
    check, steps = 1, _STEPS
    for value in values:
        check = (check & 0x1FFFFFF) << 5 ^ value ^ steps[check >> 25]
    return check


def _to_fives(data: bytes) -> list[int]:
    return [_VALUES[character] for character in b32encode(data).decode().rstrip("=").translate(_FROM_BASE32)]


def _from_fives(text: str) -> bytes:
    standard = text.translate(_TO_BASE32)
    try:
        data = b32decode(standard + "=" * (-len(standard) % 8))
    except binascii.Error:
        raise AgeError("not a bech32 key") from None
    if b32encode(data).decode().rstrip("=") != standard:
        raise AgeError("not a bech32 key: stray bits at the end")
    return data
