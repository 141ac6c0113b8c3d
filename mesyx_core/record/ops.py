"""Ops: changes a person made to flags and mailboxes, as they are sealed (architecture.md, section 6).

An op names entries and dots, never text. A dot (node, incarnation, seq, n) is the n-th op of the batch in that entry;
n = 0 is what the entry of a message itself brought: its first mailbox and flags. Runs of consecutive entries are
written as spans, so that an op on ten thousand messages stays a few hundred bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from mesyx_core.vault import encoding

VERSION: Final = 1
MAX_SIZE: Final = 1 << 20
MAX_OPS: Final = 4096
MAX_SPANS: Final = 40_000
MAX_REACH: Final = 200_000
"""Entries and dots that one batch may name."""
MAX_NAME: Final = 1024
MAX_FLAG: Final = 255
MAX_SEQ: Final = 1 << 40
MAX_CLOCK: Final = 1 << 63


class OpsError(ValueError):
    """Not a batch of ops, or beyond its bounds."""


class Span(NamedTuple):
    """`length` consecutive entries of one origin, from `first` on."""

    node: bytes
    incarnation: bytes
    first: int
    length: int = 1


class DotSpan(NamedTuple):
    """The dots numbered `n` of the entries of a span."""

    span: Span
    n: int


class Dot(NamedTuple):
    """What one op of one entry added."""

    node: bytes
    incarnation: bytes
    seq: int
    n: int


class Off(NamedTuple):
    """Dots taken off a flag (str) or mailbox (its id); only those that the writer saw."""

    key: str | bytes
    own: bool
    """Each named entry's own dot, n = 0, as well."""
    dots: tuple[DotSpan, ...] = ()


class FlagOp(NamedTuple):
    """Put flags on entries and take flags off. With a mailbox, the flags hold in that mailbox alone (IMAP's
    \\Deleted)."""

    entries: tuple[Span, ...]
    add: frozenset[str] = frozenset()
    off: tuple[Off, ...] = ()
    mailbox: bytes = b""


class FileOp(NamedTuple):
    """Put entries into mailboxes and take them out of others: copy, move and remove are all this op."""

    entries: tuple[Span, ...]
    add: frozenset[bytes] = frozenset()
    off: tuple[Off, ...] = ()


class CreateOp(NamedTuple):
    """A new mailbox; its id is made from this op's dot."""

    name: str


class NameOp(NamedTuple):
    """A new name that supersedes those seen: `initial` (the one it was made with) and `over`."""

    mailbox: bytes
    name: str
    over: tuple[DotSpan, ...] = ()


class DropOp(NamedTuple):
    """Delete a mailbox. What it held is taken out by FileOps beside this one; what the writer did not see keeps it in
    being."""

    mailbox: bytes


class SubscribeOp(NamedTuple):
    """Subscribe to a name, or no longer. `over` are the subscriptions seen; `own` counts the one that every store
    begins with."""

    name: str
    on: bool
    own: bool = False
    over: tuple[DotSpan, ...] = ()


Op: TypeAlias = FlagOp | FileOp | CreateOp | NameOp | DropOp | SubscribeOp


class Batch(NamedTuple):
    """The ops of one entry, in order, and the writer's hybrid logical clock (milliseconds << 16 | counter) for ties."""

    clock: int
    ops: tuple[Op, ...]


def spans(refs: Iterable[tuple[bytes, bytes, int]]) -> tuple[Span, ...]:
    """Entries as the fewest spans, sorted."""
    found: list[Span] = []
    node, incarnation, first, last = b"", b"", 0, -1
    for at in sorted(set(refs)):
        if last >= 0 and at[2] == last + 1 and at[1] == incarnation and at[0] == node:
            last += 1
            continue
        if last >= 0:
            found.append(Span(node, incarnation, first, last - first + 1))
        node, incarnation, first = at
        last = first
    if last >= 0:
        found.append(Span(node, incarnation, first, last - first + 1))
    return tuple(found)


def dot_spans(dots: Iterable[Dot]) -> tuple[DotSpan, ...]:
    """Dots as the fewest spans, sorted by n."""
    by_n: dict[int, list[tuple[bytes, bytes, int]]] = {}
    for dot in dots:
        by_n.setdefault(dot.n, []).append(dot[:3])
    return tuple(DotSpan(span, n) for n in sorted(by_n) for span in spans(by_n[n]))


def each(found: Iterable[Span]) -> Iterator[tuple[bytes, bytes, int]]:
    """The entries of spans."""
    for span in found:
        for seq in range(span.first, span.first + span.length):
            yield span.node, span.incarnation, seq


def causes(batch: Batch) -> frozenset[Span]:
    """Spans of the op entries whose dots this batch takes off: it holds only after them."""
    return frozenset(at.span for op in batch.ops for at in _over(op))


def _over(op: Op) -> Iterator[DotSpan]:
    if isinstance(op, FlagOp | FileOp):
        for off in op.off:
            yield from off.dots
    elif isinstance(op, NameOp | SubscribeOp):
        yield from op.over


# --- codec

_CODES: Final[dict[type[Any], int]] = {FlagOp: 1, FileOp: 2, CreateOp: 3, NameOp: 4, DropOp: 5, SubscribeOp: 6}


class _Writer:
    """Origins are written once and named by number."""

    def __init__(self) -> None:
        self.origins: dict[tuple[bytes, bytes], int] = {}

    def spans(self, found: Iterable[Span]) -> list[int]:
        """Flat triples (origin, distance from the end of the span before it in the same origin, length)."""
        out: list[int] = []
        ends: dict[int, int] = {}
        for span in sorted(found):
            origin = self.origins.setdefault((span.node, span.incarnation), len(self.origins))
            out += (origin, span.first - ends.get(origin, 0), span.length)
            ends[origin] = span.first + span.length
        return out

    def dots(self, found: Iterable[DotSpan]) -> list[Any]:
        by_n: dict[int, list[Span]] = {}
        for at in found:
            by_n.setdefault(at.n, []).append(at.span)
        return [[n, self.spans(by_n[n])] for n in sorted(by_n)]

    def off(self, found: Sequence[Off]) -> list[Any]:
        return [[off.key, off.own, self.dots(off.dots)] for off in found]

    def op(self, op: Op) -> list[Any]:
        code = _CODES[type(op)]
        if isinstance(op, FlagOp):
            return [code, self.spans(op.entries), sorted(op.add), self.off(op.off), op.mailbox]
        if isinstance(op, FileOp):
            return [code, self.spans(op.entries), sorted(op.add), self.off(op.off)]
        if isinstance(op, NameOp):
            return [code, op.mailbox, op.name, self.dots(op.over)]
        if isinstance(op, SubscribeOp):
            return [code, op.name, op.on, op.own, self.dots(op.over)]
        return [code, *op]


def encode(batch: Batch) -> bytes:
    """One deterministic CBOR item. Raises OpsError for what `decode` would not take."""
    writer = _Writer()
    ops = [writer.op(op) for op in batch.ops]
    data = encoding.encode([VERSION, batch.clock, [list(origin) for origin in writer.origins], ops])
    if len(data) > MAX_SIZE:
        raise OpsError("a batch of ops is at most 1 MiB")
    return data


class _Reader:
    """Takes decoded CBOR apart; every step checks what it takes."""

    def __init__(self, origins: Any) -> None:
        self.origins = [_origin(origin) for origin in _list(origins, MAX_SPANS)]
        self.left_spans = MAX_SPANS
        self.left_reach = MAX_REACH

    def spans(self, value: Any) -> tuple[Span, ...]:
        flat = _list(value, 3 * self.left_spans)
        if len(flat) % 3:
            raise OpsError("spans come in threes")
        self.left_spans -= len(flat) // 3
        found: list[Span] = []
        ends: dict[int, int] = {}
        for at in range(0, len(flat), 3):
            origin = _int(flat[at], len(self.origins))
            first = ends.get(origin, 0) + _int(flat[at + 1], MAX_SEQ)
            count = _int(flat[at + 2], self.left_reach + 1)
            self.left_reach -= count
            if not 0 < first < MAX_SEQ - count or not count:
                raise OpsError("a span is empty or out of range")
            ends[origin] = first + count
            found.append(Span(*self.origins[origin], first, count))
        return tuple(sorted(found))

    def dots(self, value: Any) -> tuple[DotSpan, ...]:
        found: list[DotSpan] = []
        for at in _list(value, MAX_OPS):
            n, runs = _fields(at, 2)
            number = _int(n, MAX_OPS + 1)
            found += (DotSpan(span, number) for span in self.spans(runs))
        return tuple(found)

    def off(self, value: Any, key: Callable[[Any], str | bytes]) -> tuple[Off, ...]:
        found: list[Off] = []
        for at in _list(value, 1024):
            name, own, dots = _fields(at, 3)
            found.append(Off(key(name), _bool(own), self.dots(dots)))
        return tuple(found)

    def op(self, value: Any) -> Op:
        code, *rest = _list(value, 6) or [0]
        if code == 1:
            entries, add, off, mailbox = _fields(rest, 4)
            flags = frozenset(_flag(flag) for flag in _list(add, 1024))
            return FlagOp(self.spans(entries), flags, self.off(off, _flag), _id(mailbox, empty=True))
        if code == 2:
            entries, add, off = _fields(rest, 3)
            into = frozenset(_id(mailbox) for mailbox in _list(add, 1024))
            return FileOp(self.spans(entries), into, self.off(off, _id))
        if code == 3:
            (name,) = _fields(rest, 1)
            return CreateOp(_name(name))
        if code == 4:
            mailbox, name, over = _fields(rest, 3)
            return NameOp(_id(mailbox), _name(name), self.dots(over))
        if code == 5:
            (mailbox,) = _fields(rest, 1)
            return DropOp(_id(mailbox))
        if code == 6:
            name, on, own, over = _fields(rest, 4)
            return SubscribeOp(_name(name), _bool(on), _bool(own), self.dots(over))
        raise OpsError("an op of an unknown kind")


def decode(data: bytes) -> Batch:
    """The reverse of `encode`, strict and bounded. Raises OpsError."""
    try:
        value = encoding.decode(data, limit=MAX_SIZE, depth=10, items=4 * MAX_SPANS)
    except encoding.EncodingError as error:
        raise OpsError(str(error)) from None
    version, clock, origins, ops = _fields(value, 4)
    if version != VERSION:
        raise OpsError("a batch of ops of an unknown version")
    reader = _Reader(origins)
    batch = Batch(_int(clock, MAX_CLOCK), tuple(reader.op(op) for op in _list(ops, MAX_OPS)))
    if encode(batch) != data:
        raise OpsError("a batch of ops is not in its one form")
    return batch


def _list(value: Any, limit: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise OpsError("a list is missing or too long")
    return value


def _fields(value: Any, count: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != count:
        raise OpsError("fields are missing or too many")
    return value


def _int(value: Any, end: int) -> int:
    if type(value) is not int or not 0 <= value < end:
        raise OpsError("a number is out of range")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise OpsError("not true or false")
    return value


def _origin(value: Any) -> tuple[bytes, bytes]:
    node, incarnation = _fields(value, 2)
    if not isinstance(node, bytes) or not isinstance(incarnation, bytes) or (len(node), len(incarnation)) != (32, 16):
        raise OpsError("not an origin")
    return node, incarnation


def _id(value: Any, empty: bool = False) -> bytes:
    if not isinstance(value, bytes) or not (len(value) == 16 or (empty and not value)):
        raise OpsError("not a mailbox id")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or "\x00" in value:
        raise OpsError("not a mailbox name")
    return value


def _flag(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_FLAG or not all("!" <= c <= "~" for c in value):
        raise OpsError("not a flag")
    return value
