"""Read messages back from the log: some entries by number, opened in a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Final

from mesyx_core.api import Body, Bytes, Message
from mesyx_core.journal import BlobAbsent, Journal
from mesyx_core.mailbox.bodies import BlobBody, BodyDamaged
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.model import SEQ, SEQ_MASK
from mesyx_core.mailbox.seeds import SeedLocked, Seeds, SeedUnknown, SeedWrong, origin_of
from mesyx_core.record import content
from mesyx_core.record.content import BlobRef
from mesyx_core.record.entry import Entry, known_header
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.seal import SealError

KEPT: Final = 32 << 20
"""Octets of bodies that stay in memory: programs ask for the same messages again, header by header and part by part."""
_SMALL: Final = 1 << 16
OBJECTS: Final = 500
"""Octets that keeping a body costs beside its own."""
_AT_ONCE: Final = 1 << 20
"""Octets of blobs that are opened with the entries they belong to; larger ones are read as they are wanted."""


class Kept:
    """Bodies in memory, up to so many octets; the one asked for longest ago goes first."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._bodies: dict[int, Bytes] = {}

    def take(self, entries: Sequence[int]) -> dict[int, Body]:
        """Those that are there."""
        bodies = self._bodies
        found: dict[int, Body] = {}
        for entry in entries:
            body = bodies.pop(entry, None)
            if body is not None:
                found[entry] = bodies[entry] = body
        return found

    def add(self, opened: Mapping[int, Body]) -> None:
        """Keep the small ones among these."""
        bodies = self._bodies
        for entry, body in opened.items():
            if isinstance(body, Bytes) and body.size <= _SMALL and entry not in bodies:
                bodies[entry] = body
                self._left -= body.size + OBJECTS
        while self._left < 0:
            self._left += bodies.pop(next(iter(bodies))).size + OBJECTS


class Reader:
    """Opens single messages for a view."""

    def __init__(self, journal: Journal, store: bytes, ledger: Ledger, seeds: Seeds) -> None:
        self._journal = journal
        self._store = store
        self._ledger = ledger
        self._seeds = seeds
        self._kept = Kept(KEPT)

    def forget(self) -> None:
        """Forget what is in memory."""
        self._kept = Kept(KEPT)

    async def bodies(self, entries: Sequence[int]) -> dict[int, Body]:
        """The bodies of messages; those that cannot be had here now are left out."""
        kept = self._kept
        found: dict[int, Body] = kept.take(entries)
        for row, group in groupby(sorted(set(entries) - found.keys()), lambda entry: entry >> SEQ):
            origin = origin_of(self._ledger, self._store, row << SEQ)
            seqs = [entry & SEQ_MASK for entry in group]
            opened = await self._journal.look(origin, seqs, partial(self._opened, row))
            kept.add(opened)
            found |= opened
        return found

    async def message(self, entry: int) -> Message | None:
        """A whole message, or None when it cannot be had here now."""
        origin = origin_of(self._ledger, self._store, entry)
        return await self._journal.look(origin, [entry & SEQ_MASK], partial(self._message, entry >> SEQ))

    def _message(self, row: int, entries: Sequence[tuple[int, Entry]]) -> Message | None:
        for seq, entry in entries:
            if entry.payload is None:
                continue
            try:
                _, data = self._seeds.open(row, seq, known_header(entry.header), entry.payload)
                opened = content.unpack(data)
            except (SeedLocked, SeedUnknown, SeedWrong, SealError, RecordError):
                return None
            if opened.message is not None and isinstance(opened.body, BlobRef):
                return replace(opened.message, body=BlobBody(self._journal, opened.body))
            return opened.message
        return None

    def _opened(self, row: int, entries: Sequence[tuple[int, Entry]]) -> dict[int, Body]:
        found: dict[int, Body] = {}
        left = _AT_ONCE
        for seq, entry in entries:
            body = self._open(row, entry)
            if isinstance(body, bytes):
                found[row << SEQ | seq] = Bytes(body)
            elif body is not None:
                blob = BlobBody(self._journal, body)
                left -= blob.size
                found[row << SEQ | seq] = _read(blob) if left >= 0 else blob
        return found

    def _open(self, row: int, entry: Entry) -> bytes | BlobRef | None:
        if entry.payload is None:
            return None
        try:
            return content.known_body(self._seeds.open_known(row, known_header(entry.header), entry.payload))
        except (SeedLocked, SeedUnknown, SeedWrong, SealError, RecordError):
            return None


def _read(blob: BlobBody) -> Body:
    """In memory if it can be had now; else whoever reads it is told why not."""
    try:
        return Bytes(b"".join(blob.chunks()))
    except (BlobAbsent, BodyDamaged):
        return blob
