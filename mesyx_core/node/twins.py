"""Whether a member was restored from a backup, or is in use twice: as its logs show it to every other member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from mesyx_core.node.clock import now
from mesyx_core.node.finding import Finding, finding
from mesyx_core.record.checkpoint import parse
from mesyx_core.record.entry import Origin
from mesyx_core.record.payloads import Earlier, decode_start
from mesyx_core.record.shape import RecordError

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.stores import Store

Log: TypeAlias = tuple[bytes, bytes]
"""(node, incarnation)."""
REMEDY: Final = (
    "if two run under that key, stop one and give it a key of its own (`mesyx init` in a new folder); after a restore "
    "there is nothing to do, and a week later this is said no more"
)
SHOWN: Final = 7 * 86_400
"""Seconds for which it is shown after the last sign of it."""


async def findings(node: Node) -> list[Finding]:
    """For `mesyx doctor`."""
    found = []
    for store in node.stores:
        for twin in sorted(await _twins(node, store) | node.exchange.forgot(store.id).keys()):
            name = "this node" if twin == node.key.public else f"the node {twin.hex()[:16]}"
            what = f"{store.name}: {name} was restored from a backup, or its key is in use twice"
            found.append(finding("error", what, REMEDY))
    return found


async def _twins(node: Node, store: Store) -> set[bytes]:
    """Members with a log that went on after a later start of theirs had named it as ended, or with two logs that have
    no end and that no start names: a node knows its own runs, and only the last one may be open."""
    closed: dict[Log, int] = {}
    heads = await node.journal.heads(store.id)
    for head in heads:
        for earlier in await _closed(node, Origin(store.id, head.node, head.incarnation)):
            closed[head.node, earlier.incarnation] = earlier.seq
    found: set[bytes] = set()
    open_: dict[bytes, list[int]] = {}
    for head in heads:
        log = head.node, head.incarnation
        if head.ended or closed.get(log) == head.seq:
            continue
        data = await node.journal.checkpoint(Origin(store.id, *log))
        signed = parse(data)[0].time if data is not None else 0
        if log in closed and signed > now().timestamp() - SHOWN:
            found.add(head.node)
        open_.setdefault(head.node, []).append(signed)
    found |= {member for member, times in open_.items() if sorted([0, *times])[-2] > now().timestamp() - SHOWN}
    return found


async def _closed(node: Node, origin: Origin) -> tuple[Earlier, ...]:
    entries = await node.journal.pick(origin, [1])
    payload = entries[0][1].payload if entries else None
    try:
        return decode_start(payload).earlier if payload is not None else ()
    except RecordError:
        return ()
