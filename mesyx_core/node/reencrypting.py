"""Re-encryption by schedule: what a policy keeps no longer under a short-term key goes to the long-term one. What is
under a strict keyset does not: it is to be gone with its key.

Any client that can open a keyset can do it. One without the long-term key leaves it to those who have it for some
hours first: they can look into what they have sealed, and the old seals are purged by nobody else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from mesyx_core.api import MesyxError
from mesyx_core.mailbox.account import Account
from mesyx_core.mailbox.reencryption import Resealed, Retired
from mesyx_core.node import faults, keysets
from mesyx_core.node.stores import Store
from mesyx_core.record.payloads import Target
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.names import NamesError
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

TICK: Final = 600.0
"""Seconds between two looks."""
SLACK: Final = 6 * 3600
"""Seconds that a client without the long-term key leaves to others."""

log = logging.getLogger(__name__)


class Reencrypting:
    """Made with the node; `run` in a task."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._news = anyio.Event()

    def look(self) -> None:
        """A manifest came, or a store was unlocked."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        await faults.again("re-encrypting", self._run)

    async def _run(self) -> None:
        while True:
            self._news = anyio.Event()
            await self.round()
            await self._node.compromise.round()
            with anyio.move_on_after(TICK):
                await self._news.wait()

    async def round(self) -> None:
        """Close what is over, on any node; do what is due in every store that is open here."""
        for store in self._node.stores:
            try:
                await store.sealer.tidy()
            except MesyxError as error:
                log.warning("epochs that are over could not be closed: %s", error.what)
            if store.account is None or store.secrets is None:
                continue
            try:
                await self._round(store, store.account, Roster.of(store.manifest, store.secrets.keys()))
            except NamesError:
                continue  # its names come with its keys
            except MesyxError as error:  # the disk, or it is just being locked: the next look may find it otherwise
                log.warning("what is due is not re-encrypted: %s", error.what)

    async def _round(self, store: Store, account: Account, roster: Roster) -> None:
        into = lasting(roster)
        if into is None:
            return
        work, now = account.reencryption, await keysets.confirmed(self._node, store)
        await work.sweep()
        for keyset in roster.keysets:
            if keyset.end is None or not over(roster, keyset, now):
                continue
            if roster.due(keyset, now) and not roster.strict(keyset):
                await self._due(account, roster, keyset, into, now)
            elif not await work.left(keyset):  # another client has seen to it
                await work.fold(keyset, into)

    async def _due(self, account: Account, roster: Roster, keyset: Keyset, into: Keyset, now: int) -> None:
        work = account.reencryption
        since = roster.names.keyset(keyset.id).expires or 0
        done = Resealed(0, 0, 0, 0)
        if account.seeds.opens(Target("keyset", into.id)) or now >= since + SLACK:
            done = await work.reseal(keyset, into)
        gone = await work.retire(keyset, into, drop=True)
        folded = await work.fold(keyset, into)
        if done.sealed or folded or any(gone):
            log.info("a keyset was re-encrypted: %s", describe(done, gone))
            self._node.shredding.look()


def lasting(roster: Roster) -> Keyset | None:
    """The keyset with the long-term recipients that is in use; of several the one with the lowest id, everywhere."""
    return min((each for each in roster.keysets if each.fallback and roster.open(each)), key=_id, default=None)


def over(roster: Roster, keyset: Keyset, now: int) -> bool:
    """Whether nothing is sealed to it any more."""
    return not roster.open(keyset) or (keyset.end is not None and keyset.end <= now)


def describe(done: Resealed, gone: Retired) -> str:
    """Numbers of epochs."""
    return ", ".join(f"{word} {count}" for word, count in (done._asdict() | gone._asdict()).items() if count)


def _id(keyset: Keyset) -> bytes:
    return keyset.id
