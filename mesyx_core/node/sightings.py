"""Where private keys of a store are known to be, or to have been: so that one that is missing can be named with the
place to look for it. Never the keys themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    given_up: bool = False
    """Whether this node has let it go there, and wants it from nobody else."""


class Sightings:
    """Kept in the node's own sealed rows."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    async def note(self, store: bytes, keys: Iterable[bytes], place: str, *, given_up: bool = False) -> None:
        """These keys, by `key_id`, are at this place now; `given_up`: and here no longer, which is meant so."""
        seen = Sighting(place[:LONGEST], int(now().timestamp()), given_up)
        await self._change(store, keys, lambda old: (seen, *(each for each in old if each.place != seen.place)))

    async def back(self, store: bytes, keys: Iterable[bytes]) -> None:
        """These keys are here again."""
        await self._change(store, keys, lambda old: tuple(each._replace(given_up=False) for each in old))

    async def given_up(self, store: bytes) -> frozenset[bytes]:
        """Keys that this node has let go on purpose: moved away, or destroyed."""
        return frozenset(key for key, seen in (await self.all(store)).items() if any(each.given_up for each in seen))

    async def _change(
        self, store: bytes, keys: Iterable[bytes], change: Callable[[tuple[Sighting, ...]], tuple[Sighting, ...]]
    ) -> None:
        changes: dict[str, bytes | None] = {}
        for key in set(keys):
            old = _read(await self._rows.get(_space(store), key.hex()))
            if (new := change(old)[:MOST]) != old:
                changes[key.hex()] = encode([1, [list(each) for each in new]])
        if changes:
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
