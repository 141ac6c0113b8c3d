"""A person's accounts: sealed to the gateway, opened there, reopened when they change, and nobody else learns of them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Event, Locked, Refused
from mesyx_core.node.accounts import Kept
from mesyx_core.node.verbs.accounts import _say, _states
from mesyx_core.record.outgoing import Account
from mesyx_core.testing.cluster import STORE, Cluster, Plugin, alice_and_bob
from mesyx_core.testing.memory import PostOffice

pytestmark = pytest.mark.anyio
SECRET = "hunter2-very-secret"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def office() -> PostOffice:
    return PostOffice()


@pytest.fixture
async def cluster(tmp_path: Path, office: PostOffice, anyio_backend: str) -> AsyncIterator[Cluster]:
    sections = '\n[egress.post]\nuse = "mine"\n'
    async with alice_and_bob(tmp_path, plugin=Plugin(egress=[office.egress()]), bob=sections) as cluster:
        yield cluster


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - across nodes
            await anyio.sleep(0.02)


def bob(cluster: Cluster) -> str:
    assert cluster.bob.node is not None
    return cluster.bob.node.key.public.hex()[:12]


async def add(cluster: Cluster, name: str = "letters", box: str = "alice", secret: str = SECRET, **more: Any) -> Any:
    given = {
        "store": STORE,
        "use": "mine",
        "on": bob(cluster),
        "settings": {"box": box},
        "secrets": {"password": secret},
    }
    return await cluster.alice.ask("account.add", name=name, **{**given, **more})


async def listed(cluster: Cluster) -> dict[str, Any]:
    return {row["name"]: row for row in await cluster.alice.ask("account.list")}


def held(folder: Path, word: str) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and word.encode() in file.read_bytes()]


async def test_the_whole_life_of_an_account(
    cluster: Cluster, office: PostOffice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    added = await add(cluster)
    assert (added["state"], office.opened) == ("up", ["alice"])
    assert office.boxes[0].password == SECRET
    row = (await listed(cluster))["letters"]
    assert (row["state"], row["use"], row["settings"]) == ("up", "mine", {"box": "alice"})

    # Changed, it is opened anew; a second one stands beside it.
    await add(cluster, box="alice-2", secret=SECRET + "-2")
    assert (office.opened, office.boxes[0].password) == (["alice-2"], SECRET + "-2")
    await add(cluster, "more", "other")
    assert sorted(office.opened) == ["alice-2", "other"]

    # Both nodes start again: it is open again, from the gateway's own rows.
    await cluster.restart(cluster.bob)
    await until(lambda: sorted(office.opened) == ["alice-2", "other"])
    await cluster.restart(cluster.alice)
    assert set(await listed(cluster)) == {"letters", "more"}

    # Removed, it is closed, and stays so.
    await cluster.alice.ask("account.remove", store=STORE, name="letters")
    await until(lambda: office.opened == ["other"])
    await cluster.restart(cluster.bob)
    await until(lambda: office.opened == ["other"])
    assert set(await listed(cluster)) == {"more"}
    assert SECRET not in caplog.text
    assert "alice-2" not in caplog.text
    assert not held(tmp_path, SECRET)
    assert not held(tmp_path / "bob", "letters")


async def test_a_programs_view_asks_it_and_hears_of_it(cluster: Cluster, office: PostOffice) -> None:
    await add(cluster)
    async with aclosing(cluster.view.ask("letters", "box", {"n": 1})) as answers:  # type: ignore[type-var]
        assert [one async for one in answers] == ["alice", {"n": 1}]
    with pytest.raises(Refused, match="not asked for"):
        await anext(cluster.view.ask("letters", "nonsense", None))
    with pytest.raises(Refused, match="no gateway holds"):
        await anext(cluster.view.ask("nothing", "box", None))

    heard: list[Event] = []
    await office.boxes[0].context.signal("lost", None)  # nobody is attached

    async def listen() -> None:
        async for event in cluster.view.events():
            heard.append(event)

    assert cluster.bob.node is not None
    exchange, store = cluster.bob.node.exchange, cluster.view.owner
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await until(lambda: exchange.leases(store))
        await office.boxes[0].context.signal("typing", {"who": "bob"})
        await until(lambda: heard)
        tasks.cancel_scope.cancel()
    assert heard == [Event(account="letters", name="typing", value={"who": "bob"})]
    await until(lambda: not exchange.leases(store))


async def test_what_it_takes_in_goes_to_its_own_store(cluster: Cluster, office: PostOffice) -> None:
    await add(cluster)
    assert await office.boxes[0].take("bob", b"hello")
    assert await cluster.read(1, "alice") == [b"hello"]


async def test_the_plugin_refuses_before_anything_is_sealed(cluster: Cluster, office: PostOffice) -> None:
    with pytest.raises(Refused, match="unknown key"):
        await add(cluster, settings={"box": "x", "nonsense": "1"})
    with pytest.raises(Refused, match="is a secret"):
        await add(cluster, settings={"box": "x", "password": SECRET}, secrets={})
    with pytest.raises(Refused, match="password is missing"):
        await add(cluster, secrets={})
    with pytest.raises(Refused, match="names no one node"):
        await add(cluster, on="nowhere.example.org")
    assert cluster.alice.node is not None
    with pytest.raises(Refused, match="no gateway"):
        await add(cluster, on=cluster.alice.node.key.public.hex())
    assert (office.opened, await listed(cluster)) == ([], {})


async def test_a_gateway_without_the_plugin_says_so_by_the_accounts_state(cluster: Cluster) -> None:
    added = await add(cluster, use="nonsense", settings={"a": "b"}, secrets={"password": SECRET})
    assert added["state"] == "down"
    row = (await listed(cluster))["letters"]
    assert "no instance of nonsense" in row["why"]
    said = [one["what"] for one in await cluster.alice.ask("doctor")]
    assert any("the account letters is down: that node has no instance of nonsense" in one for one in said)
    assert SECRET not in json.dumps([added, row])
    added = await add(cluster, "other", via="elsewhere")
    assert "no instance elsewhere" in added["why"]


async def test_a_wrong_password_is_said_and_tried_again(cluster: Cluster, office: PostOffice) -> None:
    added = await add(cluster, secret="wrong")
    assert added["state"] == "retry"
    assert "knows no such box" in (await listed(cluster))["letters"]["why"]
    assert (await add(cluster))["state"] == "up"
    assert office.opened == ["alice"]


async def test_only_clients_say_what_accounts_there_are_and_ask_for_them(cluster: Cluster, office: PostOffice) -> None:
    """A gateway that writes an account into its log for another, or asks, gets nothing."""
    alice, gateway = cluster.alice.node, cluster.bob.node
    assert alice is not None
    assert gateway is not None
    mine = gateway.stores.named(cluster.view.owner.hex()[:16])
    forged = Account("forged", "mine", gateway.key.public, "", {"box": "forged"}, {"password": "x"}, 2_000_000_000)

    class NoMailbox:
        class feed:
            @staticmethod
            async def reached(dots: object) -> None: ...

    await _say(gateway, mine, NoMailbox(), forged, forged._replace(secrets={}))  # type: ignore[arg-type]
    await add(cluster)
    assert office.opened == ["alice"]
    assert set(await listed(cluster)) == {"letters"}
    for name in ("accounts", "account"):
        handler = gateway.exchange.signals.answers[name]
        with pytest.raises(Refused, match="only the store's clients"):
            await anext(handler(mine.id, gateway.key.public, ["letters", "box", None]))


async def test_the_gateway_shows_its_operator_no_names(cluster: Cluster) -> None:
    await add(cluster)
    [row] = await cluster.bob.ask("account.list")
    assert (row["use"], row["state"]) == ("mine", "up")
    assert "letters" not in json.dumps(row)
    assert "password" not in json.dumps(row)


async def test_an_account_lives_no_longer_than_its_instance(cluster: Cluster, office: PostOffice) -> None:
    await add(cluster)
    first, config = office.boxes[0], cluster.bob.file.read_text()
    cluster.bob.file.write_text(config + 'box = "another"\n')
    assert (await cluster.bob.ask("reload"))["restarted"] == ["egress.post"]
    await until(lambda: office.boxes and office.boxes[0] is not first)
    assert office.opened == ["alice"]
    cluster.bob.file.write_text(config.replace('[egress.post]\nuse = "mine"', ""))
    await cluster.bob.ask("reload")
    await until(lambda: not office.opened)
    assert "no instance of mine" in (await until_state(cluster, "down"))["why"]
    cluster.bob.file.write_text(config)
    await cluster.bob.ask("reload")
    await until(lambda: office.opened == ["alice"])


async def until_state(cluster: Cluster, state: str) -> Any:
    with anyio.fail_after(20):
        while (row := (await listed(cluster))["letters"])["state"] != state:  # noqa: ASYNC110 - across nodes
            await anyio.sleep(0.1)
    return row


async def test_hundreds_are_told_of_and_a_gateway_that_lies_is_cut_to_form(cluster: Cluster) -> None:
    gateway, alice = cluster.bob.node, cluster.alice.node
    assert gateway is not None
    assert alice is not None
    store, key = cluster.view.owner, gateway.key.public
    for n in range(300):
        told = Account(f"a{n:03}", "mine", key, "", {}, {}, 5)
        gateway.accounts._kept[store, told.name] = Kept(b"", told)
    held = alice.stores.named(STORE)
    await until(lambda: any(peer.running for peer in alice.exchange.peers()))
    found = await _states(alice, held, key)
    assert isinstance(found, dict)
    assert len(found) == 300

    async def lies(store: bytes, origin: bytes, value: Any) -> AsyncGenerator[Any, None]:
        yield "nonsense"
        yield [1, {"name": "x"}, {"name": [], "time": 1}]
        row = {"name": "x", "time": 9, "state": "s" * 99, "why": "w" * 999, "seconds": 1, "restarts": 0}
        yield [row, {**row, "name": "y", "seconds": "long"}]

    gateway.exchange.signals.answers["accounts"] = lies
    found = await _states(alice, held, key)
    assert isinstance(found, dict)
    assert [(name, len(row["why"]), len(row["state"])) for name, row in found.items()] == [("x", 300, 16)]


async def test_a_locked_store_has_no_accounts_to_set(cluster: Cluster) -> None:
    await cluster.alice.ask("store.lock", name=STORE)
    with pytest.raises(Locked):
        await add(cluster)
    [row] = await cluster.alice.ask("account.list")
    assert row["state"] == "locked"
