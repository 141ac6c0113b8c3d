"""The owner key kept elsewhere: it leaves this node, and what it has signed there is taken here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from mesyx_core.api import Refused
from mesyx_core.node import governing
from mesyx_core.node.secrets import given
from mesyx_core.vault.manifest import ManifestError, owner_public, parse
from mesyx_core.vault.proposal import read_signed

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def govern(node: Node, name: str, document: str) -> Any:
    """Have a manifest in effect that was proposed here and signed elsewhere."""
    store = node.stores.named(name)
    try:
        signed = read_signed(document)
        manifest = parse(signed)
        if manifest.store != store.id:
            raise Refused(f"this is a manifest of another store than {store.name}", "name that store")
        async with store.governing:
            if manifest.hash not in store.authority and manifest.parents != store.authority.heads:
                raise Refused(
                    f"{store.name} has changed since this was proposed", "propose it again, and have that signed"
                )
            await governing.take(node, store, signed)
    except ManifestError as error:
        raise Refused(f"this manifest cannot be taken: {error}", "see what `mesyx store sign` wrote") from error
    return {"name": store.name, "manifest": manifest.number}


async def owner_key(node: Node, name: str, by: Mapping[str, str] | None = None) -> Any:
    """The owner's private key, to be kept elsewhere; it stays here until `owner_key_taken`."""
    store = node.stores.named(name)
    owner = await governing.owner_key(node, store, *_phrase(by))
    return {"name": store.name, "key": owner.hex()}


async def owner_key_taken(node: Node, name: str, key: str, by: Mapping[str, str] | None = None) -> Any:
    """Forget the owner key: somebody has shown that he has it."""
    store = node.stores.named(name)
    private = bytes.fromhex(key) if re.fullmatch("[0-9a-f]{64}", key) else None
    if private is None or owner_public(private) != store.manifest.owner:
        raise Refused(f"this is not the owner key of {store.name}", "it stays where it is")
    phrase = await given(*_phrase(by))
    held = await run_sync(node.keyring.open, store.id, phrase)
    await run_sync(node.keyring.save, store.id, replace(held, owner=None), phrase)
    if store.secrets is not None:
        store.secrets = replace(store.secrets, owner=None)
    return {"name": store.name}


def _phrase(by: Mapping[str, str] | None) -> tuple[str | None, str | None]:
    by = by or {}
    return by.get("passphrase_file"), by.get("passphrase")
