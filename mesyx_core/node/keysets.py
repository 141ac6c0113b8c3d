"""A store's keysets, changed by a client: first the private halves of new keys are durable here, then the manifest lets
others seal to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from mesyx_core.api import Refused
from mesyx_core.node import governing
from mesyx_core.node.clock import now
from mesyx_core.node.governing import OwnerKey
from mesyx_core.node.secrets import Secrets
from mesyx_core.node.stores import Store
from mesyx_core.record.checkpoint import parse
from mesyx_core.record.entry import Origin
from mesyx_core.vault import age
from mesyx_core.vault.keyset import KeysetError
from mesyx_core.vault.manifest import Manifest
from mesyx_core.vault.names import NamesError
from mesyx_core.vault.policy import Frame, PolicyError
from mesyx_core.vault.roster import Roster, is_hybrid

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

DAY: Final = 86_400

Change: TypeAlias = Callable[[Roster], Roster]


class Hand(NamedTuple):
    """What changing a store's keysets takes."""

    owner: OwnerKey
    secrets: Secrets


def clock() -> int:
    """Now, in Unix seconds."""
    return int(now().timestamp())


async def confirmed(node: Node, store: Store) -> int:
    """Now, as far as the others bear it out, for what cannot be undone: at most a day after the latest time that
    another member has signed, where there is one. A machine whose clock was set years ahead destroys no key for it."""
    signed = []
    for head in await node.journal.heads(store.id):
        checkpoint = await node.journal.checkpoint(Origin(store.id, head.node, head.incarnation))
        if head.node != node.key.public and checkpoint is not None:
            signed.append(parse(checkpoint)[0].time)
    return min(clock(), max(signed) + DAY) if signed else clock()


def opened(store: Store, secrets: Secrets) -> Roster:
    """The store's keysets and their names. Raises Refused where this client cannot read them."""
    try:
        return Roster.of(store.manifest, secrets.keys())
    except NamesError as error:
        raise Refused(
            f"no key at hand opens the names of {store.name}",
            "its clients have a new key since: it comes by itself once another client is reached",
        ) from error


async def hand(node: Node, store: Store, by: Mapping[str, str] | None) -> Hand:
    """The owner key and the store's private keys, as a command says where they are. Raises Refused where they are not
    here."""
    if not node.keyring.has(store.id):
        raise Refused(f"this node has no private keys of {store.name}", "run this on a client")
    owner, secrets = await governing.signer(node, store, by, keys=True)
    assert secrets is not None
    return Hand(owner, secrets)


async def publish(node: Node, store: Store, by: Hand, change: Change, fresh: Sequence[age.Identity] = ()) -> Roster:
    """Have a change of the keysets in effect that seals to `fresh` keys; the keysets as they are now, or as they were
    proposed where the owner key is elsewhere. Raises Refused."""
    identities = by.secrets.keys()

    def changed(manifest: Manifest) -> Manifest:
        return change(Roster.of(manifest, identities)).pruned(clock()).into(manifest, identities)

    await node.mailboxes.add_keys(store, [identity.text for identity in fresh])
    try:
        manifest = await governing.govern(node, store, lambda manifest: _checked(changed, manifest), owner=by.owner)
    except Refused:  # by anything else it may have been kept all the same
        await node.mailboxes.destroy_keys(store, [identity.recipient for identity in fresh])
        raise
    listed = {one for keyset in manifest.keysets for one in keyset.recipients} | set(manifest.clients)
    await node.mailboxes.destroy_keys(store, [one.recipient for one in fresh if one.recipient not in listed])
    return Roster.of(manifest, identities)


def _checked(change: Callable[[Manifest], Manifest], manifest: Manifest) -> Manifest:
    try:
        return change(manifest)
    except (KeysetError, PolicyError, NamesError) as error:
        raise Refused(
            f"there cannot be such a keyset: {error}", "see `mesyx keyset list` for those there are"
        ) from error


async def fill(node: Node, store: Store, by: Hand, change: Change = lambda roster: roster) -> Roster:
    """Make what the policy asks for and is not there, once `change` is made. Raises Refused."""
    roster = change(opened(store, by.secrets))
    fresh = made(roster, roster.missing(clock()))
    recipients = {frame: identity.recipient for frame, identity in fresh.items()}
    return await publish(
        node, store, by, lambda current: change(current).filled(recipients, clock()), tuple(fresh.values())
    )


def made(roster: Roster, frames: Sequence[Frame]) -> Mapping[Frame, age.Identity]:
    """A new short-term key for each, of the kind of the long-term ones that it stands beside."""
    beside = is_hybrid(roster.lasting)
    return {frame: age.generate(hybrid=frame.strict or beside) for frame in frames}
