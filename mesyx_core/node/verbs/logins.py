"""`mesyx login …`, on a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mesyx_core.api import Refused
from mesyx_core.mailbox import gateways
from mesyx_core.wire import addresses

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.stores import Store


async def add(node: Node, store: str, label: str = "default", identities: Sequence[str] = ()) -> Any:
    held = node.stores.named(store)
    if not node.keyring.has(held.id):
        raise Refused(f"this node has no private keys of {held.name}", "log-ins are made on a client")
    if not 0 < len(label) <= 64 or not label.isprintable():
        raise Refused("a label is 1 to 64 printable characters", "name the program, like --label thunderbird")
    limit = _granted(held, identities)
    return {"user": held.name, "label": label, "password": await node.logins.add(held.id, label, limit)}


def _granted(store: Store, identities: Sequence[str]) -> list[str]:
    """In the form that addresses are compared in. Raises Refused for one that no gateway grants to the store."""
    wanted = [addresses.normal(address) for address in identities]
    granted = gateways.granted_by(store.manifest)
    for address in wanted:
        if address not in granted:
            raise Refused(
                f"no gateway grants {address} to the store {store.name}",
                f"it may send as {', '.join(sorted(granted)) or 'nobody yet'}",
            )
    return wanted


async def listing(node: Node, store: str | None = None) -> Any:
    held = [node.stores.named(store)] if store is not None else list(node.stores)
    return [
        {"user": each.name, "label": label, "identities": list(node.logins.identities(each.id, label)) or ["all"]}
        for each in held
        for label in node.logins.of(each.id)
    ]


async def remove(node: Node, store: str, label: str) -> Any:
    held = node.stores.named(store)
    await node.logins.remove(held.id, label)
    return {"user": held.name, "label": label}
