"""The one place where a store's manifest is changed: the child of all heads is made, signed, kept, and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from anyio.to_thread import run_sync

from mesyx_core.api import Refused
from mesyx_core.node import secrets
from mesyx_core.node.clock import now
from mesyx_core.node.durable import write_durably
from mesyx_core.node.secrets import Secrets
from mesyx_core.node.stores import Store
from mesyx_core.vault import names
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import Manifest, ManifestError, owner_public, parse, sign
from mesyx_core.vault.names import Names
from mesyx_core.vault.proposal import Proposal, proposal_file

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


class Elsewhere(NamedTuple):
    """The owner key is not here: what it would sign is written to this file, and nothing is done."""

    file: Path


OwnerKey: TypeAlias = bytes | Elsewhere
"""The owner's private key, or that it is elsewhere."""
Change: TypeAlias = Callable[[Manifest], Manifest]
"""What is in effect, as it shall be: members, keysets and so on. Lineage and time are not its to set."""


class Signer(NamedTuple):
    owner: OwnerKey
    held: Secrets | None
    """The store's private keys, where they are open."""


async def govern(node: Node, store: Store, change: Change, *, owner: OwnerKey) -> Manifest:
    """Change a store's manifest, durably, and tell mailboxes, peers and other nodes. The manifest signed; where nothing
    would change, what is in effect; with the owner key elsewhere, what was only proposed. Changes of one store come one
    after the other. Raises Refused.
    """
    async with store.governing:
        wanted = child(store, change)
        if not differs(wanted, store.manifest) and len(store.authority.heads) == 1:
            return store.manifest
        if isinstance(owner, Elsewhere):
            await propose(store, wanted, owner)
        else:
            await take(node, store, signed(wanted, owner))
        return wanted


async def propose(store: Store, manifest: Manifest, elsewhere: Elsewhere) -> None:
    """Write what is to be signed, with what it follows. Raises Refused."""
    parents = tuple(each for each in store.documents if parse(each).hash in manifest.parents)
    text = proposal_file(Proposal(store.name, parents, manifest))
    try:
        await run_sync(write_durably, elsewhere.file, text.encode("ascii"))
    except OSError as error:
        raise Refused(f"{elsewhere.file}: cannot be written ({error.strerror})", "name another file") from error


def child(store: Store, change: Change) -> Manifest:
    """The unsigned child of all heads. Raises Refused where it would be no manifest."""
    return child_of(store.authority, change)


def child_of(authority: Authority, change: Change) -> Manifest:
    """The same, of a store that may not be held here."""
    current = authority.effective
    try:
        return replace(
            change(current),
            number=current.number + 1,
            parents=authority.heads,
            first=authority.store,
            merged=(),
            time=int(now().timestamp()),
        )
    except ManifestError as error:
        raise Refused(f"the store would have a manifest that no node takes: {error}") from error


def signed(manifest: Manifest, owner: OwnerKey) -> bytes:
    """The document. Raises Refused where this is not the owner's key, or others would not read it."""
    if isinstance(owner, Elsewhere):
        raise Refused("the owner key is elsewhere", "give --owner-key FILE")
    try:
        return sign(manifest, owner)
    except ManifestError as error:
        raise Refused(f"the manifest cannot be signed: {error}", "give the store's owner key") from error


def differs(one: Manifest, other: Manifest) -> bool:
    """Whether they say different things, whatever their places in the lineage."""
    return _undated(one) != _undated(other)


def _undated(manifest: Manifest) -> Manifest:
    return replace(manifest, number=2, parents=(bytes(32),), first=bytes(32), time=0, merged=())


async def take(node: Node, store: Store, document: bytes) -> bool:
    """Keep a signed manifest and have it in effect here and, as they are reached, at the other members; whether it was
    new. Raises ManifestError.
    """
    if not await node.stores.take(store.id, document):
        return False
    await node.exchange.manifests_changed(store.id)
    node.manifest_changed(store.id)
    return True


def known_names(store: Store, held: Secrets | None = None) -> Names | None:
    """What people call the store's nodes and keysets; None where no key at hand opens that."""
    return known_names_in(store.manifest, held or store.secrets)


def known_names_in(manifest: Manifest, held: Secrets | None) -> Names | None:
    """The same, of any manifest."""
    try:
        return names.open_(manifest.names, held.keys() if held is not None else ())
    except names.NamesError:
        return None


def joined_names(store: Store, held: Secrets | None) -> Names | None:
    """Those of all newest manifests together, as far as keys at hand open them."""
    heads = [store.authority.manifests[head] for head in store.authority.heads]
    found = [one for one in (known_names_in(head, held or store.secrets) for head in heads) if one is not None]
    if not found:
        return None
    nodes = {node: name for one in found for node, name in one.nodes.items()}
    return replace(found[0], nodes=nodes).with_keysets({id: name for one in found for id, name in one.keysets.items()})


def named(manifest: Manifest, fresh: Names | None) -> Manifest:
    """With these names, sealed to its client recipients; those of what is gone are left out. None leaves them."""
    if fresh is None or not manifest.clients:
        return manifest
    fresh = fresh.only([member.node for member in manifest.members], [keyset.id for keyset in manifest.keysets])
    try:
        return replace(manifest, names=names.seal(fresh, manifest.clients))
    except names.NamesError as error:
        raise Refused(f"the names cannot stand in the manifest: {error}", "choose shorter ones") from error


async def signer(node: Node, store: Store, by: Mapping[str, str] | None, *, keys: bool = False) -> Signer:
    """Who signs, as a command says it in `passphrase_file`, `passphrase`, `owner_key` and `proposal`, and the store's
    private keys where they are open, or `keys` asks for them and they are here.
    """
    by = by or {}
    return await unlocked(
        node,
        store,
        by.get("passphrase_file"),
        by.get("passphrase"),
        by.get("owner_key"),
        keys=keys and node.keyring.has(store.id),
        proposal=by.get("proposal"),
    )


async def owner_key(
    node: Node,
    store: Store,
    passphrase_file: str | None = None,
    passphrase: str | None = None,
    owner_key_file: str | None = None,
) -> bytes:
    """The owner's private key, from wherever it is: its own file, memory where the store is open, or from under the
    passphrase. Raises Refused where it is nowhere here.
    """
    owner = (await unlocked(node, store, passphrase_file, passphrase, owner_key_file, keys=False)).owner
    assert not isinstance(owner, Elsewhere)
    return owner


async def unlocked(
    node: Node,
    store: Store,
    passphrase_file: str | None,
    passphrase: str | None,
    owner_key_file: str | None,
    *,
    keys: bool,
    proposal: str | None = None,
) -> Signer:
    """The owner's private key as `owner_key` finds it, and the store's private keys, where `keys` or the owner's asks
    for them. With a file for a proposal nobody signs.
    """
    apart = owner_key_file or node.owner_key
    owner = await run_sync(_read, Path(apart), store) if apart is not None else None
    held = store.secrets
    if held is None and (keys or (owner is None and proposal is None)):
        if not node.keyring.has(store.id):
            raise Refused(
                f"this node has no {'private keys' if owner else 'owner key'} of {store.name}",
                "give --keys none" if owner else "run this where the store was made, or give --owner-key FILE",
            )
        held = await run_sync(node.keyring.open, store.id, await secrets.given(passphrase_file, passphrase))
    if proposal is not None:
        return Signer(Elsewhere(Path(proposal)), held)
    owner = owner or (held.owner if held is not None else None)
    if owner is None:
        raise Refused(f"the owner key of {store.name} is kept elsewhere", "give --owner-key FILE, or --proposal FILE")
    if owner_public(owner) != store.manifest.owner:
        raise Refused(
            f"the owner key of {store.name} that is kept here has been succeeded",
            "give --owner-key FILE with the new one",
        )
    return Signer(owner, held)


def _read(path: Path, store: Store) -> bytes:
    try:
        owner = bytes.fromhex(path.read_text("ascii").split()[-1])
    except (OSError, ValueError, IndexError) as error:
        raise Refused(
            f"{path}: no owner key can be read", "its text is 64 hex digits, as in the recovery kit"
        ) from error
    if len(owner) != 32 or owner_public(owner) != store.manifest.owner:
        raise Refused(f"{path}: this is not the owner key of {store.name}", "take the one from its recovery kit")
    return owner
