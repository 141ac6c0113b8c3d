"""How long what waits to be sent waits for members that are connected and do not bring what they have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mesyx_core.node import outgoing

STORE, MEMBER = b"s" * 32, b"m" * 32


class World:
    """A node with one store and one member's sessions, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.sessions: list[Any] = []
        monkeypatch.setattr("mesyx_core.node.outgoing.time.monotonic", lambda: self.now)
        held = SimpleNamespace(manifest=SimpleNamespace(members=[SimpleNamespace(node=MEMBER)]))
        node = SimpleNamespace(
            config=SimpleNamespace(node=SimpleNamespace(resume_after=3600)),
            exchange=SimpleNamespace(peers=lambda: self.sessions),
            stores=SimpleNamespace(get=lambda store: held),
            key=SimpleNamespace(public=b"g" * 32),
        )
        self.sync = outgoing.Sync(node)  # type: ignore[arg-type]  # as much of a node as it looks at

    def connected(self, *, heard_all: bool) -> None:
        self.sessions = [SimpleNamespace(store=STORE, node=MEMBER, heard_all=heard_all, since=self.now)]

    def later(self, seconds: float) -> bool:
        self.now += seconds
        return self.sync(STORE)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_session_that_has_brought_all_ends_the_wait(world: World) -> None:
    world.connected(heard_all=True)
    assert not world.later(0)
    assert world.later(outgoing.BREATH)


def test_a_member_that_connects_again_and_again_holds_nothing_back_for_ever(world: World) -> None:
    for _ in range(3 * 12):
        world.connected(heard_all=False)
        for _ in range(5):
            world.later(20)
    assert not world.later(0)
    world.connected(heard_all=False)
    assert world.later(40)


def test_time_in_which_it_was_not_connected_does_not_count(world: World) -> None:
    world.connected(heard_all=False)
    world.later(0)
    world.sessions = []
    assert not world.later(3000)
    world.connected(heard_all=False)
    assert not world.later(590)
    assert not world.later(590)
