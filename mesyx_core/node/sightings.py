"""Where private keys of a store are known to be, or to have been: so that one that is missing can be named with the
place to look for it. Never the keys themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from mesyx_core.node.clock import now
from mesyx_core.node.rows import SealedRows
from mesyx_core.vault.encoding import decode, encode

KIT: Final = "in the recovery kit"
SHREDDED: Final = "shredded here"
MOST: Final = 8
"""Places that are remembered of one key."""
LONGEST: Final = 300


class Sighting(NamedTuple):
    """That a key was at a place."""

    place: str
    """In words, as they follow "last seen": "in the recovery kit", "exported to FILE", "on node X"."""
    time: int
    """When it was seen there last, in Unix seconds."""


class Sightings:
    """Kept in the node's own sealed rows."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    async def note(self, store: bytes, keys: Iterable[bytes], place: str) -> None:
        """These keys, by `key_id`, are at this place now."""
        time = int(now().timestamp())
        changes: dict[str, bytes | None] = {}
        for key in set(keys):
            old = await self._rows.get(_space(store), key.hex())
            others = [each for each in _read(old) if each.place != place]
            seen = [Sighting(place[:LONGEST], time), *others][:MOST]
            changes[key.hex()] = encode([1, [list(each) for each in seen]])
        await self._rows.put(_space(store), changes)

    async def all(self, store: bytes) -> Mapping[bytes, tuple[Sighting, ...]]:
        """Of every key that was ever seen, where; the latest first."""
        rows = await self._rows.all(_space(store))
        return {bytes.fromhex(key): _read(value) for key, value in rows.items()}


def _space(store: bytes) -> str:
    return f"keys/{store.hex()}"


def _read(value: bytes | None) -> tuple[Sighting, ...]:
    if value is None:
        return ()
    _, seen = decode(value, limit=1 << 16)
    return tuple(Sighting(*each) for each in seen)
