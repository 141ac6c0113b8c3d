"""An unlocked store stays open as long as was asked for, and no longer."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core import config
from mesyx_core.api import Refused
from mesyx_core.cli import app, exits, store, way
from mesyx_core.node import home, keyring, mailboxes, verbs
from mesyx_core.node.core import Node
from mesyx_core.node.ways import Way
from mesyx_core.vault import age

PHRASE = "a passphrase"
KEY = age.generate()


async def perform(node: Node, verb: str, **arguments: Any) -> Any:
    async with aclosing(verbs.perform(node, verb, arguments)) as answers:  # type: ignore[type-var]
        return [answer async for answer in answers][-1]["result"]


@asynccontextmanager
async def laptop(folder: Path) -> AsyncIterator[Node]:
    """A running client with a store that is locked, and an identity that may open it."""
    file, _ = home.create(folder / "laptop", "laptop", ["client"])
    async with Node.opened(config.load(file)) as node:
        node.live = True
        await perform(node, "store.create", name="alice", passphrase=PHRASE)
        await perform(node, "store.way.add", name="alice", recipient=KEY.recipient, label="stick", passphrase=PHRASE)
        await perform(node, "store.lock", name="alice")
        yield node


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring.Keyring.__init__, "__defaults__", (4,))


async def key(node: Node) -> str:
    """The keyring identity, as the command finds it."""
    rows = await perform(node, "store.way.list", name="alice")
    return age.decrypt(base64.b64decode(rows[0]["file"]), [KEY]).decode().strip()


async def locked(node: Node) -> None:
    [held] = node.stores
    with anyio.fail_after(20):
        while held.account is not None or held.open_until is not None:  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.01)


def test_it_is_opened_by_what_was_let_in_without_the_owner_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with laptop(tmp_path) as node:
            [held] = node.stores
            await perform(node, "store.unlock", name="alice", identity=await key(node))
            assert held.secrets is not None
            assert held.secrets.owner is None
            assert held.account is not None
            await perform(node, "store.unlock", name="alice", passphrase=PHRASE)
            assert held.secrets.owner is not None
            await perform(node, "store.lock", name="alice")
            with pytest.raises(Refused, match="another store"):
                await perform(node, "store.unlock", name="alice", identity=age.generate().text)
            await perform(node, "store.way.remove", name="alice", way="stick")
            assert await perform(node, "store.way.list", name="alice") == []

    anyio.run(main)


def test_its_time_ends_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with laptop(tmp_path) as node:
            [held] = node.stores
            answer = await perform(node, "store.unlock", name="alice", passphrase=PHRASE, seconds=0.2)
            assert answer["until"] == held.open_until
            await locked(node)
            assert held.secrets is None
            await perform(node, "store.unlock", name="alice", passphrase=PHRASE, seconds=3600)
            await perform(node, "store.unlock", name="alice", passphrase=PHRASE)  # and now for good
            assert held.open_until is None
            await perform(node, "store.unlock", name="alice", passphrase=PHRASE, seconds=3600)
            await perform(node, "store.lock", name="alice")
            assert held.open_until is None

    anyio.run(main)


def test_a_laptop_that_slept_does_not_wake_up_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with laptop(tmp_path) as node:
            monkeypatch.setattr(mailboxes, "LOOK", 0.01)
            await perform(node, "store.unlock", name="alice", passphrase=PHRASE, seconds=3600)
            monkeypatch.setattr(mailboxes, "now", lambda: datetime.now(UTC) + timedelta(hours=2))
            await locked(node)

    anyio.run(main)


def test_a_clock_that_is_put_back_keeps_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with laptop(tmp_path) as node:
            monkeypatch.setattr(mailboxes, "LOOK", 0.01)
            await perform(node, "store.unlock", name="alice", passphrase=PHRASE, seconds=0.3)
            monkeypatch.setattr(mailboxes, "now", lambda: datetime.now(UTC) - timedelta(days=2))
            await locked(node)

    anyio.run(main)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_opens_the_way_itself_and_hands_over_what_came_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = age.generate()
    row = Way("ab", "identity", KEY.recipient, "stick", age.encrypt(inner.text.encode(), [KEY.recipient]))
    listed = {**row._asdict(), "file": base64.b64encode(row.file).decode(), "store": "aa"}
    asked: list[tuple[str, Any]] = []

    def ask(verb: str, arguments: Any = None) -> Any:
        asked.append((verb, arguments))
        return [listed] if verb == "store.way.list" else {}

    monkeypatch.setattr(store, "ask", ask)
    monkeypatch.setattr(way, "ask", ask)
    file = tmp_path / "key.txt"
    file.write_text(f"# created by age-keygen\n{KEY.text}\n")
    words = ["store", "unlock", "alice", "--identity", str(file)]
    assert app.run([*words, "--for", "8h"]) == exits.OK
    assert asked[-1] == ("store.unlock", {"name": "alice", "seconds": 8 * 3600, "identity": inner.text})
    assert app.run([*words, "--desktop"]) == exits.USAGE
    file.write_text("nothing\n")
    assert app.run(words) == exits.FAILED
    assert "holds no age identity" in capsys.readouterr().err
    assert app.run(["store", "way", "list", "alice"]) == exits.OK
    assert "stick" in capsys.readouterr().out
    assert app.run(["store", "unlock", "alice", "--desktop"]) == exits.FAILED
    assert "no way to unlock" in capsys.readouterr().err
