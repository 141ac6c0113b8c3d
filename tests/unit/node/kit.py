"""Sealed rows in memory."""

from __future__ import annotations

from collections.abc import Mapping


class MemoryRows:
    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    async def get(self, space: str, key: str) -> bytes | None:
        return self.kept.get((space, key))

    async def all(self, space: str) -> dict[str, bytes]:
        return {key: value for (where, key), value in self.kept.items() if where == space}

    async def put(self, space: str, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.kept.pop((space, key), None)
            else:
                self.kept[space, key] = value
