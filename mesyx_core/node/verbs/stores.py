"""`mesyx store …`: making a store, and looking at what this node holds."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mesyx_core.api import Busy, Refused
from mesyx_core.node import governing, secrets
from mesyx_core.node.clock import now
from mesyx_core.node.kit import Kit, recovery_kit
from mesyx_core.node.stores import Store, fit_name
from mesyx_core.vault import age, names
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Manifest, Member, next_commitment, owner_public, sign
from mesyx_core.vault.names import KeysetName, Names, NodeName
from mesyx_core.vault.roster import FALLBACK

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

SHORT: Final = timedelta(days=90)
"""How long the first short-term keyset is sealed to; after it the fallback keyset serves."""
GRACE: Final = 7 * 86400


async def create(node: Node, name: str, passphrase_file: str | None = None, passphrase: str | None = None) -> Any:
    """Owner key, first keysets and manifest 1, durable here; the answer has the recovery kit, which is kept until
    `kit_taken` says that somebody has it. Repeated before that, it gives the same kit again.
    """
    if not node.may("client"):
        raise Refused("this node is not a client", 'make stores where their mail is read: roles = ["client"]')
    if not fit_name(name):
        raise Refused(
            f"{name!r} cannot be a store's name", "1 to 64 characters, no white space, @ or /: people log in with it"
        )
    phrase = await secrets.given(passphrase_file, passphrase)
    with node.stores.making(name):
        held = next((store for store in node.stores if store.name == name), None)
        return await (_create(node, name, phrase) if held is None else _again(node, held, phrase))


async def _create(node: Node, name: str, phrase: str) -> Any:
    owner, following = os.urandom(32), os.urandom(32)
    short, long, own = (age.generate() for _ in range(3))
    document = sign(_first(node, owner, following, short.recipient, long.recipient, own.recipient), owner)
    kept = secrets.Secrets(owner, (long.text, short.text, own.text))
    id = Authority.of([document]).store
    kit = await run_sync(recovery_kit, Kit(name, id, owner, following, (long.text, own.text)), phrase)
    await run_sync(node.keyring.save, id, kept, phrase)
    await run_sync(node.keyring.keep_kit, id, kit)  # before the store is: from then on there is always a kit of it
    store = await node.stores.add(name, [document])
    if node.live:
        await node.mailboxes.open(store, kept)
    return _made(store, kit)


def _made(store: Store, kit: str) -> dict[str, Any]:
    return {"id": store.id.hex(), "name": store.name, "fingerprint": store.fingerprint, "kit": kit}


async def _again(node: Node, store: Store, phrase: str) -> Any:
    """What `create` answered to somebody who may never have heard it."""
    kit = node.keyring.kit(store.id)
    if kit is None:
        raise Refused(f"there is a store {store.name!r} already", "choose another name")
    try:
        kept = await run_sync(node.keyring.open, store.id, phrase)
    except Refused as error:
        raise Refused(
            f"there is a store {store.name!r} already, under another passphrase, and nobody has taken its recovery kit",
            f"`mesyx store kit {store.name}` prints the kit",
        ) from error
    if node.live:
        await node.mailboxes.open(store, kept)
    return {**_made(store, kit), "again": True}


async def kit(node: Node, name: str) -> Any:
    """The recovery kit, as `create` answered it, until it has been taken."""
    store = node.stores.named(name)
    found = node.keyring.kit(store.id)
    if found is None:
        raise Refused(
            f"this node keeps no recovery kit of {store.name}",
            "it is kept only until it has been shown or written once; what was shown is good",
        )
    return _made(store, found)


async def kit_taken(node: Node, name: str) -> Any:
    """Somebody has the recovery kit, durable or before their eyes: it is not kept here any longer."""
    store = node.stores.named(name)
    await run_sync(node.keyring.kit_taken, store.id)
    return {"name": store.name}


def _first(node: Node, owner: bytes, following: bytes, short: str, long: str, own: str) -> Manifest:
    time = int(now().timestamp())
    me = Member(
        node=node.key.public,
        recipient=node.key.recipient,
        roles=frozenset(node.config.node.roles),
        rights=frozenset({"purge"}),
        addresses=(),
        dial=node.dial_addresses(),
    )
    first = Keyset((short, long), start=time - 86400, end=time + int(SHORT.total_seconds()))
    fallback = Keyset((long,), fallback=True)
    called = {first.id: KeysetName("first", by_policy=True), fallback.id: KeysetName(FALLBACK)}
    return Manifest(
        owner=owner_public(owner),
        next_owner=next_commitment(owner_public(following)),
        number=1,
        parents=(),
        time=time,
        members=(me,),
        keysets=(first, fallback),
        clients=(own,),
        names=names.seal(Names({node.key.public: NodeName(node.config.node.name, "all")}, called), (own,)),
        grace=GRACE,
    )


async def listing(node: Node) -> Any:
    return [_row(node, store) for store in node.stores]


def _row(node: Node, store: Store) -> dict[str, Any]:
    member = node.stores.member(store)
    return {
        "name": store.name,
        "id": store.id.hex(),
        "fingerprint": store.fingerprint,
        "roles": sorted(member.roles) if member else [],
        "members": len(store.manifest.members),
        "state": _state(node, store),
        "open_until": store.open_until,
    }


def _state(node: Node, store: Store) -> str:
    if not node.keyring.has(store.id):
        return "sealed"
    return "open" if store.account is not None else "locked"


async def show(node: Node, name: str) -> Any:
    """What the manifest says, and what is here."""
    store = node.stores.named(name)
    manifest, names = store.manifest, governing.known_names(store)
    return {
        **_row(node, store),
        "manifest": manifest.number,
        "bytes": await node.journal.usage(store.id),
        "addresses": list(node.addresses.of(store.id)),
        "nodes": [
            {
                "node": member.node.hex(),
                "name": names.node(member.node).name if names is not None else "",
                "this": member.node == node.key.public,
                "roles": sorted(member.roles),
                "addresses": list(member.addresses),
                "dial": list(member.dial),
            }
            for member in manifest.members
        ],
        "keysets": [
            {
                "id": keyset.id.hex(),
                "from": keyset.start,
                "until": keyset.end,
                "importance": sorted(keyset.importances),
                "fallback": keyset.fallback,
                "closed": keyset.id in manifest.closed,
            }
            for keyset in manifest.keysets
        ],
    }


async def unlock(
    node: Node,
    name: str,
    passphrase_file: str | None = None,
    passphrase: str | None = None,
    identity: str | None = None,
    seconds: float | None = None,
) -> Any:
    """By the passphrase, or by the keyring identity that the command got by another way."""
    store = node.stores.named(name)
    if not node.keyring.has(store.id):
        raise Refused(f"this node has no private keys of {store.name}", "unlock it on a client")
    if not node.live:
        raise Busy("no node is running here", "start it with `mesyx run --passphrase-file FILE`")
    if identity is not None:
        await node.mailboxes.unlock_by(store, identity)
    else:
        await node.mailboxes.unlock(store, await secrets.given(passphrase_file, passphrase))
    node.mailboxes.lock_after(store, seconds)
    return {"name": store.name, "state": "open", "until": store.open_until}


async def lock(node: Node, name: str) -> Any:
    store = node.stores.named(name)
    await node.mailboxes.lock(store)
    return {"name": store.name, "state": "locked"}
