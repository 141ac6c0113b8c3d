"""Small values of the node itself, sealed under its key before the journal sees them."""

from __future__ import annotations

from collections.abc import Mapping

from mesyx_core.journal import Journal
from mesyx_core.vault.nodekey import NodeKey


class SealedRows:
    """Spaces of keys and values; keys are visible on the disk, values are not."""

    def __init__(self, journal: Journal, key: NodeKey) -> None:
        self._journal = journal
        self._key = key

    async def get(self, space: str, key: str) -> bytes | None:
        value = await self._journal.get(space, key)
        return None if value is None else self._key.open_row(space, key, value)

    async def all(self, space: str) -> dict[str, bytes]:
        rows = await self._journal.rows(space)
        return {key: self._key.open_row(space, key, value) for key, value in rows.items()}

    async def put(self, space: str, changes: Mapping[str, bytes | None]) -> None:
        """All or nothing, durable on return."""
        await self._journal.put(space, {key: self._sealed(space, key, value) for key, value in changes.items()})

    def sealed(self, space: str, changes: Mapping[str, bytes | None]) -> list[tuple[str, str, bytes | None]]:
        """The same as rows for a commit of the journal, to be one with its entries."""
        return [(space, key, self._sealed(space, key, value)) for key, value in changes.items()]

    def _sealed(self, space: str, key: str, value: bytes | None) -> bytes | None:
        return None if value is None else self._key.seal_row(space, key, value)
