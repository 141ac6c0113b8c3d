"""`mesyx login …`, on a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesyx_core.api import Refused

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def add(node: Node, store: str, label: str = "default") -> Any:
    held = node.stores.named(store)
    if not node.keyring.has(held.id):
        raise Refused(f"this node has no private keys of {held.name}", "log-ins are made on a client")
    if not 0 < len(label) <= 64 or not label.isprintable():
        raise Refused("a label is 1 to 64 printable characters", "name the program, like --label thunderbird")
    return {"user": held.name, "label": label, "password": await node.logins.add(held.id, label)}


async def listing(node: Node, store: str | None = None) -> Any:
    held = [node.stores.named(store)] if store is not None else list(node.stores)
    return [{"user": each.name, "label": label} for each in held for label in node.logins.of(each.id)]


async def remove(node: Node, store: str, label: str) -> Any:
    held = node.stores.named(store)
    await node.logins.remove(held.id, label)
    return {"user": held.name, "label": label}
