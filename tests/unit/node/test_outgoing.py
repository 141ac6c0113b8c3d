"""From a client's request to the network and back to a receipt, by real nodes."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from mesyx_core.node import outgoing
from mesyx_core.record.outgoing import Intent, Receipt
from tests.unit.node.world import Clock, World, make, turn

ID = bytes(range(16))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make(folder, Clock())
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    clock = Clock()
    turn(clock, monkeypatch)
    monkeypatch.setattr(outgoing, "BREATH", 0.05)
    shutil.copytree(template, tmp_path / "world", ignore=shutil.ignore_patterns("*.sock", "lock"))
    return World(tmp_path / "world", clock)


def test_a_request_is_sent_and_its_receipt_comes_back(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await world.send(ID, "bob@example.net", "carol@example.net", body=b"Subject: hi\r\n\r\nall\r\n")
            assert await world.final(ID) == {"bob@example.net": "sent", "carol@example.net": "sent"}
            [given] = world.sink.given
            assert given.recipients == ("bob@example.net", "carol@example.net")
            assert given.body == b"Subject: hi\r\n\r\nall\r\n"
            [intent] = await world.told(Intent)
            assert (intent.id, intent.attempt, intent.numbers) == (ID, 1, (0, 1))
            [receipt] = await world.told(Receipt)
            assert [fate.remote for fate in receipt.fates] == ["memory", "memory"]
            assert await world.gateway.ask("queue.list") == []

    anyio.run(main)
