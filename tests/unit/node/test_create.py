"""A store that exists has a recovery kit in somebody's hands, or on the node until it is."""

from __future__ import annotations

import errno
import json
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core import config
from mesyx_core.api import Refused
from mesyx_core.cli import app, exits, handing
from mesyx_core.node import home, verbs
from mesyx_core.node.core import Node
from mesyx_core.node.keyring import Keyring
from mesyx_core.vault import age
from tests.unit.node.killed import KILLED, command, ended, start

PHRASE = "a passphrase"
STEPS = [
    "mesyx_core.node.verbs.stores:recovery_kit",
    "mesyx_core.node.keyring:Keyring.save",
    "mesyx_core.node.durable:write_durably",
    "mesyx_core.node.keyring:Keyring.keep_kit",
    "mesyx_core.journal.journal:Journal.add_store",
    "mesyx_core.node.verbs.stores:_made",
    "mesyx_core.cli.handing:_sync_name",
    "mesyx_core.cli.handing:emit",
    "mesyx_core.cli.handing:printed",
    "mesyx_core.node.keyring:Keyring._remove",
    "mesyx_core.node.keyring:Keyring.kit_taken",
]


class Laptop:
    """A node that does not run, and what its commands gave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file, _ = home.create(folder / "laptop", "laptop", ["client"])
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text(PHRASE + "\n")
        self.kit = folder / "kit.age"
        self.create = ["store", "create", "alice", *self.tail()]

    def tail(self, *more: str) -> list[str]:
        return ["--passphrase-file", str(self.passphrase), "-c", str(self.file), *more]

    def run(self, *words: str, kill: tuple[str, str] | None = None) -> Any:
        return command(list(words), self.folder / "out", kill)

    def stores(self) -> list[dict[str, Any]]:
        done = self.run("store", "list", "--json", "-c", str(self.file))
        assert done.code == exits.OK, done.error
        rows: list[dict[str, Any]] = json.loads(done.out)
        return rows

    def left(self) -> list[str]:
        """Kits that the node keeps."""
        return [path.name for path in (self.folder / "laptop/state/keys").glob("*.kit*")]

    def opens(self, text: str) -> bool:
        """Whether a kit is whole and of the one store that there is."""
        found = re.search("-----BEGIN AGE.*-----END AGE ENCRYPTED FILE-----\n", text, re.DOTALL)
        if found is None:
            return False
        opened = age.decrypt_passphrase(found[0].encode(), PHRASE).decode()
        [row] = self.stores()
        kept = Keyring(self.folder / "laptop/state/keys").open(bytes.fromhex(row["id"]), PHRASE)
        assert kept.owner is not None
        assert f"owner-key: {kept.owner.hex()}" in opened
        return all(text in kept.identities for text in re.findall("^AGE-SECRET.*$", opened, re.MULTILINE))


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_command_that_is_killed_leaves_no_store_whose_kit_nobody_has(laptop: Laptop, step: str, when: str) -> None:
    first = laptop.run(*laptop.create, "--kit", str(laptop.kit), kill=(when, step))
    assert first.code == KILLED
    printed = first.out
    again = laptop.run(*laptop.create)
    if again.code == exits.OK:
        assert laptop.opens(again.out)
    else:
        assert "already" in again.error
        assert laptop.opens(printed)
        assert laptop.opens(laptop.kit.read_text())
    assert len(laptop.stores()) == 1
    [row] = laptop.stores()
    assert not [name for name in laptop.left() if name.startswith(row["id"])]


def test_a_kit_is_kept_until_it_was_shown_and_no_longer(laptop: Laptop) -> None:
    killed = laptop.run(*laptop.create, kill=("before", "mesyx_core.cli.handing:emit"))
    assert killed.code == KILLED
    assert "BEGIN AGE" not in killed.out
    assert laptop.left()
    assert laptop.run("doctor", "-c", str(laptop.file)).out.count("mesyx store kit alice --kit FILE") == 1
    shown = laptop.run("store", "kit", "alice", "-c", str(laptop.file))
    assert laptop.opens(shown.out)
    assert not laptop.left()
    again = laptop.run("store", "kit", "alice", "-c", str(laptop.file))
    assert again.code == exits.FAILED
    assert "keeps no recovery kit" in again.error
    assert "already" in laptop.run(*laptop.create).error


def test_the_same_create_again_gives_the_same_kit_and_says_so(laptop: Laptop) -> None:
    laptop.run(*laptop.create, kill=("before", "mesyx_core.cli.handing:emit"))
    [kept] = [path.read_text() for path in (laptop.folder / "laptop/state/keys").glob("*.kit")]
    again = laptop.run(*laptop.create)
    assert again.out.endswith(kept)
    assert "made before" in again.out


def test_another_passphrase_gives_no_kit_and_names_the_way_to_it(laptop: Laptop) -> None:
    laptop.run(*laptop.create, kill=("before", "mesyx_core.cli.handing:emit"))
    laptop.passphrase.write_text("another\n")
    again = laptop.run(*laptop.create)
    assert again.code == exits.FAILED
    assert "BEGIN AGE" not in again.out
    assert "mesyx store kit alice" in again.error
    assert laptop.left()


def test_two_processes_make_one_store_of_a_name(laptop: Laptop) -> None:
    outs = [laptop.folder / "a", laptop.folder / "b"]
    done = [ended(process, out) for process, out in [(start(laptop.create, out), out) for out in outs]]
    assert exits.OK in [each.code for each in done]
    assert len(laptop.stores()) == 1
    first = [each for each in done if each.code == exits.OK and "made before" not in each.out]
    assert len(first) == 1
    assert laptop.opens(first[0].out)
    for other in done:
        assert other in first or other.error or "made before" in other.out


def test_two_calls_at_once_make_one_store_of_a_name(laptop: Laptop) -> None:
    made: list[Any] = []
    refused: list[str] = []

    async def create(node: Node) -> None:
        try:
            arguments = {"name": "alice", "passphrase": PHRASE}
            async with aclosing(verbs.perform(node, "store.create", arguments)) as answers:  # type: ignore[type-var]
                made.extend([answer async for answer in answers])
        except Refused as error:
            refused.append(error.what)

    async def main() -> None:
        async with Node.opened(config.load(laptop.file)) as node:
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(create, node)
            assert len(list(node.stores)) == 1

    anyio.run(main)
    assert len(made) == 1
    assert refused == ["a store 'alice' is being made just now"] * 2


# --- the command's own part -------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs that a command asked for."""
    verbs: list[str] = []

    def ask(verb: str, arguments: Any = None) -> Any:
        verbs.append(verb)
        return {"kit": "-----BEGIN AGE\n", "id": "ab", "name": "alice"}

    monkeypatch.setattr(handing, "ask", ask)
    return verbs


CREATE = ["store", "create", "alice", "--passphrase-file", "p"]


def test_a_kit_file_that_cannot_be_made_durable_is_not_taken(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", fails)
    assert app.run([*CREATE, "--kit", str(tmp_path / "kit")]) == exits.FAILED
    assert asked == ["store.create"]
    assert "mesyx store kit alice" in capsys.readouterr().err
    assert not (tmp_path / "kit").exists()


def test_a_kit_that_cannot_be_printed_is_not_taken(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*given: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(handing, "emit", full)
    assert app.run(CREATE) == exits.FAILED
    assert asked == ["store.create"]
    assert "mesyx store kit alice" in capsys.readouterr().err


def test_no_store_is_made_when_its_kit_has_no_place(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "kit").write_text("of another store")
    assert app.run([*CREATE, "--kit", str(tmp_path / "kit")]) == exits.FAILED
    assert asked == []
    assert (tmp_path / "kit").read_text() == "of another store"
