"""This node's connections to the other members of its stores: who is dialled, what came of it, who holds what."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from mesyx_core.api import Health, Permanent
from mesyx_core.exchange.keeper import keep
from mesyx_core.node import faults
from mesyx_core.vault.manifest import Member

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

PATIENCE: Final = 30.0
"""Seconds without a connection after which `doctor` speaks of it."""


@dataclass(slots=True)
class Dialling:
    """A member that this node dials."""

    store: bytes
    member: Member
    health: Health = "retry"
    why: str = "not tried yet"
    since: float = 0.0
    scope: anyio.CancelScope | None = None

    def report(self, health: Health, why: str) -> None:
        if health != self.health:
            self.since = time.monotonic()
        self.health, self.why = health, why


class Peers:
    """Keeps one dialler for each member with addresses, as the manifests have them just now."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._dialling: dict[tuple[bytes, bytes], Dialling] = {}
        self._changed = anyio.Event()

    def refresh(self) -> None:
        """A store or a manifest is new: look again at who is to be dialled."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._changed = anyio.Event()
                wanted = self._wanted()
                for place in self._dialling.keys() - wanted.keys():
                    scope = self._dialling.pop(place).scope
                    if scope is not None:
                        scope.cancel()
                for place, member in wanted.items():
                    if place not in self._dialling:
                        dialling = Dialling(place[0], member, since=time.monotonic())
                        self._dialling[place] = dialling
                        tasks.start_soon(self._keep, dialling)
                    self._dialling[place].member = member
                await self._changed.wait()

    def _wanted(self) -> dict[tuple[bytes, bytes], Member]:
        me = self._node.key.public
        return {
            (store.id, member.node): member
            for store in self._node.stores
            if store.authority.member(me) is not None
            for member in store.manifest.members
            if member.node != me and member.dial
        }

    async def _keep(self, dialling: Dialling) -> None:
        with anyio.CancelScope() as scope:
            dialling.scope = scope
            dial = partial(
                keep,
                self._node.exchange,
                dialling.store,
                dialling.member.node,
                lambda: dialling.member.dial,
                self._node.connect,
                report=dialling.report,
                random=os.urandom,
            )
            await faults.again(f"the exchange with {dialling.member.node.hex()[:16]}", dial)

    def status(self, store: bytes) -> list[dict[str, Any]]:
        """Every other member: whether it is connected, and what it is known to hold."""
        held = self._node.stores.get(store)
        if held is None:
            return []
        return [self._one(store, m) for m in held.manifest.members if m.node != self._node.key.public]

    def _one(self, store: bytes, member: Member) -> dict[str, Any]:
        dialling = self._dialling.get((store, member.node))
        connected = [p for p in self._node.exchange.peers() if (p.store, p.node) == (store, member.node)]
        state = "connected" if connected else "away"
        return {
            "node": member.node.hex(),
            "roles": sorted(member.roles),
            "dial": list(member.dial),
            "state": state,
            "why": "" if connected else (dialling.why if dialling else "it dials this node"),
            "waiting": connected[0].waiting if connected else None,
            "in_sync": any(p.settled for p in connected),
            "sent": sum(p.sent for p in connected),
            "received": sum(p.received for p in connected),
        }

    def holding(self, store: bytes, node: bytes, incarnation: bytes, seq: int) -> list[str]:
        """Members that have said since the start that an entry is durable with them."""
        held = self._node.stores.get(store)
        members = held.manifest.members if held else ()
        acked = {m.node: self._node.exchange.acked(store, m.node).get((node, incarnation), 0) for m in members}
        return sorted(member.hex() for member, known in acked.items() if known >= seq)

    def unreachable(self) -> list[dict[str, Any]]:
        """Members that were dialled in vain for a while."""
        return [
            {
                "id": each.store,
                "store": store.name if (store := self._node.stores.get(each.store)) else "",
                "node": each.member.node.hex(),
                "why": each.why,
                "client": "client" in each.member.roles,
                "remedy": f"check that it runs and answers at {' or '.join(each.member.dial)}",
            }
            for each in self._dialling.values()
            if each.health != "up" and (time.monotonic() - each.since > PATIENCE or each.health == "down")
        ]


def reachable(addresses: Sequence[str]) -> None:
    """Raises Permanent when there is nowhere to dial."""
    if not addresses:
        raise Permanent(
            "the invitation has no address to dial",
            "give the inviting node a [transport] with `address`, and invite again",
        )
