"""Publishes further keysets as time goes, by each store's policy, on a client that holds the owner key open."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from mesyx_core.api import MesyxError, Refused
from mesyx_core.node import faults, governing, keysets
from mesyx_core.node.finding import Finding, finding
from mesyx_core.node.stores import Store
from mesyx_core.vault.manifest import Manifest
from mesyx_core.vault.names import NamesError
from mesyx_core.vault.policy import PolicyError
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

log = logging.getLogger(__name__)

TICK: Final = 5.0
"""Seconds between two looks at the clock, which may be set at any time."""
LEAST: Final = 2
"""Coming periods below which `doctor` warns; a client that can publish does so before."""
DAY: Final = 86_400


class _Seen(NamedTuple):
    """A store as it was when nothing was to be done, and for how long that holds."""

    manifest: Manifest
    since: int
    until: int


class Upkeep:
    """Made with the node; `run` in a task."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._news = anyio.Event()
        self._seen: dict[bytes, _Seen] = {}
        self._why: dict[bytes, MesyxError] = {}

    def look(self) -> None:
        """A manifest came, or a store was unlocked."""
        self._seen.clear()
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        await faults.again("publishing keysets", self._run)

    async def _run(self) -> None:
        while True:
            self._news = anyio.Event()
            await self.round()
            with anyio.move_on_after(TICK):
                await self._news.wait()

    async def round(self) -> None:
        """Publish what is wanted now, in all stores that are open. What fails is tried again as the next day begins, or
        something changes; `findings` tell of it."""
        now = keysets.clock()
        for store in self._node.stores:
            seen = self._seen.get(store.id)
            if store.secrets is None or (seen and seen.manifest is store.manifest and seen.since <= now < seen.until):
                continue
            self._why.pop(store.id, None)
            try:
                await self._keep_up(store, now)
            except Refused as error:  # the owner key is elsewhere: `findings` say so in time
                self._why[store.id] = error
            except MesyxError as error:
                self._why[store.id] = error
                log.warning("no further keysets are published: %s", error.what)
            self._seen[store.id] = _Seen(store.manifest, now, now - now % DAY + DAY)  # periods begin with days

    async def _keep_up(self, store: Store, now: int) -> None:
        assert store.secrets is not None
        roster = _roster(store)
        try:
            if roster is None or not wanted(roster, now, self._rank(store, roster)):
                return
        except PolicyError as error:
            raise Refused(f"the keyset policy of {store.name} is of a later version", "upgrade this node") from error
        owner = await governing.owner_key(self._node, store)
        await keysets.fill(self._node, store, keysets.Hand(owner, store.secrets))
        log.info("further keysets are published")

    def _rank(self, store: Store, roster: Roster) -> int:
        """This node's place among the clients: those behind wait a period longer, so that not all publish at once."""
        clients = [member.node for member in store.manifest.members if "client" in member.roles]
        own = self._node.key.public
        order = sorted(clients, key=lambda node: (roster.names.node(node).keys != "all", node))
        return order.index(own) if own in order else len(order)

    # --- what people are told -----------------------------------------------------------------------------------------

    def findings(self) -> list[Finding]:
        """For `doctor`: keysets that run out, or have."""
        return [one for store in self._node.stores if store.secrets is not None for one in self._findings(store)]

    def _findings(self, store: Store) -> Iterator[Finding]:
        roster, now = _roster(store), keysets.clock()
        if roster is None:
            return
        name, left = store.name, _left(roster, now)
        if not any(keyset.fallback for keyset in roster.coming(now)):
            what = f"{name} has no fallback keyset: mail is refused whenever no other is in use"
            yield finding("error", what, f"mesyx keyset add {name} --fallback")
        if left is not None and left < 0:
            yield finding("error", f"{name} has run out of keysets: the fallback keyset serves", self._remedy(store))
        elif left is not None and left < min(LEAST, roster.names.ahead):
            rest = "one more period" if left else "the current period"
            what = f"{name} has keysets for {rest} only: then the fallback keyset serves"
            yield finding("warning", what, self._remedy(store))
        elif left is None and all(keyset.fallback for keyset in roster.coming(now)):
            what = f"only the long-term keys of {name} open what comes in: no other keyset is in use"
            yield finding("warning", what, f"mesyx keyset policy {name} 'weekly keep 4'")

    def _remedy(self, store: Store) -> str:
        why = self._why.get(store.id)
        if why is None or isinstance(why, Refused):
            return (
                "let a client run that has the owner key, or run there: "
                f"mesyx keyset policy {store.name} --owner-key FILE"
            )
        return f"it is tried again by itself; the last time: {why.what}"

    def status(self, store: Store) -> dict[str, object] | None:
        """For `status`: the policy, and for how many coming periods there are keysets."""
        roster = _roster(store)
        if roster is None or not roster.names.policy:
            return None
        return {"policy": roster.names.policy, "periods_left": _left(roster, keysets.clock())}


def wanted(roster: Roster, now: int, rank: int) -> bool:
    """Whether a client of this rank publishes now: as soon as a period has begun without its keyset, or half of the
    coming ones are used up."""
    missing, left = roster.missing(now), roster.left(now)
    if not missing:
        return False
    few = max(LEAST, roster.names.ahead // 2 - rank)
    return left is None or left <= few or any(frame.start <= now for frame in missing)


def _left(roster: Roster, now: int) -> int | None:
    try:
        return roster.left(now)
    except PolicyError:  # of a later version
        return None


def _roster(store: Store) -> Roster | None:
    """None where no key at hand opens the names."""
    try:
        return Roster.of(store.manifest, store.secrets.keys()) if store.secrets is not None else None
    except NamesError:
        return None
