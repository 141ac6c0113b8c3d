"""`mesyx status`, `trace` and `reload`: what runs, what waits, where a message is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from mesyx_core.api import Busy, Refused
from mesyx_core.node import missing
from mesyx_core.node.verbs import queue
from mesyx_core.record.entry import Origin, decode_header

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.stores import Store


REFUSALS: Final = 5
"""Streams turned away that status shows: the last ones."""


async def status(node: Node) -> Any:
    outbox = node.outgoing.status()
    return {
        "node": node.config.node.name,
        "key": node.key.public.hex(),
        "roles": list(node.config.node.roles),
        "running": node.live,
        "seconds": round(time.monotonic() - node.started) if node.live else 0,
        "instances": [
            {
                "instance": each.path,
                "use": each.bound.section.use,
                "state": each.health,
                "why": each.why,
                "seconds": round(time.monotonic() - each.since) if node.live else 0,
                "restarts": each.restarts,
            }
            for each in node.instances.running
        ],
        **({} if outbox is None else {"outbox": outbox}),
        "stores": [await _store(node, store) for store in node.stores],
        "turned_away": [one._asdict() for one in list(node.exchange.refusals)[-REFUSALS:]],
    }


async def _store(node: Node, store: Store) -> dict[str, Any]:
    from mesyx_core.node.verbs.stores import _state

    heads = await node.journal.heads(store.id)
    found: dict[str, Any] = {
        "name": store.name,
        "fingerprint": store.fingerprint,
        "state": _state(node, store),
        "entries": sum(head.seq for head in heads),
        "bytes": await node.journal.usage(store.id),
        "missing_blobs": len(await node.journal.lacking(store.id)),
        "addresses": list(node.addresses.of(store.id)),
        "peers": await _members(node, store),
    }
    if store.account is not None:
        found["mailbox"] = (await store.account.status())._asdict()
        found["outgoing"] = await queue.summary(node, store)
        found["keysets"] = node.upkeep.status(store)
        found["missing_keys"] = await missing.keys(node, store)
    return found


async def _members(node: Node, store: Store) -> list[dict[str, Any]]:
    """The other members: the sessions with them, and what they say of themselves."""
    answers = await node.summaries.ask(store.id)
    return [{**peer, **answers.get(bytes.fromhex(peer["node"]), {})} for peer in node.peers.status(store.id)]


async def trace(node: Node, id: str) -> Any:
    """What is known here of the message that a network was told is sealed as `id`."""
    incarnation, _, seq = id.strip().partition("-")
    if not seq.isdecimal() or len(incarnation) != 12 or any(c not in "0123456789abcdef" for c in incarnation):
        raise Refused(f"{id!r} is not a trace id", "copy what stands after `sealed as`, like 3f9a01c2d4e5-1042")
    for store in node.stores:
        for head in await node.journal.heads(store.id):
            if head.incarnation.hex().startswith(incarnation) and head.seq >= int(seq):
                return await _traced(node, store, head.node, head.incarnation, int(seq))
    raise Refused(f"no message {id} is known here", "it may not have come to this node yet: see `mesyx status`")


async def _traced(node: Node, store: Store, origin: bytes, incarnation: bytes, seq: int) -> Any:
    found: dict[str, Any] = {
        "store": store.name,
        "node": origin.hex(),
        "incarnation": incarnation.hex(),
        "seq": seq,
        "sealed_here": origin == node.key.public,
        "held_by": node.peers.holding(store.id, origin, incarnation, seq),
    }
    if store.account is not None:
        found["message"] = (await store.account.trace(origin, incarnation, seq))._asdict()
        for _, entry in await node.journal.pick(Origin(store.id, origin, incarnation), [seq]):
            epoch = decode_header(entry.header).epoch
            ids = await store.account.sealed_to(origin, incarnation, epoch)
            found["missing_keys"] = await missing.keys(node, store, ids)
    return found


async def reload(node: Node) -> Any:
    """Read the config again; only instances that changed are restarted."""
    if not node.live:
        raise Busy("no node is running here", "`mesyx run` reads the config as it is")
    return await node.reload()
