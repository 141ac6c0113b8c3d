"""How bytes are made for hashes, MACs and signatures: "mesyx/1 LABEL" NUL, then one deterministic CBOR array."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

PREFIX: Final = b"mesyx/1 "
_SHA256: Final = SHA256()

_CONTAINERS: Final = (4, 5)
_STRINGS: Final = (2, 3)
_SIMPLE: Final = frozenset((0xF4, 0xF5, 0xF6))
_FLOATS: Final = {0xF9: 2, 0xFA: 4, 0xFB: 8}
_TAG: Final = 6
_SPECIAL: Final = 7


class Item(bytes):
    """Exactly one CBOR item, by the way it was made: only who has just encoded it may call it so. What comes from
    elsewhere stays plain bytes, which are looked through before they are trusted."""

    __slots__ = ()


class EncodingError(ValueError):
    """Bytes that are not the one deterministic CBOR item they should be, or exceed their bounds."""


def encode(value: Any) -> bytes:
    """Deterministic CBOR (RFC 8949, 4.2.1) of plain values: int, float, bytes, str, bool, None, list, tuple, dict.

    The keys of a dict are of one type, and integer keys are not negative; ints fit in 64 bits.
    """
    return cbor2.dumps(value, canonical=True)


def encode_ordered(value: Any) -> bytes:
    """What `encode` gives, but sooner, for a value without floats whose dicts have their keys in order already:
    ascending ints, or strings by their length in UTF-8, then bytewise.
    """
    return cbor2.dumps(value)


def labelled(label: str, *values: Any) -> bytes:
    """The input of a hash, MAC or signature: label and values, unambiguous for any values."""
    return PREFIX + label.encode("ascii") + b"\x00" + encode(list(values))


def digest(label: str, *values: Any) -> bytes:
    """SHA-256 over the labelled values, 32 bytes."""
    return hashlib.sha256(labelled(label, *values)).digest()


def hmac_sha256(key: bytes | bytearray, data: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes. [Not hmac.digest: it lets go of the interpreter's lock for a microsecond's work, and under
    load waits far longer to have it back.]"""
    made = HMAC(bytes(key), _SHA256)
    made.update(data)
    return made.finalize()


def mac(key: bytes, label: str, *values: Any) -> bytes:
    """HMAC-SHA256 over the labelled values, 32 bytes."""
    return hmac_sha256(key, labelled(label, *values))


def decode(data: bytes, *, limit: int, depth: int = 16, items: int = 100_000) -> Any:
    """The plain value whose deterministic encoding `data` is; arrays become lists.

    Refuses with EncodingError what is longer than `limit` bytes, nested deeper than `depth` containers, made of more
    than `items` items, followed by anything, or encoded in any other way than `encode` does; also tags, indefinite
    lengths and simple values other than false, true and null.
    """
    if len(data) > limit:
        raise EncodingError("longer than allowed")
    if extent(data, depth=depth, items=items) != len(data):
        raise EncodingError("bytes after the item")
    try:
        value = cbor2.loads(data)
        again = encode(value)
    except (cbor2.CBORDecodeError, cbor2.CBOREncodeError, ValueError, TypeError, OverflowError) as error:
        raise EncodingError("not a CBOR item") from error
    if again != data:
        raise EncodingError("not deterministic")
    return value


def extent(data: bytes, *, depth: int = 16, items: int = 100_000) -> int:
    """Where the CBOR item that `data` starts with ends. Looks at heads only: builds nothing, allocates nothing.

    Whatever passes is safe to hand to a decoder: sizes lie within the data, depth and count within their bounds.
    """
    at, size, left = 0, len(data), 1
    outer: list[int] = []
    while True:
        while left == 0:
            if not outer:
                return at
            left = outer.pop()
        left -= 1
        items -= 1
        if items < 0:
            raise EncodingError("too many items")
        if at >= size:
            raise EncodingError("cut short")
        head = data[at]
        at += 1
        major = head >> 5
        if major >= _TAG:
            at += _special(head)
            continue
        argument = head & 31
        if argument >= 24:
            if argument > 27:
                raise EncodingError("indefinite or reserved length")
            width = 1 << (argument - 24)
            argument = int.from_bytes(data[at : at + width], "big")
            at += width
        if major in _STRINGS:
            at += argument
        elif major in _CONTAINERS:
            if len(outer) >= depth:
                raise EncodingError("nested too deeply")
            outer.append(left)
            left = argument * (major - 3)
        if at > size:
            raise EncodingError("cut short")


def _special(head: int) -> int:
    if head >> 5 == _SPECIAL:
        if head in _SIMPLE:
            return 0
        if head in _FLOATS:
            return _FLOATS[head]
    raise EncodingError("a tag or simple value that is not used here")
