"""`mesyx keyset reseal`: re-encryption by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mesyx_core.api import Busy, Locked, Refused
from mesyx_core.mailbox.account import Account
from mesyx_core.node import keysets
from mesyx_core.node.progress import Tell
from mesyx_core.node.reencrypting import lasting, over
from mesyx_core.node.stores import Store
from mesyx_core.node.verbs.keysets import found
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def reseal(node: Node, store: str, tell: Tell, source: str | None = None, target: str | None = None) -> Any:
    """Seal the epochs of a keyset, or of all that are due, to a long-term one. Repeated, it goes on where it was."""
    held = node.stores.named(store)
    account, roster = opened(node, held)
    into = _into(held, roster, target)
    now = await keysets.confirmed(node, held)
    if source is not None:
        chosen = [_from(held, roster, into, found(roster, held, source), now)]
    else:
        ended = (each for each in roster.keysets if each.end is not None and over(roster, each, now))
        chosen = [each for each in ended if roster.due(each, now)]
    rows = []
    for each in chosen:
        due = roster.due(each, now)
        tell(f"epochs of {roster.label(each)}", 0)
        done = await account.reencryption.reseal(each, into, partial(tell, f"epochs of {roster.label(each)}"))
        gone = await account.reencryption.retire(each, into, drop=due)
        folded = await account.reencryption.fold(each, into)
        counts = {**done._asdict(), **gone._asdict()}
        rows.append({"keyset": roster.label(each), "to": roster.label(into), **counts, "index_moved": folded})
    return rows


async def compromised(
    node: Node, store: str, names: Sequence[str], tell: Tell, by: Mapping[str, str] | None = None
) -> Any:
    """Close keysets whose keys somebody else has, seal anew what was sealed to them and have it purged; what was
    exposed, and which nodes have confirmed. Repeated, it goes on where it was; without names it tells how far it is."""
    held = node.stores.named(store)
    account, roster = opened(node, held)
    if names:
        hand = await keysets.hand(node, held, by)
        if not isinstance(hand.owner, bytes):
            raise Refused("what is purged at once the owner key signs on this node", "run this where that key is")
        chosen = [_short(held, roster, found(roster, held, name)) for name in names]
        await node.compromise.begin(held, account, roster, hand, chosen, tell)
    return await node.compromise.report(held, keysets.opened(held, held.secrets).names if held.secrets else None)


def _short(store: Store, roster: Roster, keyset: Keyset) -> Keyset:
    if keyset.end is None:
        raise Refused(
            f"the long-term keys of {roster.label(keyset)} stand in the recovery kit and on clients",
            f"mesyx store remove-node {store.name} NODE exchanges those that a lost client had",
        )
    return keyset


def opened(node: Node, store: Store) -> tuple[Account, Roster]:
    """What is open of a store in a running node. Raises Refused, Busy, Locked."""
    if not node.keyring.has(store.id):
        raise Refused(f"this node has no private keys of {store.name}", "run this on a client")
    if not node.live:
        raise Busy("no node is running here", "start it with `mesyx run --passphrase-file FILE`")
    if store.account is None or store.secrets is None:
        raise Locked(f"the store {store.name} is locked on this node", f"mesyx store unlock {store.name}")
    return store.account, keysets.opened(store, store.secrets)


def _into(store: Store, roster: Roster, target: str | None) -> Keyset:
    if target is None:
        chosen = lasting(roster)
        if chosen is None:
            raise Refused(f"{store.name} has no fallback keyset", f"mesyx keyset add {store.name} --fallback")
        return chosen
    named = found(roster, store, target)
    if not named.fallback or not roster.open(named):
        raise Refused(f"{target} is no long-term keyset that is in use", "name a fallback keyset, or leave out --to")
    return named


def _from(store: Store, roster: Roster, into: Keyset, keyset: Keyset, now: int) -> Keyset:
    if keyset.id == into.id:
        raise Refused("a keyset is not sealed to itself", "name another with --to")
    if not over(roster, keyset, now):
        raise Refused(
            f"messages are still sealed to {roster.label(keyset)}",
            f"wait for its end, or mesyx keyset retire {store.name} {roster.label(keyset)}",
        )
    return keyset
