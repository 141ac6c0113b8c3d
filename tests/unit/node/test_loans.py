"""Keys that are kept elsewhere open their messages for as long as they are lent, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesyx_core.api import Locked, Refused
from mesyx_core.cli import app, exits
from mesyx_core.cli import keyset as cli
from mesyx_core.node import keysets, loans
from mesyx_core.record.entry import Kind, Origin
from mesyx_core.testing.cluster import PASSPHRASE, STORE, Cluster, alice_and_bob
from mesyx_core.vault import age
from mesyx_core.vault.keyset import key_id
from tests.unit.node.quick import quick_passphrases
from tests.unit.node.test_reencrypting import deliver, running, until
from tests.unit.node.test_shredding import contents, exists, same_manifest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """With one message under a key that opens nothing else, and that nothing else replaces."""
    quick_passphrases(monkeypatch)
    monkeypatch.setattr(loans, "LOOK", 0.02)
    async with alice_and_bob(tmp_path) as made:
        await made.alice.ask("keyset.policy", store=STORE, text="yearly strict")
        await until(lambda: same_manifest(made.alice, made.bob))
        await deliver(made, 1)
        await made.read(1)
        yield made


def own_key(cluster: Cluster) -> tuple[Any, bytes]:
    """The keyset of the message, and what names its key."""
    store = running(cluster.alice).stores.named(STORE)
    assert store.secrets is not None
    roster = keysets.opened(store, store.secrets)
    keyset = min((each for each in roster.keysets if roster.strict(each)), key=lambda each: each.end or 0)
    [recipient] = keyset.recipients
    return keyset, key_id(recipient)


def write(file: Path, text: str) -> None:
    file.write_text(text)


def waiting() -> subprocess.Popen[bytes]:
    """A process that does nothing until it is killed."""
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


async def move(cluster: Cluster, file: Path) -> bytes:
    """The key to a file, as the command does it; what names it."""
    keyset, key = own_key(cluster)
    exported = await cluster.alice.ask("keyset.export", store=STORE, name=keyset.id.hex(), passphrase=PASSPHRASE)
    write(file, exported["file"])
    done = await cluster.alice.ask("keyset.exported", store=STORE, keys=exported["keys"], to=str(file), offline=True)
    assert done["destroyed"] == 1
    return key


async def locked(cluster: Cluster) -> None:
    """Return once the message is shown as locked, and its index is closed."""

    async def shut() -> bool:
        view = running(cluster.alice).stores.named(STORE).view()
        boxes = await view.mailboxes(["INBOX"])
        fields: Any = frozenset({"envelope"})
        rows = [row async for some in view.rows(boxes[0].id, ((1, 1 << 31),), fields) for row in some]
        return [row.locked for row in rows] == [True] and rows[0].envelope is None

    await until(shut)
    view = running(cluster.alice).stores.named(STORE).view()
    boxes = await view.mailboxes(["INBOX"])
    assert [some async for some in view.content(boxes[0].id, ((1, 1 << 31),)) if some] == []


async def test_a_key_that_moved_away_leaves_its_messages_locked(cluster: Cluster, tmp_path: Path) -> None:
    key = await move(cluster, tmp_path / "key.age")
    node = running(cluster.alice)
    store = node.stores.named(STORE)
    assert key not in node.keyring.held(store.id)
    await locked(cluster)
    await exists(cluster.alice, 1)
    assert key in await node.sightings.given_up(store.id)
    [row] = [row for row in await cluster.alice.ask("keyset.list", store=STORE) if row["epochs"]]
    assert row["keys"][0]["seen"][0]["place"] == f"exported to {tmp_path / 'key.age'}"
    await cluster.restart(cluster.alice)
    await locked(cluster)


async def test_which_key_is_missing_is_told_with_where_it_was_last_seen(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key.age"
    assert (await cluster.alice.ask("status"))["stores"][0]["missing_keys"] == []
    await move(cluster, file)
    await locked(cluster)
    [one] = (await cluster.alice.ask("status"))["stores"][0]["missing_keys"]
    assert (one["epochs"], one["seen"][0]["place"]) == (1, f"exported to {file}")
    bob = running(cluster.bob)
    [store] = bob.stores
    [head] = [each for each in await bob.journal.heads(store.id) if each.node == bob.key.public]
    marks = await bob.journal.marks(Origin(store.id, *head[:2]))
    number = next(seq for seq, kind in marks if kind == Kind.EPOCH) + 1
    traced = await cluster.alice.ask("trace", id=f"{head.incarnation.hex()[:12]}-{number}")
    assert traced["missing_keys"] == [one]
    await cluster.alice.ask("keyset.open", store=STORE, file=str(file), passphrase=PASSPHRASE)
    assert (await cluster.alice.ask("status"))["stores"][0]["missing_keys"] == []


async def test_it_is_open_until_its_file_is_removed(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key.age"
    key = await move(cluster, file)
    await cluster.alice.ask("keyset.open", store=STORE, file=str(file), passphrase=PASSPHRASE)
    assert await contents(cluster.alice) == 1
    node = running(cluster.alice)
    assert key not in node.keyring.held(node.stores.named(STORE).id)
    file.rename(tmp_path / "moved")
    file.write_text((tmp_path / "moved").read_text())  # another file of that name is not the one
    await locked(cluster)
    assert not node.stores.named(STORE).loans


async def test_it_is_open_as_long_as_the_process_that_asked(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key.age"
    await move(cluster, file)
    process = waiting()
    try:
        await cluster.alice.ask("keyset.open", store=STORE, file=str(file), process=process.pid, passphrase=PASSPHRASE)
        assert await contents(cluster.alice) == 1
    finally:
        process.kill()
        process.wait()
    await locked(cluster)


async def test_it_ends_when_asked_and_when_the_store_is_locked(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key.age"
    await move(cluster, file)
    loan = await cluster.alice.ask("keyset.open", store=STORE, file=str(file), passphrase=PASSPHRASE)
    assert await contents(cluster.alice) == 1
    await cluster.alice.ask("keyset.close", store=STORE, loan=loan["loan"])
    await cluster.alice.ask("keyset.close", store=STORE, loan=loan["loan"])
    await locked(cluster)
    await cluster.alice.ask("keyset.open", store=STORE, file=str(file), passphrase=PASSPHRASE)
    await cluster.alice.ask("store.lock", name=STORE)
    with pytest.raises(Locked):
        await cluster.alice.ask("keyset.open", store=STORE, file=str(file), passphrase=PASSPHRASE)
    await cluster.alice.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)
    await locked(cluster)


async def test_two_loans_of_a_key_end_each_by_itself(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key.age"
    await move(cluster, file)
    one, other = [
        (await cluster.alice.ask("keyset.open", store=STORE, file=str(file), passphrase=PASSPHRASE))["loan"]
        for _ in range(2)
    ]
    await cluster.alice.ask("keyset.close", store=STORE, loan=one)
    assert await contents(cluster.alice) == 1
    await cluster.alice.ask("keyset.close", store=STORE, loan=other)
    await locked(cluster)


async def test_only_keys_of_the_store_are_opened(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text(age.generate().text)
    with pytest.raises(Refused, match="no keyset of alice"):
        await cluster.alice.ask("keyset.open", store=STORE, file=str(file))


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    asked: list[tuple[str, Any]] = []

    def ask(verb: str, arguments: Any = None) -> Any:
        asked.append((verb, arguments))
        return {"loan": "ab", "keys": ["cd"], "file": "sealed\n", "name": "2026"}

    monkeypatch.setattr(cli, "ask", ask)
    return asked


def test_a_command_ends_the_loan_whatever_becomes_of_it(asked: list[tuple[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text(age.generate().text)
    words = ["keyset", "open", "alice", str(file), "--", sys.executable, "-c"]
    assert app.run([*words, "raise SystemExit(7)"]) == 7
    given = {"store": "alice", "file": str(file), "process": os.getpid()}
    assert asked == [("keyset.open", given), ("keyset.close", {"store": "alice", "loan": "ab"})]
    assert app.run(["keyset", "open", "alice", str(file), "--", str(tmp_path / "nothing")]) == exits.FAILED
    assert asked[-1][0] == "keyset.close"


def test_nothing_is_destroyed_here_that_is_not_in_the_file(
    asked: list[tuple[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("right\n")
    words = ["keyset", "export", "alice", "2026", "--offline", "--passphrase-file", str(phrase)]
    assert app.run(words) == exits.USAGE
    assert asked == []
    assert app.run([*words, "--to", str(tmp_path / "key.age")]) == exits.OK
    assert asked[-1] == (
        "keyset.exported",
        {"store": "alice", "keys": ["cd"], "to": str(tmp_path / "key.age"), "offline": True},
    )
    asked.clear()
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"rotten")
    assert app.run([*words, "--to", str(tmp_path / "other.age")]) == exits.FAILED
    assert [verb for verb, _ in asked] == ["keyset.export"]
