"""`mesyx store way …`: what unlocks a store besides its passphrase."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from mesyx_core.api import Refused
from mesyx_core.node import secrets
from mesyx_core.node.stores import Store
from mesyx_core.node.ways import LABEL, Way, kind_of

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def add(
    node: Node,
    name: str,
    recipient: str,
    label: str = "",
    desktop: bool = False,
    passphrase_file: str | None = None,
    passphrase: str | None = None,
) -> Any:
    """Let whoever holds a recipient's private half unlock the store here; by the passphrase."""
    store = _held(node, name)
    kind = kind_of(recipient)
    label = " ".join(label.split()) or ("this desktop's keyring" if desktop else kind)
    if len(label) > LABEL or not label.isprintable():
        raise Refused("this label is none", f"at most {LABEL} characters on one line")
    phrase = await secrets.given(passphrase_file, passphrase)
    way = await run_sync(node.keyring.add_way, store.id, phrase, "desktop" if desktop else kind, recipient, label)
    return _row(way)


async def listing(node: Node, name: str) -> Any:
    """With the file that the other half opens: the command opens it, where the person and the key are."""
    store = _held(node, name)
    found = await run_sync(node.keyring.ways, store.id)
    return [{**_row(way), "store": store.id.hex(), "file": base64.b64encode(way.file).decode()} for way in found]


async def remove(node: Node, name: str, way: str) -> Any:
    """By its label or id."""
    store = _held(node, name)
    found = [each for each in await run_sync(node.keyring.ways, store.id) if way in (each.id, each.label)]
    if len(found) != 1:
        what = f"{way!r} could be several ways" if found else f"{store.name} has no way {way!r}"
        raise Refused(what, f"see `mesyx store way list {store.name}`")
    await run_sync(node.keyring.remove_way, store.id, found[0].id)
    return {**_row(found[0]), "store": store.id.hex()}


def _held(node: Node, name: str) -> Store:
    store = node.stores.named(name)
    if not node.keyring.has(store.id):
        raise Refused(f"this node has no private keys of {store.name}", "run this on a client")
    return store


def _row(way: Way) -> dict[str, Any]:
    return {"id": way.id, "kind": way.kind, "label": way.label, "recipient": way.recipient}
