"""`mesyx queue`: what waits to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def listing(node: Node) -> Any:
    """On a gateway: ids, counts and times, no addresses, for it keeps none."""
    return await node.outgoing.listing()
