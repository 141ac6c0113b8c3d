"""A store comes back from its recovery kit and from whatever node still holds it, onto a new machine.

First this node becomes a member, the owner key is succeeded, and all keys are exchanged that the lost node had. What it
wrote is still taken until this node has all of it; then the lost node is removed, and its logs end there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mesyx_core.api import MesyxError, Refused
from mesyx_core.exchange.rescue import OwnerSigner
from mesyx_core.node import governing, membership, rotation
from mesyx_core.node.kit import Kit, recovery_kit
from mesyx_core.node.secrets import Secrets
from mesyx_core.node.stores import Store
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import Manifest, Member, next_commitment, owner_public
from mesyx_core.vault.names import Names
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

RIGHTS: Final = frozenset({"purge"})


@dataclass
class Restored:
    """What came of it."""

    store: Store
    lost: Member | None
    kit: str


@dataclass
class Restoring:
    """One store, from one kit."""

    node: Node
    kit: Kit
    phrase: str
    lost: str | None
    """As a person names it."""
    name: str

    def __post_init__(self) -> None:
        key = self.kit.following or self.kit.owner
        if key is None:
            raise Refused("there is no owner key in this kit", "give the kit that `mesyx store create` wrote as well")
        self._key = key
        self._restored: Restored | None = None

    async def begin(self, places: Sequence[str]) -> Restored:
        """By the first of these addresses, or of those in the kit, that answers. Raises Refused, and Temporary when
        none does.
        """
        failure: MesyxError = Refused(
            "the kit knows no address of a node of this store",
            "give --from URL, as `mesyx status` showed it for a node",
        )
        for place in dict.fromkeys((*places, *self.kit.places)):
            try:
                stream = await self.node.connect(place)
                await self.node.exchange.rescue(stream, self.kit.store, OwnerSigner(self._key), self._prepare)
            except MesyxError as error:
                failure = error
                if isinstance(error, Refused):
                    raise
            if self._restored is not None:  # also when the node went away then: it is told again by the sessions
                return self._restored
        raise failure

    async def _prepare(self, documents: Sequence[bytes], server: bytes) -> bytes:
        """The manifest that brings this node in, durable here with all keys before anybody sees it."""
        authority = Authority.of(documents)
        if authority.store != self.kit.store or authority.member(server) is None:
            raise Refused("what that node shows is not this store", "check the address")
        owner, following, next_owner = self._succession(authority.effective)
        held = Secrets(owner, self.kit.identities)
        names = governing.known_names_in(authority.effective, held)
        lost = self._lost(authority, names)
        roster = Roster.of(_readable(authority.effective, names), held.keys())
        moment = rotation.moment()
        made = rotation.fresh(roster, self._exposed(roster, lost), moment)
        me = self._member(authority, lost)
        called = membership.fresh_name(names, me.node, self.node.config.node.name)

        def change(manifest: Manifest) -> Manifest:
            others = tuple(member for member in manifest.members if member.node != me.node)
            manifest = replace(
                _readable(manifest, names), owner=owner_public(owner), next_owner=next_owner, members=(*others, me)
            )
            roster = Roster.of(manifest, held.keys())
            roster = replace(roster, names=roster.names.with_node(me.node, called, "all"))
            recipients = {old: identity.recipient for old, identity in made.items()}
            return roster.exchanged(recipients, moment).into(manifest, held.keys())

        document = governing.signed(governing.child_of(authority, change), owner)
        kit = rotation.kit_of(self.name, authority, held, made, following)
        text = await run_sync(recovery_kit, kit, self.phrase)
        keyring, kept = self.node.keyring, rotation.with_keys(held, made)
        await run_sync(keyring.keep_kit, authority.store, text)
        await run_sync(keyring.save, authority.store, kept, self.phrase)
        store = await self.node.stores.add(self.name, [*documents, document])
        await self.node.mailboxes.open(store, kept)
        self.node.manifest_changed(store.id)
        self._restored = Restored(store, lost, text)
        return document

    def _succession(self, manifest: Manifest) -> tuple[bytes, bytes | None, bytes]:
        """The owner's private key from now on, the one after it if there is a new one, and what shows that."""
        if self.kit.following is not None and next_commitment(owner_public(self._key)) == manifest.next_owner:
            following = os.urandom(32)
            return self._key, following, next_commitment(owner_public(following))
        for key in (self.kit.following, self.kit.owner):
            if key is not None and owner_public(key) == manifest.owner:
                return key, None, manifest.next_owner
        raise Refused("the owner key in this kit was succeeded by another", "give the newest recovery kit")

    def _lost(self, authority: Authority, names: Names | None) -> Member | None:
        clients = [
            member
            for member in authority.effective.members
            if "client" in member.roles and member.node != self.node.key.public
        ]
        if self.lost is not None:
            return membership.find_in(authority.effective, names, self.lost)
        if len(clients) > 1:
            known = ", ".join(membership.called(names, member.node) for member in clients)
            raise Refused("which client is lost?", f"give --lost NODE, one of: {known}")
        return clients[0] if clients else None

    def _exposed(self, roster: Roster, lost: Member | None) -> frozenset[str]:
        """Recipients whose private keys the lost node had: all, unless it is known to have had fewer."""
        every = frozenset(one for keyset in roster.keysets for one in keyset.recipients) | frozenset(roster.clients)
        if lost is None:
            return frozenset()
        return roster.held_by(lost.node) or every

    def _member(self, authority: Authority, lost: Member | None) -> Member:
        key = self.node.key
        known = authority.member(key.public)
        rights = (lost.rights if lost is not None else frozenset()) | (
            known.rights if known is not None else frozenset()
        )
        return Member(
            node=key.public,
            recipient=key.recipient,
            roles=frozenset(self.node.config.node.roles),
            rights=rights | RIGHTS,
            dial=self.node.dial_addresses(),
        )


def _readable(manifest: Manifest, names: Names | None) -> Manifest:
    """Without the names that no key in the kit opens: it is older than the last exchange of the clients' own keys."""
    return manifest if names is not None else replace(manifest, names=b"")
