"""Private keys that a policy keeps no longer are destroyed, and with them what the index knows of their messages.

That cannot be undone, so a key goes only when nothing can come any more that it alone opens: every gateway has signed a
checkpoint that lies behind the keyset's end, or cites its close; this client holds and has opened those logs; no epoch
is sealed to the keyset any longer, since all were re-encrypted, unless it is strict and its mail is to end with it.
What speaks against it is shown, and waited for.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio.to_thread import run_sync

from mesyx_core.api import MesyxError
from mesyx_core.mailbox.account import Account
from mesyx_core.node import faults, keysets, membership
from mesyx_core.node.finding import Finding, finding
from mesyx_core.node.reencrypting import over
from mesyx_core.node.sightings import SHREDDED
from mesyx_core.node.stores import Store
from mesyx_core.record.checkpoint import Checkpoint, parse
from mesyx_core.record.entry import Origin
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.keyset import Keyset, key_id
from mesyx_core.vault.names import NamesError
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

TICK: Final = 60.0
"""Seconds between two looks."""
LATE: Final = 7 * 86_400
"""Seconds for which nobody is told that a key which is due still waits."""

log = logging.getLogger(__name__)


class Case(NamedTuple):
    """A keyset's own keys that are here, and what speaks against destroying them now."""

    keyset: Keyset
    recipients: frozenset[str]
    """Of the keys: those that no other keyset needs."""
    against: tuple[str, ...]
    """For a person; empty when nothing does."""
    epochs: int
    """That are sealed to the keyset still, as far as is known here."""
    last: bool
    """Whether nobody else opens those: the keyset has no other recipients."""


class Shredding:
    """Made with the node; `run` in a task."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._news = anyio.Event()

    def look(self) -> None:
        """Something may be due by now."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        await faults.again("destroying keys", self._run)

    async def _run(self) -> None:
        while True:
            self._news = anyio.Event()
            await self.round()
            with anyio.move_on_after(TICK):
                await self._news.wait()

    async def round(self) -> None:
        """Destroy what is due and nothing speaks against, in every store that is open here."""
        for store in self._node.stores:
            try:
                for case in await self._due(store):
                    if not case.against:
                        await self.destroy(store, case)
            except MesyxError as error:  # it is just being locked, or the disk: the next look may find it otherwise
                log.warning("keys that are due are not destroyed: %s", error.what)

    async def _due(self, store: Store) -> list[Case]:
        account, secrets = store.account, store.secrets
        if account is None or secrets is None:
            return []
        try:
            roster = Roster.of(store.manifest, secrets.keys())
        except NamesError:
            return []
        now = await keysets.confirmed(self._node, store)
        due = [each for each in roster.keysets if over(roster, each, now) and roster.due(each, now)]
        return [case for each in due if (case := await self.case(store, account, roster, each, now)).recipients]

    async def case(self, store: Store, account: Account, roster: Roster, keyset: Keyset, now: int) -> Case:
        """What there is to destroy of a keyset, and what speaks against it."""
        held = await run_sync(self._node.keyring.held, store.id)
        needed = _needed(roster, keyset, now)
        mine = frozenset(one for one in roster.short(keyset) - needed if key_id(one) in held)
        epochs = await account.reencryption.left(keyset)
        against = [one async for one in self._against(store, account, roster, keyset, now)]
        if epochs and not roster.strict(keyset):  # that mail is to end with its key
            against.append(f"{epochs} epochs are not re-encrypted yet")
        return Case(keyset, mine, tuple(against), epochs, not frozenset(keyset.recipients) - mine)

    async def _against(
        self, store: Store, account: Account, roster: Roster, keyset: Keyset, now: int
    ) -> AsyncIterator[str]:
        if not over(roster, keyset, now):
            yield "messages are still sealed to it"
        names = roster.names
        running = await account.epochs_running(keyset.id)
        for member in store.manifest.members:
            who = membership.called(names, member.node)
            if member.node in running:
                yield f"{who} has not closed its epochs"
            elif "accept" in member.roles and not await self._done(store, member.node, keyset):
                yield f"{who} has not been heard of since it was over"
        progress = await account.status()
        if progress.behind:
            yield f"{progress.behind} entries are not opened yet"
        missing = await account.seeds_missing()
        if missing:
            yield f"{missing} epochs have not come whole yet"

    async def _done(self, store: Store, node: bytes, keyset: Keyset) -> bool:
        """Whether a gateway has signed that it seals to a keyset no more: by its clock, or by the manifest it cites."""
        for head in await self._node.journal.heads(store.id):
            data = await self._node.journal.checkpoint(Origin(store.id, *head[:2])) if head.node == node else None
            if data is not None and head.seq >= (said := parse(data)[0]).seq and _behind(store.authority, said, keyset):
                return True
        return False

    async def destroy(self, store: Store, case: Case) -> None:
        """Whatever speaks against it. Cut off anywhere, the next round goes on. Raises Temporary."""
        assert store.account is not None
        ids = [key_id(one) for one in case.recipients]
        await self._node.sightings.note(store.id, ids, SHREDDED, given_up=True)
        if not await self._opens_otherwise(store, case):
            await store.account.shred(case.keyset.id)
        await self._node.mailboxes.destroy_keys(store, case.recipients)
        log.info("private keys that were due are destroyed: %d", len(ids))

    async def _opens_otherwise(self, store: Store, case: Case) -> bool:
        """Whether another key here opens the keyset: a long-term one."""
        held = await run_sync(self._node.keyring.held, store.id)
        return any(key_id(one) in held for one in frozenset(case.keyset.recipients) - case.recipients)

    async def findings(self) -> list[Finding]:
        """For `doctor`: what has waited for long."""
        return [one for store in self._node.stores for one in await self._findings(store)]

    async def _findings(self, store: Store) -> list[Finding]:
        found = []
        now = keysets.clock()
        for case in await self._due(store) if self._node.live else ():
            roster = keysets.opened(store, store.secrets) if store.secrets is not None else None
            if roster is None or not case.against:
                continue
            if now - (roster.names.keyset(case.keyset.id).expires or now) > LATE:
                label = roster.label(case.keyset)
                what = f"{store.name}: the key of {label} is due to be destroyed and waits: {'; '.join(case.against)}"
                remedy = f"mend that, or destroy it all the same: mesyx keyset shred {store.name} {label} --insist"
                found.append(finding("warning", what, remedy))
        return found


def _needed(roster: Roster, keyset: Keyset, now: int) -> frozenset[str]:
    """Recipients of the clients and of other keysets that are kept."""
    others = (each for each in roster.keysets if each.id != keyset.id)
    kept = (each for each in others if not (roster.due(each, now) and over(roster, each, now)))
    return frozenset(roster.clients).union(*(each.recipients for each in kept))


def _behind(authority: Authority, said: Checkpoint, keyset: Keyset) -> bool:
    if keyset.end is not None and said.time >= keyset.end:
        return True
    cited = authority.manifests.get(said.manifest)
    return cited is not None and keyset.id in cited.closed
