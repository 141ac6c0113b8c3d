"""Whether a member was restored from a backup, or is in use twice: as its logs show it to every other member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mesyx_core.node.clock import now
from mesyx_core.record.checkpoint import parse
from mesyx_core.record.entry import Origin
from mesyx_core.record.payloads import Earlier, decode_start
from mesyx_core.record.shape import RecordError

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.stores import Store

SHOWN: Final = 7 * 86_400
"""Seconds for which it is shown after the last sign of it."""


async def findings(node: Node) -> list[dict[str, Any]]:
    """For `mesyx doctor`: level, what, remedy."""
    found = []
    for store in node.stores:
        for twin in sorted(await _twins(node, store)):
            name = "this node" if twin == node.key.public else f"the node {twin.hex()[:16]}"
            found.append(
                {
                    "level": "error",
                    "what": f"{store.name}: {name} was restored from a backup, or its key is in use twice",
                    "remedy": "if two run under that key, stop one and give it a key of its own (`mesyx init` in a new "
                    "folder); after a restore there is nothing to do, and a week later this is said no more",
                }
            )
    return found


async def _twins(node: Node, store: Store) -> set[bytes]:
    """Members with a log that went on after a later start of theirs had named it as ended."""
    heads = {(head.node, head.incarnation): head.seq for head in await node.journal.heads(store.id)}
    found: set[bytes] = set()
    for member, incarnation in heads:
        for earlier in await _closed(node, Origin(store.id, member, incarnation)):
            if heads.get((member, earlier.incarnation), 0) > earlier.seq and member not in found:
                data = await node.journal.checkpoint(Origin(store.id, member, earlier.incarnation))
                if data is not None and parse(data)[0].time > now().timestamp() - SHOWN:
                    found.add(member)
    return found


async def _closed(node: Node, origin: Origin) -> tuple[Earlier, ...]:
    entries = await node.journal.pick(origin, [1])
    payload = entries[0][1].payload if entries else None
    try:
        return decode_start(payload).earlier if payload is not None else ()
    except RecordError:
        return ()
