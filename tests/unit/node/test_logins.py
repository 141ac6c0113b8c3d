"""App passwords: shown once, kept as verifiers, slow to guess, and a locked store never says "wrong password"."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from mesyx_core.api import Locked, LoginFailed, Refused
from mesyx_core.node.logins import Logins
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.wire import sasl
from tests.unit.node.kit import MemoryRows

STORE = b"s" * 32


class World:
    def __init__(self) -> None:
        self.rows = MemoryRows()
        self.locked = False
        self.pauses: list[float] = []
        self.logins = self.make()

    def make(self) -> Logins:
        return Logins(self.rows, NodeKey(b"k" * 32), self.find, self.sleep)  # type: ignore[arg-type]

    def find(self, name: str) -> Any:
        return (STORE, self.view) if name == "alice" else None

    def view(self, label: str, identities: Any) -> Any:
        if self.locked:
            raise Locked("locked")
        return "the view"

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def open(self, name: str, password: str) -> Any:
        return anyio.run(self.logins.open, name, sasl.plain_proof(password))


def test_the_password_opens_the_view_and_nothing_else_does() -> None:
    world = World()
    password = anyio.run(world.logins.add, STORE, "phone")
    assert world.open("alice", password) == "the view"
    for name, wrong in (("alice", password[:-1]), ("alice", ""), ("bob", password)):
        with pytest.raises(LoginFailed):
            world.open(name, wrong)


def test_a_login_is_limited_to_its_identities_over_a_restart_and_its_successor_is_not() -> None:
    world = World()
    given: list[Any] = []
    world.view = lambda label, identities: given.append((label, identities))  # type: ignore[method-assign, assignment]
    password = anyio.run(world.logins.add, STORE, "phone", ["alice@example.org"])
    again = world.make()
    anyio.run(again.load)
    for logins in (world.logins, again):
        anyio.run(logins.open, "alice", sasl.plain_proof(password))
        assert given[-1] == ("phone", ("alice@example.org",))
    anyio.run(again.remove, STORE, "phone")
    password = anyio.run(again.add, STORE, "phone")
    anyio.run(again.open, "alice", sasl.plain_proof(password))
    assert given[-1] == ("phone", None)


def test_a_password_has_no_spaces_and_is_nowhere_in_the_rows() -> None:
    world = World()
    password = anyio.run(world.logins.add, STORE, "phone")
    assert not any(c.isspace() for c in password)
    assert password.encode() not in repr(world.rows.kept).encode()


def test_failures_are_answered_more_and_more_slowly_and_success_at_once() -> None:
    world = World()
    password = anyio.run(world.logins.add, STORE, "phone")
    for _ in range(4):
        with pytest.raises(LoginFailed):
            world.open("alice", "x")
    assert world.pauses == sorted(world.pauses)
    assert world.pauses[0] < world.pauses[-1]
    count = len(world.pauses)
    world.open("alice", password)
    assert len(world.pauses) == count


def test_a_locked_store_says_so_whatever_the_password() -> None:
    world = World()
    password = anyio.run(world.logins.add, STORE, "phone")
    world.locked = True
    for each in (password, "wrong"):
        with pytest.raises(Locked):
            world.open("alice", each)


def test_log_ins_survive_a_restart_and_removed_ones_do_not() -> None:
    world = World()
    kept = anyio.run(world.logins.add, STORE, "phone")
    gone = anyio.run(world.logins.add, STORE, "old")
    anyio.run(world.logins.remove, STORE, "old")
    world.logins = world.make()
    anyio.run(world.logins.load)
    assert world.open("alice", kept) == "the view"
    with pytest.raises(LoginFailed):
        world.open("alice", gone)
    assert world.logins.of(STORE) == ["phone"]


def test_a_label_is_used_once() -> None:
    world = World()
    anyio.run(world.logins.add, STORE, "phone")
    with pytest.raises(Refused):
        anyio.run(world.logins.add, STORE, "phone")


def test_unknown_names_have_a_salt_that_does_not_change() -> None:
    world = World()
    assert world.logins.salt("nobody") == world.make().salt("nobody")
    assert len(world.logins.salt("nobody")) == 16
    assert world.logins.salt("nobody") != world.logins.salt("somebody")
