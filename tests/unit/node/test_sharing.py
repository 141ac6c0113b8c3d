"""New private keys come to a store's other clients: to each what it may have, sealed to a key made for that moment."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from mesyx_core import config
from mesyx_core.api import Refused
from mesyx_core.builtin.memory import pair
from mesyx_core.node import governing, handover, home, keysets, sharing, verbs
from mesyx_core.node.core import Node
from mesyx_core.node.stores import Store
from mesyx_core.vault import age
from mesyx_core.vault.keyset import key_id
from mesyx_core.vault.roster import Roster
from tests.unit.node.quick import quick_passphrases

pytestmark = pytest.mark.anyio
PHRASE = "a passphrase"
PATIENCE = 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Clients:
    """A laptop that made the store, and a phone that was added to it; a session runs between them."""

    laptop: Node
    phone: Node

    async def ask(self, node: Node, verb: str, **arguments: Any) -> Any:
        return [part async for part in verbs.perform(node, verb, arguments)][-1]["result"]

    @property
    def store(self) -> Store:
        return self.laptop.stores.named("alice")

    @property
    def copy(self) -> Store:
        """The store on the phone."""
        return self.phone.stores.named("alice")

    async def agreed(self) -> None:
        with anyio.fail_after(PATIENCE):
            while self.copy.manifest != self.store.manifest:  # noqa: ASYNC110 - two nodes
                await anyio.sleep(0.01)

    async def answered(self, asking: Node, to: str, ids: list[str]) -> list[str]:
        """What the laptop says to a request of the phone's that was made by hand."""
        value: JsonValue = {"to": to, "keys": [*ids]}
        asked = asking.exchange.ask(self.store.id, self.laptop.key.public, sharing.NAME, value, 5.0)
        return [str(answer) async for answer in asked]


@asynccontextmanager
async def clients(folder: Path, keys: str) -> AsyncIterator[Clients]:
    files = [home.create(folder / name, name, ["client", "exchange"])[0] for name in ("laptop", "phone")]
    async with (
        Node.opened(config.load(files[0])) as laptop,
        Node.opened(config.load(files[1])) as phone,
        anyio.create_task_group() as tasks,
    ):
        laptop.live = phone.live = True

        async def connect(address: str) -> Any:
            here, there = pair()
            tasks.start_soon(phone.exchange.accept, there)
            return here

        laptop.connect = connect  # type: ignore[method-assign]
        phone.dial_addresses = lambda: ("memory://phone",)  # type: ignore[method-assign]
        both = Clients(laptop, phone)
        await both.ask(laptop, "store.create", name="alice", passphrase=PHRASE)
        invited = await both.ask(phone, "node.invite", roles=["client", "exchange"], passphrase=PHRASE)
        await both.ask(laptop, "store.add_node", name="alice", invitation=invited["invitation"], keys=keys)
        await both.ask(phone, "store.unlock", name="alice", passphrase=PHRASE)
        tasks.start_soon(laptop.exchange.dial, await connect(""), both.store.id, phone.key.public)
        await both.agreed()
        yield both
        tasks.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passphrases(monkeypatch)


def held(node: Node, store: Store, recipients: frozenset[str]) -> frozenset[str]:
    return frozenset(one for one in recipients if key_id(one) in node.keyring.held(store.id))


def roster(store: Store) -> Roster:
    assert store.secrets is not None
    return Roster.of(store.manifest, store.secrets.keys())


async def test_a_phone_gets_the_new_short_term_keys_and_never_the_long_term_ones(tmp_path: Path) -> None:
    async with clients(tmp_path, "short") as both:
        await both.ask(both.laptop, "keyset.policy", store="alice", text="weekly keep 4")
        await both.agreed()
        known = roster(both.store)
        every = frozenset(one for each in known.keysets for one in each.recipients)
        assert await both.phone.sharing.fetch(both.copy) == frozenset()
        assert held(both.phone, both.copy, every) == every - known.lasting
        assert both.copy.secrets is not None
        identities = both.copy.secrets.keys()
        assert {one.recipient for one in identities} == every - known.lasting | set(known.clients)
        [where] = {row["place"] for key in await _keys(both) for row in key["seen"]}
        assert where == "on node phone"


async def _keys(both: Clients) -> list[dict[str, Any]]:
    rows = await both.ask(both.laptop, "keyset.list", store="alice")
    return [key for row in rows for key in row["keys"]]


async def test_a_client_with_all_keys_gets_the_new_long_term_one_too(tmp_path: Path) -> None:
    async with clients(tmp_path, "all") as both:
        await both.ask(both.laptop, "keyset.add", store="alice", fallback=True)
        await both.agreed()
        assert await both.phone.sharing.lacking(both.copy)
        assert await both.phone.sharing.fetch(both.copy) == frozenset()
        lasting = roster(both.store).lasting
        assert held(both.phone, both.copy, lasting) == lasting
        assert len(lasting) == 2


async def test_a_client_without_keys_is_given_none(tmp_path: Path) -> None:
    async with clients(tmp_path, "short") as both:
        await both.ask(both.laptop, "keyset.policy", store="alice", text="weekly")
        await _rename(both, "none")
        ids = [key_id(one).hex() for each in both.store.manifest.keysets for one in each.recipients]
        assert await both.answered(both.phone, age.generate().recipient, ids) == []


async def _rename(both: Clients, keys: Any) -> None:
    assert both.store.secrets is not None
    identities = both.store.secrets.keys()

    def change(manifest: Any) -> Any:
        known = Roster.of(manifest, identities)
        return replace(known, names=known.names.with_node(both.phone.key.public, keys=keys)).into(manifest, identities)

    owner = await governing.owner_key(both.laptop, both.store)
    await governing.govern(both.laptop, both.store, change, owner=owner)
    await both.agreed()


async def test_what_is_given_is_sealed_to_the_key_of_the_request_alone(tmp_path: Path) -> None:
    async with clients(tmp_path, "short") as both:
        await both.ask(both.laptop, "keyset.policy", store="alice", text="weekly")
        await both.agreed()
        known = roster(both.store)
        ids = [key_id(one).hex() for each in known.keysets for one in each.recipients]
        once = age.generate()
        [answer] = await both.answered(both.phone, once.recipient, ids)
        file = base64.b64decode(answer)
        brought = handover.opened(file, both.store.id, once)
        assert not known.lasting & {age.parse_identity(text).recipient for text in brought}
        with pytest.raises(age.NoMatch):
            age.decrypt(file, [both.phone.key.identity])
        with pytest.raises(Refused, match="weak key"):
            await both.answered(both.phone, age.generate(hybrid=False).recipient, ids)


async def test_keys_that_are_due_are_neither_asked_for_nor_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clients(tmp_path, "short") as both:
        await both.ask(both.laptop, "keyset.policy", store="alice", text="daily keep 1", ahead=0)
        await both.agreed()
        [day] = [each for each in roster(both.store).coming(keysets.clock()) if not each.fallback]
        assert day.end is not None
        later = day.end + 2 * 86_400
        monkeypatch.setattr(keysets, "clock", lambda: later)
        assert await both.phone.sharing.lacking(both.copy) == frozenset()
        ids = [key_id(one).hex() for one in day.recipients]
        assert await both.answered(both.phone, age.generate().recipient, ids) == []


async def test_keys_that_were_destroyed_here_do_not_come_back(tmp_path: Path) -> None:
    async with clients(tmp_path, "short") as both:
        await both.ask(both.laptop, "keyset.policy", store="alice", text="weekly", ahead=0)
        await both.agreed()
        await both.phone.sharing.fetch(both.copy)
        [week] = [each for each in roster(both.copy).keysets if roster(both.copy).label(each).startswith("20")]
        [gone] = roster(both.copy).short(week)
        await both.phone.mailboxes.destroy_keys(both.copy, [gone])
        await both.phone.sightings.note(both.copy.id, [key_id(gone)], "shredded here", given_up=True)
        assert await both.phone.sharing.fetch(both.copy) == frozenset()
        assert held(both.phone, both.copy, frozenset([gone])) == frozenset()


async def test_a_node_that_is_no_client_is_refused(tmp_path: Path) -> None:
    async with clients(tmp_path, "short") as both:
        assert both.store.secrets is not None
        members = [
            replace(each, roles=frozenset(["exchange"])) if each.node == both.phone.key.public else each
            for each in both.store.manifest.members
        ]
        owner = await governing.owner_key(both.laptop, both.store)

        def change(manifest: Any) -> Any:
            return replace(manifest, members=tuple(members))

        await governing.govern(both.laptop, both.store, change, owner=owner)
        await both.agreed()
        with pytest.raises(Refused, match="only clients"):
            await both.answered(both.phone, age.generate().recipient, [])


async def test_the_clients_new_key_comes_to_who_cannot_read_the_names_any_more(tmp_path: Path) -> None:
    async with clients(tmp_path, "short") as both:
        assert both.store.secrets is not None
        identities, fresh = both.store.secrets.keys(), age.generate()
        [own] = both.store.manifest.clients
        await both.laptop.mailboxes.add_keys(both.store, [fresh.text])

        def change(manifest: Any) -> Any:
            known = Roster.of(manifest, identities)
            return known.exchanged({own: fresh.recipient}, keysets.clock()).into(manifest, identities)

        owner = await governing.owner_key(both.laptop, both.store)
        await governing.govern(both.laptop, both.store, change, owner=owner)
        await both.agreed()
        assert both.copy.manifest.clients == (fresh.recipient,)
        await both.phone.sharing.fetch(both.copy)
        assert held(both.phone, both.copy, frozenset([fresh.recipient])) == {fresh.recipient}
        assert await both.phone.sharing.lacking(both.copy) == frozenset()
