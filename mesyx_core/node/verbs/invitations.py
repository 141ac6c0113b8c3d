"""`mesyx node invite` on a server, and `mesyx store add-node` on a client: how a node becomes a member."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from anyio.to_thread import run_sync

from mesyx_core.api import MesyxError, Permanent, Refused, Temporary
from mesyx_core.exchange import invitation as lines
from mesyx_core.exchange.frames import About
from mesyx_core.exchange.invitation import Invitation
from mesyx_core.exchange.join import Showing
from mesyx_core.node import governing, handover, membership, secrets
from mesyx_core.node.clock import now
from mesyx_core.node.stores import Store
from mesyx_core.vault.manifest import Cut, Manifest, Member, parse
from mesyx_core.vault.names import Keys, Names
from mesyx_core.wire.addresses import normal

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

PENDING: Final = "joining"
"""Rows of the manifests signed for invitations: whoever tries again, after whatever failed, presents the same one."""
PATIENCE: Final = 30.0


class Proposed(Temporary):
    """The join stops here: its manifest is to be signed elsewhere."""


async def invite(
    node: Node,
    roles: Sequence[str],
    addresses: Sequence[str] = (),
    expires: float = lines.LIFETIME,
    passphrase_file: str | None = None,
    passphrase: str | None = None,
) -> Any:
    """A line that makes this node a member of the store of whoever pastes it. As a client it may be given private keys:
    they will be under the passphrase.
    """
    missing = sorted(set(roles) - set(node.config.node.roles))
    if not roles or missing:
        offered = ", ".join(node.config.node.roles)
        raise Refused(
            f"this node does not offer {', '.join(missing) or 'nothing'}", f"it offers {offered}; see [node] roles"
        )
    if addresses and "accept" not in roles:
        raise Refused("addresses need the role accept", "add --role accept")
    dial = node.dial_addresses()
    if not dial:
        raise Refused("nobody could dial this node", "give it a [transport] section with `listen` and `address`")
    for address in addresses:
        if node.addresses.find(address) is not None:
            raise Refused(
                f"{address} is granted to a store already",
                "`mesyx store address list` shows to which; `mesyx store address remove` takes it back",
            )
    made = lines.make(
        node.key.public,
        dial,
        frozenset(roles),
        tuple(normal(address) for address in addresses),
        now().timestamp(),
        os.urandom,
        int(expires),
    )
    keys = ""
    if "client" in roles:
        await _forget_expired(node)
        keys = await run_sync(node.keyring.invite, made.id, await secrets.given(passphrase_file, passphrase))
    await node.exchange.register.issue(made, keys)
    return {
        "invitation": made.encode(),
        "expires": made.expires,
        "roles": sorted(roles),
        "addresses": list(made.addresses),
    }


async def _forget_expired(node: Node) -> None:
    """No key stays for an invitation that nobody can use any more."""
    for issued in await node.exchange.register.all():
        if issued.keys and issued.invitation.expired(now().timestamp()):
            await run_sync(node.keyring.forget, issued.invitation.id)


async def add_node(
    node: Node,
    name: str,
    invitation: str,
    keys: str = "short",
    passphrase_file: str | None = None,
    passphrase: str | None = None,
    owner_key: str | None = None,
    addresses: Sequence[str] | None = None,
    replaces: str | None = None,
    proposal: str | None = None,
) -> Any:
    """Sign a manifest that makes the inviting node a member, in the place of `replaces` if that is given, and have it
    take it. Returns once it has. With a file for a proposal the manifest is only written there; once it was signed and
    is in effect, the same again has the node take it.
    """
    store = node.stores.named(name)
    offer = lines.decode_line(invitation)
    if offer.node == node.key.public:
        raise Refused("this is an invitation of this node itself", "run this on the client that has the store")
    if keys not in handover.CHOICES:
        raise Refused(f"{keys!r} says not which keys", f"one of {', '.join(handover.CHOICES)}")
    if "client" not in offer.roles:
        keys = "none"  # what is no client has no use for them
    owner, held = await governing.unlocked(
        node, store, passphrase_file, passphrase, owner_key, keys=keys != "none", proposal=proposal
    )
    names = governing.known_names(store, held)
    old = await _replaced(node, store, names, replaces)
    identities = handover.chosen(held, store.manifest, keys) if held is not None and keys != "none" else ()
    stream = await _reach(node, offer)

    def changed(manifest: Manifest, about: About, names: Names | None) -> Manifest:
        manifest = _with_member(manifest, offer, about, addresses)
        return governing.named(membership.without(manifest, *old) if old else manifest, names)

    async def prepare(about: About) -> Showing:
        sealed = handover.sealed(store.id, identities, about.keys) if identities else b""
        called = membership.fresh_name(names, offer.node, about.name)
        fresh = names.with_node(offer.node, called, cast(Keys, keys)) if names is not None else None
        again = fresh is None or fresh == names
        document = await _pending(node, store, offer, owner, partial(changed, about=about, names=fresh), again)
        documents = store.documents if document is None or document in store.documents else [*store.documents, document]
        return Showing(documents, sealed, store.name if "client" in offer.roles else "")

    async with store.governing:
        try:
            with anyio.fail_after(PATIENCE):
                about = await node.exchange.join(stream, offer, store.id, prepare)
        except TimeoutError as error:
            raise Temporary(
                "the inviting node did not answer in time", "run this again: the same invitation and manifest serve"
            ) from error
        except Proposed:
            return {"name": store.name, "proposal": proposal}
        document = await node.rows.get(PENDING, offer.id.hex())
        if document is not None:
            await governing.take(node, store, document)
    member = store.authority.member(offer.node)
    return {
        "node": offer.node.hex(),
        "name": about.name,
        "roles": sorted(member.roles) if member else [],
        "addresses": list(member.addresses) if member else [],
        "keys": keys,
        "fingerprint": store.fingerprint,
        "welcome": f"{about.name or offer.node.hex()[:16]} holds {store.name} ({store.fingerprint})",
    }


async def _reach(node: Node, offer: Invitation) -> Any:
    """A stream to the inviting node, by the first of its addresses that answers."""
    failure: MesyxError = Permanent(
        "the invitation names no address of its node", "invite again with a [transport] that has one"
    )
    for address in offer.dial:
        try:
            with anyio.fail_after(PATIENCE):
                return await node.connect(address)
        except TimeoutError:
            failure = Temporary(f"{address} does not answer", "check that the node runs and can be reached")
        except MesyxError as error:
            failure = error
    raise failure


async def _replaced(
    node: Node, store: Store, names: Names | None, said: str | None
) -> tuple[bytes, tuple[Cut, ...]] | None:
    """The node whose place another takes, and where its logs end."""
    if said is None:
        return None
    old = membership.find(store, names, said)
    if old.node == node.key.public:
        raise Refused("a node cannot replace itself", "run this on another client of the store")
    return old.node, await membership.cuts(node, store, old.node)


async def _pending(
    node: Node, store: Store, offer: Invitation, owner: governing.OwnerKey, change: governing.Change, again: bool
) -> bytes | None:
    """The manifest with the node in it; the one that was signed before, if this is another try that still fits; None
    where the node is in what is in effect, just so. `again`: it has its name already.
    """
    known = await node.rows.get(PENDING, offer.id.hex())
    if known is not None and known in store.documents:
        return known
    wanted = governing.child(store, change)
    if again and not governing.differs(replace(store.manifest, names=b""), replace(wanted, names=b"")):
        await node.rows.put(PENDING, {offer.id.hex(): None})
        return None
    if isinstance(owner, governing.Elsewhere):
        await governing.propose(store, wanted, owner)
        raise Proposed("what its owner has to sign first is not signed", "sign the proposal")
    if known is not None and _same(parse(known), wanted):
        return known
    document = governing.signed(wanted, owner)
    await node.rows.put(PENDING, {offer.id.hex(): document})
    return document


def _same(known: Manifest, wanted: Manifest) -> bool:
    """But for the time, and the names, which are sealed anew each time."""
    alike = not governing.differs(replace(known, names=b""), replace(wanted, names=b""))
    return alike and known.parents == wanted.parents


def _with_member(current: Manifest, offer: Invitation, about: About, addresses: Sequence[str] | None) -> Manifest:
    picked = tuple(about.addresses) if addresses is None else tuple(normal(address) for address in addresses)
    beyond = set(picked) - set(about.addresses)
    if beyond:
        raise Refused(
            f"the node does not grant {', '.join(sorted(beyond))}", f"it grants {', '.join(about.addresses) or 'none'}"
        )
    member = Member(
        node=offer.node,
        recipient=about.recipient,
        roles=frozenset(about.roles) & offer.roles,
        addresses=picked,
        dial=tuple(offer.dial),
    )
    known = current.member(offer.node)
    if known is not None:
        member = replace(
            member,
            roles=known.roles | member.roles,
            rights=known.rights,
            addresses=tuple(dict.fromkeys(known.addresses + member.addresses)),
        )
    others = tuple(each for each in current.members if each.node != offer.node)
    return replace(current, members=(*others, member))
