"""Exchanging the keys that somebody else has: new ones are made and kept, then the manifest is changed to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from anyio.to_thread import run_sync

from mesyx_core.api import Refused
from mesyx_core.node.clock import now
from mesyx_core.node.kit import Kit, recovery_kit
from mesyx_core.node.secrets import Secrets
from mesyx_core.node.stores import Store
from mesyx_core.vault import age
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import Manifest
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

Fresh: TypeAlias = Mapping[str, age.Identity]
"""By recipient, the identity whose recipient takes its place."""


def fresh(roster: Roster, lost: Collection[str], moment: int) -> Fresh:
    """New keys for those of the lost recipients that something is or will be sealed to."""
    used = {*roster.clients, *(one for keyset in roster.coming(moment) for one in keyset.recipients)}
    return {one: age.generate(hybrid=age.check_recipient(one) == "hybrid") for one in sorted(used & set(lost))}


def exchanged(manifest: Manifest, held: Secrets, made: Fresh, moment: int) -> Manifest:
    """The manifest with these keys in their places: keysets under the old ones are closed, and have twins."""
    identities = held.keys()
    recipients = {old: identity.recipient for old, identity in made.items()}
    return Roster.of(manifest, identities).exchanged(recipients, moment).into(manifest, identities)


def with_keys(held: Secrets, made: Fresh) -> Secrets:
    """All of them: what was sealed to the old ones is still to be read."""
    return replace(held, identities=(*held.identities, *(identity.text for identity in made.values())))


def kit_of(name: str, authority: Authority, held: Secrets, made: Fresh, following: bytes | None) -> Kit:
    """What governs a store, and opens all of it that long-term keys open, those made just now among them."""
    manifests = authority.manifests.values()
    endless = {one for each in manifests for keyset in each.keysets if keyset.end is None for one in keyset.recipients}
    wanted = endless | {one for each in manifests for one in each.clients}
    wanted |= {identity.recipient for old, identity in made.items() if old in wanted}
    identities = with_keys(held, made).keys()
    lasting = tuple(identity.text for identity in identities if identity.recipient in wanted)
    members = authority.effective.members
    places = tuple(url for member in members if "exchange" in member.roles for url in member.dial)
    return Kit(name, authority.store, held.owner, following, lasting, places)


def may_hand_out(node: Node, store: Store) -> None:
    """Raises Refused while a kit waits that has the next owner's key: there is no other copy of it."""
    if node.keyring.kit(store.id) is not None:
        raise Refused(
            f"nobody has taken the recovery kit of {store.name} yet", f"mesyx store kit {store.name} --kit FILE"
        )


async def keep(node: Node, store: Store, held: Secrets, kit: Kit, phrase: str) -> str:
    """Keys and kit, durable; the kit. Only then may anything be sealed to them."""
    text = await run_sync(recovery_kit, kit, phrase)
    await run_sync(node.keyring.keep_kit, store.id, text)
    await run_sync(node.keyring.save, store.id, held, phrase)
    if store.account is not None:
        store.secrets = held
        store.account.unlock(held.keys())
    return text


def moment() -> int:
    """Unix seconds."""
    return int(now().timestamp())
