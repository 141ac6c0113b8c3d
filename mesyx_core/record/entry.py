"""Entries: a header that says what it is and what its payload hashes to, and the chain that orders them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

import cbor2

from mesyx_core.record import shape
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import encoding, labels

VERSION: Final = 1
MAX_HEADER: Final = 4096
MAX_PAYLOAD: Final = 1 << 20
MAX_BLOBS: Final = 32
KIND_MAX: Final = 0xFFFF


class Kind(IntEnum):
    """What an entry is, as far as a node that cannot read needs to know."""

    START = 1
    EPOCH = 2
    SEALED = 3
    CLOSE = 4
    RESEAL = 5
    PURGE = 6
    VETO = 7
    END = 8


class Origin(NamedTuple):
    """One log: an incarnation of a node, in a store."""

    store: bytes
    node: bytes
    incarnation: bytes


class Header(NamedTuple):
    """All of an entry but its payload. Entries of a kind that this version does not know are kept and passed on."""

    kind: int
    epoch: int
    """Number of the epoch a sealed entry belongs to, or that an epoch or close entry is about; else 0."""
    index: int  # type: ignore[assignment]  # tuple.index is of no use here, and this is the design's word
    """Which key of the epoch; 0 for all but sealed entries."""
    s: bytes
    """The synthetic value of a sealed entry, or the commitment of an epoch's, which so outlives its payload; 32 bytes.
    Else empty."""
    blobs: tuple[tuple[bytes, int], ...]
    """(SHA-256, size) of each blob's ciphertext."""
    size: int
    """Of the payload, in bytes."""
    sha256: bytes
    """Of the payload."""

    def encode(self) -> bytes:
        """One deterministic CBOR item."""
        return encoding.encode((VERSION, *self))


class Entry(NamedTuple):
    """A header as its bytes, and the payload; None is a stub, whose payload is missing or purged."""

    header: bytes
    payload: bytes | None

    @property
    def weight(self) -> int:
        """Bytes that it takes."""
        return len(self.header) + len(self.payload or b"")


def decode_header(data: bytes) -> Header:
    """Strict: what encodes back to the same bytes, within bounds. Raises RecordError."""
    _, kind, epoch, index, s, blobs, size, sha256 = shape.versioned(
        shape.decode(data, "an entry's header", limit=MAX_HEADER, items=8 + 3 * MAX_BLOBS + 1, depth=4),
        "an entry's header",
        8,
    )
    if s != b"":
        shape.octets(s, "an entry's header", shape.HASH)
    return Header(
        shape.number(kind, "an entry's kind", KIND_MAX, 1),
        shape.number(epoch, "an entry's epoch"),
        shape.number(index, "an entry's index"),
        s,
        tuple(_blob(blob) for blob in shape.array(blobs, "an entry's blobs", most=MAX_BLOBS)),
        shape.number(size, "an entry's size", MAX_PAYLOAD),
        shape.octets(sha256, "an entry's payload hash", shape.HASH),
    )


def known_header(data: bytes) -> Header:
    """As `decode_header`, several times faster, for bytes that it has taken before."""
    _, kind, epoch, index, s, blobs, size, sha256 = cbor2.loads(data)
    return Header(kind, epoch, index, s, tuple((digest, length) for digest, length in blobs), size, sha256)


def _blob(value: object) -> tuple[bytes, int]:
    digest, size = shape.array(value, "an entry's blobs", 2)
    return shape.octets(digest, "a blob's hash", shape.HASH), shape.number(size, "a blob's size")


def check_payload(header: Header, payload: bytes) -> None:
    """Raises RecordError unless this is the payload that the header names."""
    if len(payload) != header.size or hashlib.sha256(payload).digest() != header.sha256:
        raise RecordError("an entry's payload is not the one its header names")


def entry_id(header: bytes) -> bytes:
    """The entry's id: the hash of its header."""
    size = len(header)
    head = bytes((0x81, 0x58, size)) if 24 <= size < 256 else encoding.encode([header])[:-size]
    return hashlib.sha256(b"".join((_ID, head, header))).digest()


def chain_start(origin: Origin) -> bytes:
    """chain[0] of a log."""
    return encoding.digest(labels.CHAIN_START, *origin)


def chain_next(chain: bytes, entry: bytes) -> bytes:
    """chain[n] from chain[n-1] and the id of entry n; both 32 bytes."""
    return hashlib.sha256(_LINK + chain + _JOINT + entry).digest()


def chain_over(chain: bytes, ids: Iterable[bytes]) -> bytes:
    """The chain after all `ids`."""
    for one in ids:
        chain = hashlib.sha256(_LINK + chain + _JOINT + one).digest()
    return chain


# The constant parts of `encoding.labelled` for one and for two byte strings: these two hashes are made for every entry.
_ID: Final = encoding.labelled(labels.ENTRY)[:-1]
_JOINT: Final = b"\x58\x20"
_LINK: Final = encoding.labelled(labels.CHAIN)[:-1] + b"\x82" + _JOINT
