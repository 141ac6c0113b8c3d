"""Read messages back from the log: some entries by number, opened in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from mesyx_core.api import Body, Bytes
from mesyx_core.journal import Journal
from mesyx_core.mailbox.bodies import BlobBody
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.model import SEQ, SEQ_MASK
from mesyx_core.mailbox.seeds import SeedLocked, Seeds, SeedUnknown, SeedWrong, origin_of
from mesyx_core.record import content
from mesyx_core.record.content import BlobRef
from mesyx_core.record.entry import Entry, known_header
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.seal import SealError


class Reader:
    """Opens single messages for a view."""

    def __init__(self, journal: Journal, store: bytes, ledger: Ledger, seeds: Seeds) -> None:
        self._journal = journal
        self._store = store
        self._ledger = ledger
        self._seeds = seeds

    async def bodies(self, entries: Sequence[int]) -> dict[int, Body]:
        """The bodies of messages; those that cannot be had here now are left out."""
        found: dict[int, Body] = {}
        for row, group in groupby(sorted(entries), lambda entry: entry >> SEQ):
            origin = origin_of(self._ledger, self._store, row << SEQ)
            picked = await self._journal.pick(origin, [entry & SEQ_MASK for entry in group])
            for entry, body in await asyncio.to_thread(self._open, row, picked):
                found[entry] = Bytes(body) if isinstance(body, bytes) else BlobBody(self._journal, body)
        return found

    def _open(self, row: int, entries: Sequence[tuple[int, Entry]]) -> list[tuple[int, bytes | BlobRef]]:
        found: list[tuple[int, bytes | BlobRef]] = []
        for seq, entry in entries:
            if entry.payload is None:
                continue
            try:
                _, data = self._seeds.open(row, seq, known_header(entry.header), entry.payload)
                found.append((row << SEQ | seq, content.known_body(data)))
            except (SeedLocked, SeedUnknown, SeedWrong, SealError, RecordError):
                continue
        return found
