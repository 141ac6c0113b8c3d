"""`mesyx store remove-node`, `suspend-node` and `resume-node`: the owner's word on a store's members."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mesyx_core.api import Refused
from mesyx_core.node import governing, membership, rotation
from mesyx_core.node.secrets import Secrets, given
from mesyx_core.node.stores import Store
from mesyx_core.vault.manifest import Manifest, Member
from mesyx_core.vault.names import Names
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

SELF: Final = "run this on another client of the store"


async def remove_node(
    node: Node, name: str, member: str, by: Mapping[str, str] | None = None, keep_keys: bool = False
) -> Any:
    """It is no member any more: it is served nothing, and nothing that it writes from now on counts. All keys are
    exchanged that it may have; with `keep_keys` they are not.
    """
    store = node.stores.named(name)
    owner, held = await governing.signer(node, store, by, keys=True)
    names = governing.known_names(store, held)
    gone = _other(node, store, names, member, "remove")
    ends = await membership.cuts(node, store, gone.node)
    read, moment = reads(store, names, gone), rotation.moment()
    made: rotation.Fresh = {}
    kit = None
    if read and held is not None and names is not None and not keep_keys:
        roster = Roster.of(store.manifest, held.keys())
        made = rotation.fresh(roster, roster.held_by(gone.node), moment)
        kit = await _new_keys(node, store, held, made, by or {})

    def change(manifest: Manifest) -> Manifest:
        manifest = governing.named(membership.without(manifest, gone.node, ends), names)
        return rotation.exchanged(manifest, held, made, moment) if made and held is not None else manifest

    await governing.govern(node, store, change, owner=owner)
    told = {
        **_told(store, names, gone, by),
        "state": "removed",
        "logs": len(ends),
        "reads": read,
        "exchanged": len(made),
    }
    return told if kit is None else {**told, "kit": kit}


async def _new_keys(node: Node, store: Store, held: Secrets, made: rotation.Fresh, by: Mapping[str, str]) -> str:
    """Durable here, and in a new recovery kit, before anything is sealed to them; the kit."""
    rotation.may_hand_out(node, store)
    phrase = await given(by.get("passphrase_file"), by.get("passphrase"))
    await run_sync(node.keyring.open, store.id, phrase)  # it is the passphrase
    kit = rotation.kit_of(store.name, store.authority, held, made, None)
    return await rotation.keep(node, store, rotation.with_keys(held, made), kit, phrase)


async def suspend_node(node: Node, name: str, member: str, by: Mapping[str, str] | None = None) -> Any:
    """It keeps its place and nothing else, until it is resumed."""
    store = node.stores.named(name)
    owner, held = await governing.signer(node, store, by)
    names = governing.known_names(store, held)
    known = _other(node, store, names, member, "suspend")
    if not known.roles:
        raise Refused(f"{member} is suspended already", f"mesyx store resume-node {store.name} {member}")
    ends = await membership.cuts(node, store, known.node)
    change = partial(membership.suspended, member=known.node, ends=ends)
    await governing.govern(node, store, change, owner=owner)
    return {**_told(store, names, known, by), "state": "suspended", "logs": len(ends)}


async def resume_node(node: Node, name: str, member: str, by: Mapping[str, str] | None = None) -> Any:
    """It may again what it might before it was suspended."""
    store = node.stores.named(name)
    owner, held = await governing.signer(node, store, by)
    names = governing.known_names(store, held)
    known = membership.find(store, names, member)
    before = membership.before_suspension(store, known.node)
    if known.roles or before is None:
        raise Refused(f"{member} is not suspended", f"`mesyx store show {store.name}` shows what each node may do")
    await governing.govern(node, store, partial(membership.resumed, before=before), owner=owner)
    return {**_told(store, names, known, by), "state": "resumed", "roles": sorted(before.roles)}


def reads(store: Store, names: Names | None, member: Member) -> list[str]:
    """Ids of the keysets that a client has been given private keys of: what is sealed to them it opens for ever, where
    it holds or comes by it.
    """
    if "client" not in member.roles:
        return []
    keys = names.node(member.node).keys if names is not None else "all"
    kept = [
        keyset for keyset in store.manifest.keysets if keys == "all" or (keys == "short" and keyset.end is not None)
    ]
    return [keyset.id.hex() for keyset in kept]


def _other(node: Node, store: Store, names: Names | None, said: str, verb: str) -> Member:
    member = membership.find(store, names, said)
    if member.node == node.key.public:
        raise Refused(f"a node cannot {verb} itself", SELF)
    return member


def _told(store: Store, names: Names | None, member: Member, by: Mapping[str, str] | None) -> dict[str, Any]:
    return {
        **({"proposal": by["proposal"]} if by and "proposal" in by else {}),
        "name": store.name,
        "node": member.node.hex(),
        "node_name": membership.called(names, member.node),
        "manifest": store.manifest.number,
    }
