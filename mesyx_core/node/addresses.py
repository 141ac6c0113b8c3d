"""Which mail addresses a gateway serves, and for which store: only its operator grants them."""

from __future__ import annotations

from typing import Final

from mesyx_core.api import Refused
from mesyx_core.node.rows import SealedRows
from mesyx_core.wire.addresses import normal

SPACE: Final = "address"


class Addresses:
    """Granted addresses. In memory for RCPT, in sealed rows for good."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows
        self._stores: dict[str, bytes] = {}

    async def load(self) -> None:
        self._stores = {address: store for address, store in (await self._rows.all(SPACE)).items()}

    def find(self, address: str) -> bytes | None:
        try:
            return self._stores.get(normal(address))
        except Refused:
            return None

    def foreign(self, address: str, store: bytes) -> bool:
        """Whether an address is not this store's to send as: it is another's, or of a domain in which this gateway
        grants addresses, and has granted this one to nobody."""
        try:
            wanted = normal(address)
        except Refused:
            return False
        owner = self._stores.get(wanted)
        if owner is not None:
            return owner != store
        domain = wanted.rpartition("@")[2]
        return any(granted.rpartition("@")[2] == domain for granted in self._stores)

    def of(self, store: bytes) -> list[str]:
        return sorted(address for address, owner in self._stores.items() if owner == store)

    def all(self) -> dict[str, bytes]:
        return dict(sorted(self._stores.items()))

    async def grant(self, addresses: list[str], store: bytes) -> None:
        """Raises Refused when one of them is another store's; then none is granted."""
        wanted = [normal(address) for address in addresses]
        for address in wanted:
            if self._stores.get(address, store) != store:
                raise Refused(
                    f"{address} is granted to another store", "remove it there first: `mesyx store address remove`"
                )
        await self._rows.put(SPACE, {address: store for address in wanted})
        self._stores.update({address: store for address in wanted})

    async def revoke(self, address: str) -> None:
        wanted = normal(address)
        if wanted not in self._stores:
            raise Refused(f"{address} is not granted here", "`mesyx store address list` shows those that are")
        await self._rows.put(SPACE, {wanted: None})
        del self._stores[wanted]
