"""Seal submissions once more where that is called for: there was no gateway to ask, or the one asked has lost the key,
gave the message back, or is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from mesyx_core.api import Locked, MesyxError, Refused, Temporary
from mesyx_core.mailbox.model import SEQ
from mesyx_core.mailbox.submissions import Gateway, Submitted
from mesyx_core.record.entry import Origin
from mesyx_core.record.ops import Dot

if TYPE_CHECKING:
    from mesyx_core.mailbox.account import Account

log = logging.getLogger(__name__)

SLACK: Final = 3600
"""Seconds after its day's end that a request without an answer is sealed to another day; and that another client
leaves to the one that made it, before it seals again in its stead."""
LOOK: Final = 30.0
"""Seconds after which what waits is looked at again."""
SOON: Final = 1.0
"""The same, while it is not known yet what other nodes know."""
PAUSE: Final = 0.1
"""Seconds between two looks at the least."""
LACKING: Final = 600.0
"""Seconds for which entries that have not come yet hold back what could be sent twice without them."""
KNOWN: Final = 10.0
"""Seconds that a person's command waits for what other nodes know."""


class Due(NamedTuple):
    """That a submission ought to be sealed once more."""

    since: int
    only: bytes = b""
    """The one gateway that it may be sealed to; empty when any may have it."""


class Resealing:
    """One store's. `run` works until cancelled."""

    def __init__(self, account: Account, settled: Callable[[], bool]) -> None:
        self._account = account
        self._settled = settled
        self._wake = asyncio.Event()
        self._lacking = 0.0

    def wake(self) -> None:
        """Something new is known of what goes out."""
        self._wake.set()

    async def run(self) -> None:
        """Seal what waits as soon as it can be."""
        while True:
            await asyncio.sleep(PAUSE)
            self._wake.clear()
            pause: float | None = LOOK
            try:
                pause = await self.again()
            except MesyxError:
                pass  # no room on the disk, a key that is not open: the next look may find it mended
            except Exception as error:
                log.error("what waits to be sent could not be looked at: %s", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def again(self) -> float | None:
        """One look at all that is unfinished; after how many seconds to look again, None when nothing is."""
        outbound = self._account.outbound
        # Not under the lock: with much to be opened this may take minutes, and submitting must not.
        if await outbound.listing() and not await self._current():
            return SOON
        async with outbound.lock:
            waiting = await outbound.listing()
            known = await outbound.gateways() if waiting else {}
            for one in waiting:
                due = await self._due(one, known)
                mine = one.maker == self._account.writer.node
                if due is not None and (mine or self._account.now() > due.since + SLACK):
                    with contextlib.suppress(Refused, Locked):
                        await self.seal(one, due.only, one.deadline)
            return LOOK if waiting else None

    async def seal(self, one: Submitted, only: bytes, deadline: int) -> bool:
        """Seal what is left to a gateway that can take it now; False when none can. Raises Locked without its copy."""
        outbound = self._account.outbound
        parts = await outbound.request(one, deadline, only, one.requests)
        if parts is None:
            return False
        await outbound.commit(parts)
        return True

    async def check(self) -> None:
        """Before a person's word on what waits: raises Temporary if it cannot be known soon what was sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KNOWN):
                while True:
                    if await self._current():
                        return
                    await asyncio.sleep(PAUSE)
        raise Temporary(
            "no other node has told yet all that it knows of what was sent",
            "wait until `mesyx status` shows a peer in sync, then try again",
        )

    async def _current(self) -> bool:
        """Whether what is known elsewhere is known here: a client that was restored from a backup, or whose index is
        being made anew, must not ask for what it has asked for already. Waits for what this node holds to be opened."""
        if not self._settled():
            return False
        account = self._account
        heads = await account.journal.heads(account.store)
        await account.feed.reached([Dot(head.node, head.incarnation, head.seq, 0) for head in heads])
        sql = "SELECT 1 FROM pending WHERE why IN ('body', 'epoch', 'cause') LIMIT 1"
        lacking = await account.outbound.read(lambda db: db.execute(sql).fetchone() is not None)
        self._lacking = (self._lacking or account.now()) if lacking else 0.0
        return not lacking or not 0 <= account.now() - self._lacking < LACKING

    async def _due(self, one: Submitted, known: Mapping[bytes, Gateway]) -> Due | None:
        """Whether a submission ought to be sealed once more."""
        now = self._account.now()
        if one.dropping or now >= one.deadline or not one.copy:
            return None
        if not one.day:
            days = (d for g in known.values() if one.gateway in (b"", g.node) for d in g.days if d.until > now)
            return Due(max(one.asked, min((day.since for day in days), default=0)), one.gateway)
        again = [fate.heard for fate in one.addressees if fate.word == "again"]
        if again:
            return Due(min(again))
        gateway = known.get(one.gateway)
        if gateway is None:
            return None
        day = next((day for day in gateway.days if day.id == one.day), None)
        if day is None:
            # It has thrown the key away. What it has sent by then it has said before, and all of that must be known.
            whole = await self._account.outbound.heard.whole(one.gateway, self._opened)
            return Due(gateway.time) if whole else None
        if now <= day.until + SLACK or any(fate.maybe or fate.attempts for fate in one.addressees):
            return None
        return Due(day.until + SLACK, one.gateway)  # while it is merely silent, another one could send the same

    def _opened(self, origin: Origin, seq: int) -> bool:
        """Whether a log is opened up to there, without gaps in which there could be a receipt."""
        ledger = self._account.ledger
        row = ledger.origins.get((origin.node, origin.incarnation))
        if row is None or ledger.cursors.get(row, 0) < seq:
            return False
        with ledger.database.read() as db:
            return not db.execute(
                "SELECT 1 FROM pending WHERE entry BETWEEN ? AND ? AND why NOT IN ('locked', 'blob') LIMIT 1",
                (row << SEQ, row + 1 << SEQ),
            ).fetchone()
