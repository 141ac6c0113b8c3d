"""What two nodes say to each other: a length (4 bytes, big-endian), then one deterministic CBOR array [type, field …].

Every field has a shape with bounds; what does not fit is a Violation. Types never change their meaning within a
protocol version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from mesyx_core.vault.encoding import EncodingError, decode, encode

from .errors import Violation

VERSION: Final = 1
VERSIONS: Final = (1,)
"""Protocol versions spoken: this one and, once there is one, the one before."""

NONCE_SIZE: Final = 16
MAX_STRANGER: Final = 4096
"""Bytes of a frame before the peer has shown a key and a store."""
MAX_FRAME: Final = 3 << 20
MAX_DOCUMENT: Final = 1 << 20
MAX_BATCH: Final = 4096
"""Entries in one frame."""
MAX_IDS: Final = 2048
MAX_LACKING: Final = 256
"""Payloads that are asked for in one frame."""
MAX_HEADER: Final = 16 << 10
MAX_PAYLOAD: Final = 1 << 20
MAX_PIECE: Final = 256 << 10
MAX_DEPTH: Final = 16
"""Digits of a range's prefix."""
_MAX_HEADS: Final = 64
_MAX_KNOWN: Final = 4096
_MAX_LOGS: Final = 8192
MAX_REASON: Final = 300
MAX_KEYS: Final = 128 << 10
"""Bytes of the sealed private keys that a client brings to another."""
MAX_NAME: Final = 64
MAX_SEALED: Final = 64 << 10
"""Bytes of a signal, sealed."""
MAX_HOPS: Final = 4
"""Sessions that a signal may cross."""


class Hello(NamedTuple):
    """The server's first word."""

    versions: tuple[int, ...]
    nonce: bytes


class Open(NamedTuple):
    """The client names a store, proves its key for this very connection, and shows what it has."""

    version: int
    key: bytes
    signature: bytes
    store: bytes
    heads: tuple[bytes, ...]
    """Hashes of the newest manifests it holds."""
    digest: bytes
    """Over its logs."""


class Join(NamedTuple):
    """The client shows an invitation's id instead."""

    version: int
    key: bytes
    signature: bytes
    store: bytes
    invitation: bytes


class Heads(NamedTuple):
    """The newest manifests I hold."""

    heads: tuple[bytes, ...]


class Lack(NamedTuple):
    """Send manifests other than these."""

    known: tuple[bytes, ...]


class Documents(NamedTuple):
    """Manifests, parents first; `more` follow in another frame."""

    documents: tuple[bytes, ...]
    more: bool


class Same(NamedTuple):
    """Our logs are equal."""


class Ranges(NamedTuple):
    """Digests of the sixteen parts of one range of my logs. Ranges are named by digits of a log's position."""

    prefix: str
    digests: tuple[bytes, ...]


class Equal(NamedTuple):
    """Of the sixteen parts you gave of a range, those whose bit is set are equal here."""

    prefix: str
    parts: int


class Logs(NamedTuple):
    """All logs I have in a range."""

    prefix: str
    logs: tuple[tuple[bytes, bytes, int, bytes], ...]
    """(node, incarnation, seq, chain)"""
    answer: bool
    """Give me yours."""


class Ids(NamedTuple):
    """Ids of the entries of one log after number `after`: many frames, the last with the checkpoint they lead to, so
    that the entries themselves can follow in pieces."""

    node: bytes
    incarnation: bytes
    after: int
    ids: bytes
    """32 bytes each."""
    checkpoint: bytes
    """Empty while more follow, and where they lead to a place that was shown before."""
    last: bool


class Entries(NamedTuple):
    """The entries of one log after number `after`, up to the one that the checkpoint signs, or, when it is empty, up to
    a place that ids have shown to lead to one."""

    node: bytes
    incarnation: bytes
    after: int
    entries: tuple[tuple[bytes, bytes | None], ...]
    """(header, payload)"""
    checkpoint: bytes


class Have(NamedTuple):
    """That log is durable here up to `seq`."""

    node: bytes
    incarnation: bytes
    seq: int


class Want(NamedTuple):
    """Go on after `seq` instead."""

    node: bytes
    incarnation: bytes
    seq: int


class Decline(NamedTuple):
    """No more of that log."""

    node: bytes
    incarnation: bytes
    reason: int


class Ask(NamedTuple):
    """Bytes of a blob."""

    blob: bytes
    offset: int
    length: int


class Piece(NamedTuple):
    """Bytes of a blob, as asked for; fewer at its end."""

    blob: bytes
    offset: int
    data: bytes


class Absent(NamedTuple):
    """I do not hold that blob now."""

    blob: bytes


class Arrived(NamedTuple):
    """Now I do."""

    blob: bytes


class Lacking(NamedTuple):
    """Give me the payloads of these entries of a log: I have their headers."""

    node: bytes
    incarnation: bytes
    seqs: tuple[int, ...]


class Payloads(NamedTuple):
    """The first of those that were asked for, as many as one frame takes; None for one that I do not hold."""

    node: bytes
    incarnation: bytes
    payloads: tuple[tuple[int, bytes | None], ...]


class Signal(NamedTuple):
    """A request, a reply or an event from one member to another, sealed to it; whoever is between them passes it on."""

    target: bytes
    """Node key."""
    origin: bytes
    """Node key of who has sealed and signed it."""
    id: bytes
    """16 random bytes, the same for a request and all that belongs to it."""
    number: int
    """Of this origin's frames with that id: 0, 1, 2 …"""
    deadline: int
    """Unix seconds by the clock of who asked; after it nobody wants it any more."""
    hops: int
    """Sessions that it may still cross, with this one. Not signed."""
    signature: bytes
    sealed: bytes


class Ping(NamedTuple):
    number: int


class Pong(NamedTuple):
    number: int


class End(NamedTuple):
    """The last word. Reasons are for people."""

    code: int
    reason: str


class About(NamedTuple):
    """What a server says of itself to one who shows a good invitation."""

    recipient: str
    name: str
    roles: tuple[str, ...]
    addresses: tuple[str, ...]
    keys: str
    """The recipient that a client's private keys are to be sealed to; empty where none are expected."""


class Present(NamedTuple):
    """After the manifests of the client's store: the proof over the newest one, and for another client what it needs to
    read the store."""

    proof: bytes
    keys: bytes
    """Private keys, an age file sealed to what the server asked for; or empty."""
    name: str
    """What the person calls the store; only a client is told."""


class Joined(NamedTuple):
    """The server holds the store from now on."""


Frame: TypeAlias = (
    Hello | Open | Join | Heads | Lack | Documents | Same | Ranges | Equal | Logs | Ids | Entries | Have | Want
    | Decline | Ask | Piece | Absent | Arrived | Ping | Pong | End | About | Present | Joined | Signal
    | Lacking | Payloads
)  # fmt: skip

# --- shapes -----------------------------------------------------------------------------------------------------------

_Shape: TypeAlias = Callable[[Any], Any]


def _number(below: int = 1 << 40) -> _Shape:
    def shape(value: Any) -> int:
        if type(value) is not int or not 0 <= value < below:
            raise ValueError
        return value

    return shape


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _exactly(size: int) -> _Shape:
    def shape(value: Any) -> bytes:
        if type(value) is not bytes or len(value) != size:
            raise ValueError
        return value

    return shape


def _bytes(most: int) -> _Shape:
    def shape(value: Any) -> bytes:
        if type(value) is not bytes or len(value) > most:
            raise ValueError
        return value

    return shape


def _text(most: int) -> _Shape:
    def shape(value: Any) -> str:
        if type(value) is not str or len(value) > most:
            raise ValueError
        return value

    return shape


def _many(shape: _Shape, most: int) -> _Shape:
    def shapes(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > most:
            raise ValueError
        return tuple(map(shape, value))

    return shapes


def _row(*shapes: _Shape) -> _Shape:
    def shape(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(shapes):
            raise ValueError
        return tuple(check(item) for check, item in zip(shapes, value, strict=True))

    return shape


def _entry(value: Any) -> tuple[bytes, bytes | None]:
    header, payload = value
    if type(header) is not bytes or not 0 < len(header) <= MAX_HEADER:
        raise ValueError
    if payload is not None and (type(payload) is not bytes or len(payload) > MAX_PAYLOAD):
        raise ValueError
    return header, payload


def _payload(value: Any) -> tuple[int, bytes | None]:
    seq, payload = value
    if payload is not None and (type(payload) is not bytes or len(payload) > MAX_PAYLOAD):
        raise ValueError
    return _SEQ(seq), payload


def _prefix(value: Any) -> str:
    if type(value) is not str or len(value) > MAX_DEPTH or not set(value) <= _DIGITS:
        raise ValueError
    return value


_DIGITS: Final = frozenset("0123456789abcdef")
_HASH: Final = _exactly(32)
_KEY: Final = _exactly(32)
_RUN: Final = _exactly(16)
_SEQ: Final = _number()
_HASHES: Final = _many(_HASH, _MAX_HEADS)
_DOCUMENTS: Final = _many(_bytes(MAX_DOCUMENT), 1024)
_WORDS: Final = _many(_text(320), 32)
_OPENING: Final = (_number(256), _KEY, _exactly(64), _HASH)

_FRAMES: Final[tuple[tuple[type[Any], tuple[_Shape, ...]], ...]] = (
    (End, (_number(1 << 16), _text(MAX_REASON))),
    (Hello, (_many(_number(256), 16), _exactly(NONCE_SIZE))),
    (Open, (*_OPENING, _HASHES, _HASH)),
    (Join, (*_OPENING, _exactly(16))),
    (Heads, (_HASHES,)),
    (Lack, (_many(_HASH, _MAX_KNOWN),)),
    (Documents, (_DOCUMENTS, _truth)),
    (Same, ()),
    (Ranges, (_prefix, _many(_HASH, 16))),
    (Equal, (_prefix, _number(1 << 16))),
    (Logs, (_prefix, _many(_row(_KEY, _RUN, _SEQ, _HASH), _MAX_LOGS), _truth)),
    (Ids, (_KEY, _RUN, _SEQ, _bytes(32 * MAX_IDS), _bytes(1024), _truth)),
    (Entries, (_KEY, _RUN, _SEQ, _many(_entry, MAX_BATCH), _bytes(1024))),
    (Have, (_KEY, _RUN, _SEQ)),
    (Want, (_KEY, _RUN, _SEQ)),
    (Decline, (_KEY, _RUN, _number(256))),
    (Ask, (_HASH, _number(1 << 48), _number(MAX_PIECE + 1))),
    (Piece, (_HASH, _number(1 << 48), _bytes(MAX_PIECE))),
    (Absent, (_HASH,)),
    (Arrived, (_HASH,)),
    (Ping, (_number(1 << 32),)),
    (Pong, (_number(1 << 32),)),
    (About, (_text(4096), _text(255), _WORDS, _WORDS, _text(4096))),
    (Present, (_HASH, _bytes(MAX_KEYS), _text(MAX_NAME))),
    (Joined, ()),
    (Signal, (_KEY, _KEY, _RUN, _number(1 << 20), _SEQ, _number(MAX_HOPS + 1), _exactly(64), _bytes(MAX_SEALED))),
    (Lacking, (_KEY, _RUN, _many(_SEQ, MAX_LACKING))),
    (Payloads, (_KEY, _RUN, _many(_payload, MAX_LACKING))),
)
_NUMBERS: Final = {frame: number for number, (frame, _) in enumerate(_FRAMES)}
_MAX_ITEMS: Final = 6 * _MAX_LOGS


def pack(frame: Frame) -> bytes:
    """A frame with its length in front."""
    body = encode((_NUMBERS[type(frame)], *frame))
    return len(body).to_bytes(4, "big") + body


def unpack(body: bytes) -> Frame:
    """The frame in a body. Raises Violation for anything that is not exactly one well-shaped frame."""
    try:
        number, *fields = decode(body, limit=MAX_FRAME, depth=4, items=_MAX_ITEMS)
        if type(number) is not int or not 0 <= number < len(_FRAMES):
            raise Violation("a frame of an unknown type")
        frame, shapes = _FRAMES[number]
        if len(fields) != len(shapes):
            raise Violation(f"a malformed {frame.__name__} frame")
        made: Frame = frame._make(shape(field) for shape, field in zip(shapes, fields, strict=True))
        return made
    except (EncodingError, ValueError, TypeError):
        raise Violation("a malformed frame") from None


class Splitter:
    """Cuts a byte stream into frames. Holds at most one frame that is not complete."""

    def __init__(self) -> None:
        self.limit = MAX_STRANGER
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. `limit` may be changed between two of them."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= 4:
                size = int.from_bytes(buffer[at : at + 4], "big")
                if not 0 < size <= self.limit:
                    raise Violation("a frame that is too long" if size else "an empty frame")
                if len(buffer) - at - 4 < size:
                    break
                body = bytes(memoryview(buffer)[at + 4 : at + 4 + size])
                at += 4 + size
                yield unpack(body)
        finally:
            del buffer[:at]
