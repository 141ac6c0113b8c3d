"""What changed, told to every view at once: from memory to those that keep up, from the index to the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from mesyx_core.api import Changed, Locked
from mesyx_core.mailbox.ledger import Ledger

_KEPT: Final = 512
"""Transactions that are remembered."""


class News:
    """For one event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._recent: deque[tuple[int, Sequence[Changed]]] = deque(maxlen=_KEPT)
        self._oldest = ledger.modseq
        """Everything after this is remembered."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def publish(self, modseq: int, changed: Sequence[Changed]) -> None:
        """Wake every view that waits."""
        if len(self._recent) == _KEPT:
            self._oldest = self._recent[0][0]
        self._recent.append((modseq, changed))
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """Tell every view that waits that nothing more comes, as the store is locked."""
        self._closed = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def after(self, since: int) -> AsyncGenerator[Sequence[Changed], None]:
        """As View.changes. Raises Locked."""
        while True:
            if self._closed:
                raise Locked("the mailboxes of this store are closed", "mesyx store unlock, then log in again")
            if since < self._oldest:
                missed, since = await asyncio.to_thread(recall, self._ledger, since)
                if missed:
                    yield missed
                continue
            news = [(modseq, changed) for modseq, changed in self._recent if modseq > since]
            for modseq, changed in news:
                since = modseq
                yield changed
            if not news:
                await self._wait()

    async def _wait(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)


def recall(ledger: Ledger, since: int) -> tuple[list[Changed], int]:
    """What the index says has changed since, and up to when."""
    added: dict[int, list[int]] = {}
    flags: dict[int, dict[int, frozenset[str]]] = {}
    removed: dict[int, list[int]] = {}
    with ledger.database.read() as db:
        now = db.execute("SELECT value FROM meta WHERE key = 'modseq'").fetchone()[0]
        mailboxes = {
            row[0]: row
            for row in db.execute(
                "SELECT id, mid, modseq, (SELECT coalesce(sum(count), 0) FROM tally WHERE mailbox = m.id) "
                "FROM mailbox m WHERE modseq > ?",
                (since,),
            )
        }
        for mailbox in mailboxes:
            sql = "SELECT uid, flags, added FROM place WHERE mailbox = ? AND modseq > ?"
            for uid, found, came in db.execute(sql, (mailbox, since)):
                if came > since:
                    added.setdefault(mailbox, []).append(uid)
                else:
                    flags.setdefault(mailbox, {})[uid] = ledger.flag_names[found]
        for mailbox, uid in db.execute("SELECT mailbox, uid FROM vanished WHERE modseq > ?", (since,)):
            removed.setdefault(mailbox, []).append(uid)
    changed = [
        Changed(
            mailbox=mid,
            modseq=modseq,
            exists=exists,
            added=sorted(added.get(row, ())),
            removed=sorted(removed.get(row, ())),
            flags=flags.get(row, {}),
        )
        for row, mid, modseq, exists in mailboxes.values()
        if row in added or row in removed or row in flags
    ]
    return changed, max(now, since)
