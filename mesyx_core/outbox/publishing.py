"""Says in every store which recipients of the day there are, and what this gateway sends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from mesyx_core.record.outgoing import Recipients

if TYPE_CHECKING:
    from mesyx_core.outbox.outbox import Outbox

Offer: TypeAlias = tuple[tuple[bytes, ...], tuple[str, ...]]


class Published:
    """What each store was told in this run. A run says it at least once: this is also how a clone is heard."""

    def __init__(self) -> None:
        self._offers: dict[bytes, Offer] = {}

    def forget(self, store: bytes) -> None:
        """Say it again."""
        self._offers.pop(store, None)

    async def publish(self, outbox: Outbox) -> None:
        """Tell those stores that do not know. Raises Temporary."""
        days = tuple(outbox.days)
        networks = outbox.ways.networks()
        offer = tuple(day.id for day in days), networks
        for store in outbox.ways.stores():
            if self._offers.get(store) != offer:
                told = Recipients(outbox.own.stamp(outbox.ways.now(), later=True), days, networks)
                await outbox.commit([await outbox.ways.to_clients(store, told.pack())])
                self._offers[store] = offer
