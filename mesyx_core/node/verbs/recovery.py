"""`mesyx store restore` and `succeed`: what the recovery kit is for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.to_thread import run_sync

from mesyx_core.api import Busy, Refused, Temporary
from mesyx_core.node import governing, membership, rotation
from mesyx_core.node.kit import Kit, opened
from mesyx_core.node.restoring import Restoring
from mesyx_core.node.secrets import given
from mesyx_core.node.stores import Store, fit_name
from mesyx_core.vault.manifest import Manifest, next_commitment, owner_public

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

STILL: Final = 60.0
"""Seconds without a new entry after which catching up counts as stuck."""
_LOOK: Final = 0.1


async def restore(
    node: Node,
    kits: Sequence[str],
    places: Sequence[str] = (),
    lost: str | None = None,
    name: str | None = None,
    passphrase_file: str | None = None,
    passphrase: str | None = None,
) -> Any:
    """A store from its recovery kit and a node that still has it: this node joins, keys are exchanged, the lost node is
    removed once all that it wrote and others have is here.
    """
    if not node.live:
        raise Busy("no node is running here", "start it with `mesyx run`, then restore")
    if not node.may("client"):
        raise Refused("this node is not a client", 'a store comes back where its mail is read: roles = ["client"]')
    phrase = await given(passphrase_file, passphrase)
    kit: Kit = await run_sync(opened, kits, phrase)
    called = name or kit.name
    if not fit_name(called):
        raise Refused(f"{called!r} cannot be a store's name", "give --name NAME")
    if node.stores.get(kit.store) is not None:
        raise Refused(f"this node holds {called} already", "the lost node is taken out with `mesyx store remove-node`")
    with node.stores.making(called):
        if any(store.name == called for store in node.stores):
            raise Refused(f"there is a store {called!r} already", "give --name NAME")
        restored = await Restoring(node, kit, phrase, lost, called).begin(places)
    store, gone = restored.store, restored.lost
    if gone is not None:
        await _caught_up(node, store, gone.node)
        ends = await membership.cuts(node, store, gone.node)
        assert store.secrets is not None
        assert store.secrets.owner is not None
        change = partial(membership.without, member=gone.node, ends=ends)
        await governing.govern(node, store, change, owner=store.secrets.owner)
    return {
        "id": store.id.hex(),
        "name": store.name,
        "fingerprint": store.fingerprint,
        "removed": gone.node.hex() if gone is not None else None,
        "kit": restored.kit,
    }


async def succeed(
    node: Node,
    name: str,
    kits: Sequence[str],
    kit_passphrase_file: str | None = None,
    passphrase_file: str | None = None,
    passphrase: str | None = None,
) -> Any:
    """The next owner key becomes the owner's, and another is made to be the next."""
    store = node.stores.named(name)
    rotation.may_hand_out(node, store)
    phrase = await given(passphrase_file, passphrase)
    held = await run_sync(node.keyring.open, store.id, phrase)
    kit = await run_sync(opened, kits, await given(kit_passphrase_file, None) if kit_passphrase_file else phrase)
    owner = _successor(store, kit)
    following = os.urandom(32)
    kept = replace(held, owner=owner)
    known = replace(kept, identities=(*held.identities, *kit.identities))
    fresh = rotation.kit_of(store.name, store.authority, known, {}, following)
    text = await rotation.keep(node, store, kept, fresh, phrase)

    def change(manifest: Manifest) -> Manifest:
        return replace(manifest, owner=owner_public(owner), next_owner=next_commitment(owner_public(following)))

    await governing.govern(node, store, change, owner=owner)
    return {"name": store.name, "manifest": store.manifest.number, "kit": text}


def _successor(store: Store, kit: Kit) -> bytes:
    """Of a kit, the key that the store's manifest names as the next owner's. Raises Refused."""
    if kit.store != store.id:
        raise Refused(f"this is the recovery kit of another store than {store.name}", "look for the right one")
    if kit.following is not None and next_commitment(owner_public(kit.following)) == store.manifest.next_owner:
        return kit.following
    raise Refused(
        "this kit does not have the next owner key", "give the newest kit of `store create`, `succeed` or `restore`"
    )


async def merge(node: Node, name: str, by: Mapping[str, str] | None = None) -> Any:
    """One manifest of several that nobody has followed up."""
    store = node.stores.named(name)
    if len(store.authority.heads) < 2:
        raise Refused(f"{store.name} has one newest manifest", "there is nothing to merge")
    owner, held = await governing.signer(node, store, by)
    names = governing.joined_names(store, held)
    joined = store.authority.joined
    await governing.govern(node, store, lambda _: governing.named(joined, names), owner=owner)
    only = {"proposal": by["proposal"]} if by and "proposal" in by else {}
    return {"name": store.name, "manifest": store.manifest.number, **only}


async def _caught_up(node: Node, store: Store, lost: bytes) -> None:
    """Return once another member's logs are all here. Raises Temporary where nothing comes for a while."""
    held, since = -1, node.monotonic()
    while not _complete(node, store.id, lost):
        size = await _size(node, store)
        if size != held:
            held, since = size, node.monotonic()
        if node.monotonic() - since > STILL:
            raise Temporary(
                f"{store.name} is here, but not yet all of its mail: no node sends it just now",
                f"when `mesyx status` shows that it is in sync: mesyx store remove-node {store.name} {lost.hex()[:16]}",
            )
        await anyio.sleep(_LOOK)


def _complete(node: Node, store: bytes, lost: bytes) -> bool:
    return any(peer.store == store and peer.node != lost and peer.heard_all for peer in node.exchange.peers())


async def _size(node: Node, store: Store) -> int:
    return sum(head.seq for head in await node.journal.heads(store.id))
