"""Changing a store's manifest: one child after the other, durable, told to everybody."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from mesyx_core.api import Refused
from mesyx_core.node import governing
from mesyx_core.testing.cluster import STORE, Cluster, alice_and_bob
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import Manifest
from tests.unit.node.quick import quick_passphrases

pytestmark = pytest.mark.anyio
PATIENCE = 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passphrases(monkeypatch)


def with_grace(seconds: int) -> governing.Change:
    return lambda manifest: replace(manifest, grace=seconds)


async def known(cluster: Cluster, number: int) -> Manifest:
    """What is in effect at Bob's, once it is that new."""
    node = cluster.bob.node
    assert node is not None
    [store] = node.stores
    with anyio.fail_after(PATIENCE):
        while store.manifest.number < number:  # noqa: ASYNC110 - another node
            await anyio.sleep(0.01)
    return store.manifest


async def test_a_change_is_kept_and_reaches_the_other_members(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path) as cluster:
        node = cluster.alice.node
        assert node is not None
        store = node.stores.named(STORE)
        before = store.manifest
        made = await governing.govern(node, store, with_grace(1), owner=await governing.owner_key(node, store))
        assert made.parents == (before.hash,)
        assert made.number == before.number + 1
        assert store.manifest == made
        assert Authority.of(await node.journal.manifests(store.id)).effective == made
        assert await known(cluster, made.number) == made


async def test_changes_at_once_come_one_after_the_other(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path) as cluster:
        node = cluster.alice.node
        assert node is not None
        store = node.stores.named(STORE)
        owner = await governing.owner_key(node, store)
        before = store.manifest.number

        async def change(seconds: int) -> None:
            assert node is not None
            await governing.govern(node, store, with_grace(seconds), owner=owner)

        async with anyio.create_task_group() as tasks:
            for seconds in range(1, 6):
                tasks.start_soon(change, seconds)
        assert store.manifest.number == before + 5
        assert len(store.authority.heads) == 1


async def test_what_changes_nothing_makes_no_manifest(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path) as cluster:
        node = cluster.alice.node
        assert node is not None
        store = node.stores.named(STORE)
        documents = list(store.documents)
        owner = await governing.owner_key(node, store)
        assert await governing.govern(node, store, lambda manifest: manifest, owner=owner) == store.manifest
        assert store.documents == documents


async def test_another_key_than_the_owners_changes_nothing(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path) as cluster:
        node = cluster.alice.node
        assert node is not None
        store = node.stores.named(STORE)
        documents = list(store.documents)
        with pytest.raises(Refused, match="not the owner's key"):
            await governing.govern(node, store, with_grace(1), owner=bytes(range(32)))
        assert store.documents == documents


async def test_the_owner_key_comes_from_a_file_that_is_its_own(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path) as cluster:
        node = cluster.alice.node
        assert node is not None
        store = node.stores.named(STORE)
        owner = await governing.owner_key(node, store)
        file, other = tmp_path / "owner", tmp_path / "other"
        file.write_text(f"# owner-key: {owner.hex()}\n")
        other.write_text(f"{bytes(range(32)).hex()}\n")
        assert await governing.owner_key(node, store, owner_key_file=str(file)) == owner
        with pytest.raises(Refused, match="not the owner key"):
            await governing.owner_key(node, store, owner_key_file=str(other))
