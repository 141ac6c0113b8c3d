"""Which private keys are missing for what cannot be read here, and where each was last seen."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mesyx_core.node.stores import Store
from mesyx_core.vault.keyset import Keyset, key_id
from mesyx_core.vault.names import NamesError
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def keys(node: Node, store: Store, ids: Collection[bytes] | None = None) -> list[dict[str, Any]]:
    """The keysets that no key here opens, or those of them with these ids: how many epochs wait for each, and where its
    keys were last seen, the latest first.
    """
    if store.account is None or store.secrets is None:
        return []
    locked = await store.account.locked_epochs()
    wanted = {id: count for id, count in locked.items() if ids is None or id in ids}
    if not wanted:
        return []
    seen = await node.sightings.all(store.id)
    listed = {each.id: each for manifest in store.authority.manifests.values() for each in manifest.keysets}
    found = []
    for id, count in sorted(wanted.items()):
        recipients = listed[id].recipients if id in listed else ()
        places = {place for one in recipients for place in seen.get(key_id(one), ())}
        found.append(
            {
                "keyset": _label(store, listed.get(id), id),
                "epochs": count,
                "seen": [
                    {"place": each.place, "time": each.time} for each in sorted(places, key=lambda one: -one.time)
                ],
            }
        )
    return found


def _label(store: Store, keyset: Keyset | None, id: bytes) -> str:
    assert store.secrets is not None
    try:
        roster = Roster.of(store.manifest, store.secrets.keys())
    except NamesError:
        return id.hex()[:8]
    return roster.label(keyset) if keyset is not None else id.hex()[:8]
