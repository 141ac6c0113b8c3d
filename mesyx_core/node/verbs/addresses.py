"""`mesyx store address …`, on a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesyx_core.api import Refused

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def add(node: Node, address: str, store: str | None = None) -> Any:
    """Grant an address to a store that this node accepts for."""
    _gateway(node)
    names = [held.name for held in node.stores]
    if store is None and len(names) != 1:
        raise Refused("which store is the address for?", f"add its name; this node has: {', '.join(names) or 'none'}")
    held = node.stores.named(store or names[0])
    await node.addresses.grant([address], held.id)
    return {"address": address, "store": held.name}


async def remove(node: Node, address: str, store: str | None = None) -> Any:
    _gateway(node)
    if store is not None and node.addresses.find(address) != node.stores.named(store).id:
        raise Refused(f"{address} is not granted to {store}", "`mesyx store address list` shows what is")
    await node.addresses.revoke(address)
    return {"address": address}


async def listing(node: Node, store: str | None = None) -> Any:
    wanted = node.stores.named(store).id if store is not None else None
    names = {held.id: held.name for held in node.stores}
    return [
        {"address": address, "store": names.get(owner, owner.hex()[:16])}
        for address, owner in node.addresses.all().items()
        if wanted in (None, owner)
    ]


def _gateway(node: Node) -> None:
    if not node.may("accept"):
        raise Refused("this node does not accept mail", "run this on the gateway, whose operator grants addresses")
