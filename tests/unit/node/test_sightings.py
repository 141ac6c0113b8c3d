"""Where a private key was last seen is remembered, sealed."""

from __future__ import annotations

from pathlib import Path

import anyio

from mesyx_core import config
from mesyx_core.node import home
from mesyx_core.node.core import Node
from mesyx_core.node.sightings import KIT, MOST, SHREDDED

STORE = b"s" * 32
KEY, OTHER = b"k" * 32, b"o" * 32


def test_places_are_remembered_the_latest_first(tmp_path: Path) -> None:
    file, _ = home.create(tmp_path, "laptop", ["client"])

    async def main() -> None:
        async with Node.opened(config.load(file)) as node:
            await node.sightings.note(STORE, [KEY, OTHER], KIT)
            await node.sightings.note(STORE, [KEY], "exported to /media/stick/key.age")
        async with Node.opened(config.load(file)) as node:
            seen = await node.sightings.all(STORE)
            assert [each.place for each in seen[KEY]] == ["exported to /media/stick/key.age", KIT]
            assert [each.place for each in seen[OTHER]] == [KIT]
            assert await node.sightings.all(b"t" * 32) == {}
            await node.sightings.note(STORE, [KEY], KIT)
            for number in range(2 * MOST):
                await node.sightings.note(STORE, [OTHER], f"on node {number}")
            seen = await node.sightings.all(STORE)
            assert [each.place for each in seen[KEY]] == [KIT, "exported to /media/stick/key.age"]
            assert len(seen[OTHER]) == MOST
            assert await node.sightings.given_up(STORE) == frozenset()
            await node.sightings.note(STORE, [OTHER], SHREDDED, given_up=True)
            assert await node.sightings.given_up(STORE) == {OTHER}
            await node.sightings.back(STORE, [KEY, OTHER])
            assert await node.sightings.given_up(STORE) == frozenset()
            assert "stick" not in str(await node.journal.rows(f"keys/{STORE.hex()}"))

    anyio.run(main)
