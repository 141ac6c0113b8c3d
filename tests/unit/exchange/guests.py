"""An invitation's two ends, and what passes between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mesyx_core.builtin.memory import pair
from mesyx_core.exchange import About, Showing
from mesyx_core.exchange.invitation import Invitation, make
from mesyx_core.vault.manifest import Member


class Guests:
    """A laptop with a store, a gateway that has never heard of it, and whatever passes between."""

    def __init__(self, cluster: Any, laptop: Any, gateway: Any, as_member: Callable[..., Member]) -> None:
        self.cluster = cluster
        self.laptop = laptop
        self.gateway = gateway
        self.as_member = as_member
        self.about: list[About] = []
        self.keys: tuple[bytes, str] = (b"", "")
        """What is sent with the manifests: private keys, and the store's name."""

    async def invite(
        self, *addresses: str, secret: int = 7, roles: Sequence[str] = ("accept", "exchange"), keys: str = ""
    ) -> Invitation:
        made = make(
            self.gateway.key.public,
            (),
            frozenset(roles),
            addresses,
            self.gateway.clock,
            lambda n: bytes([secret]) * n,
        )
        await self.gateway.exchange.register.issue(made, keys)
        return made

    async def join(self, invited: Invitation, by: Any = None, addresses: Sequence[str] = (), **changes: Any) -> None:
        here, there = pair()
        node = by or self.laptop
        store = changes.pop("store", self.cluster.store)

        async def prepare(about: About) -> Showing:
            self.about.append(about)
            documents: list[bytes] = self.cluster.owner.documents
            if self.cluster.owner.manifest.member(self.gateway.key.public) is None:
                new = replace(self.as_member(self.gateway.key, "accept", addresses=addresses), **changes)
                self.cluster.owner.change([*self.cluster.owner.manifest.members, new])
            return Showing(documents, *self.keys)

        self.cluster.tasks.start_soon(self.gateway.exchange.accept, there)
        await node.exchange.join(here, invited, store, prepare)
