"""The owner key is on another machine: what is to be done is proposed, signed there, and taken here."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

from mesyx_core.api import Refused
from mesyx_core.cli import app, exits
from mesyx_core.node import governing
from mesyx_core.node.core import Node
from mesyx_core.node.stores import Store
from mesyx_core.testing.cluster import PASSPHRASE, STORE, Cluster, Host, alice_and_bob
from mesyx_core.vault.manifest import parse, sign
from mesyx_core.vault.proposal import read_proposal, signed_file
from tests.unit.node.quick import quick_passphrases

pytestmark = pytest.mark.anyio
PATIENCE = 20
BY = {"passphrase": PASSPHRASE}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passphrases(monkeypatch)


@pytest.fixture
async def cluster(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with alice_and_bob(tmp_path) as cluster:
        yield cluster


def at(host: Host) -> tuple[Node, Store]:
    assert host.node is not None
    [store] = host.node.stores
    return host.node, store


async def moved(cluster: Cluster, folder: Path) -> Path:
    """The owner key's file; the key is nowhere on the node any more."""
    told = await cluster.alice.ask("store.owner_key", name=STORE, by=BY)
    file = folder / "owner"
    file.write_text(f"# mesyx owner key of store alice\n{told['key']}\n")
    await cluster.alice.ask("store.owner_key_taken", name=STORE, key=told["key"], by=BY)
    return file


async def signed(proposal: Path, *options: str | Path) -> int:
    """What `mesyx store sign` says, in a thread of its own."""
    return await run_sync(app.run, ["store", "sign", str(proposal), "--yes", *map(str, options)])


async def test_the_owner_key_leaves_the_node(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not the owner key"):
        await cluster.alice.ask("store.owner_key_taken", name=STORE, key="00" * 32, by=BY)
    file = await moved(cluster, tmp_path)
    for again in range(2):
        node, store = at(cluster.alice)
        with pytest.raises(Refused, match="kept elsewhere"):
            await cluster.alice.ask("store.suspend_node", name=STORE, member="bob", by=BY)
        assert await governing.owner_key(node, store, owner_key_file=str(file))
        if not again:
            await cluster.restart(cluster.alice)


async def test_what_is_signed_elsewhere_takes_effect_here(cluster: Cluster, tmp_path: Path) -> None:
    file = await moved(cluster, tmp_path)
    proposal = tmp_path / "suspend"
    by = {"proposal": str(proposal)}
    store = at(cluster.alice)[1]
    before = store.manifest
    told = await cluster.alice.ask("store.suspend_node", name=STORE, member="bob", by=by)
    assert told["proposal"] == str(proposal)
    assert store.manifest == before
    assert await signed(proposal, "--owner-key", file) == exits.OK
    text = (tmp_path / "suspend.signed").read_text()
    await cluster.alice.ask("store.govern", name=STORE, document=text)
    assert store.manifest.number == before.number + 1
    await cluster.alice.ask("store.govern", name=STORE, document=text)  # harmless
    with pytest.raises(Refused, match="suspended already"):
        await cluster.alice.ask("store.suspend_node", name=STORE, member="bob", by=by)


async def test_it_is_read_before_it_is_signed(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = tmp_path / "kit"
    kit.write_text((await cluster.alice.ask("store.kit", name=STORE))["kit"])
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    proposal = tmp_path / "remove"
    await cluster.alice.ask("store.remove_node", name=STORE, member="bob", by={"proposal": str(proposal)})
    options = ("store", "sign", str(proposal), "--kit", str(kit), "--passphrase-file", str(passphrase))
    assert await run_sync(app.run, [*options]) == exits.USAGE  # nobody is asked without a terminal
    assert not (tmp_path / "remove.signed").exists()
    capsys.readouterr()
    assert await run_sync(app.run, [*options, "--yes"]) == exits.OK
    bob = at(cluster.bob)[0].key.public.hex()
    assert f"removes node bob ({bob})" in capsys.readouterr().err
    assert await run_sync(app.run, [*options, "--yes"]) != exits.OK  # what is there is not overwritten


async def test_another_key_signs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    proposal, key = tmp_path / "remove", tmp_path / "key"
    key.write_text("11" * 32)
    await cluster.alice.ask("store.remove_node", name=STORE, member="bob", by={"proposal": str(proposal)})
    assert await signed(proposal, "--owner-key", key) != exits.OK
    assert not (tmp_path / "remove.signed").exists()
    document = sign(read_proposal(proposal.read_text()).manifest, await governing.owner_key(*at(cluster.alice)))
    forged = bytearray(document)
    forged[-1] ^= 1
    with pytest.raises(Refused, match="cannot be taken"):
        await cluster.alice.ask("store.govern", name=STORE, document=signed_file(bytes(forged)))


async def test_what_was_overtaken_is_proposed_again(cluster: Cluster, tmp_path: Path) -> None:
    node, store = at(cluster.alice)
    owner = await governing.owner_key(node, store)
    proposal = tmp_path / "remove"
    await cluster.alice.ask("store.remove_node", name=STORE, member="bob", by={"proposal": str(proposal)})
    await cluster.alice.ask("store.suspend_node", name=STORE, member="bob")
    document = sign(read_proposal(proposal.read_text()).manifest, owner)
    with pytest.raises(Refused, match="has changed since"):
        await cluster.alice.ask("store.govern", name=STORE, document=signed_file(document))
    assert parse(document).hash not in store.authority


async def test_a_node_is_added_with_the_owner_key_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    file = await moved(cluster, tmp_path)
    proposal = tmp_path / "add"
    async with cluster.another("carol", "exchange") as carol:
        offer = await carol.ask("node.invite", roles=["exchange"])
        arguments = {"name": STORE, "invitation": offer["invitation"], "proposal": str(proposal)}
        assert await cluster.alice.ask("store.add_node", **arguments) == {"name": STORE, "proposal": str(proposal)}
        assert carol.node is not None
        assert not list(carol.node.stores)
        assert await signed(proposal, "--owner-key", file) == exits.OK
        text = (tmp_path / "add.signed").read_text()
        await cluster.alice.ask("store.govern", name=STORE, document=text)
        number = at(cluster.alice)[1].manifest.number
        told = await cluster.alice.ask("store.add_node", **arguments)
        assert told["name"] == "carol"
        with anyio.fail_after(PATIENCE):
            while at(carol)[1].authority.heads != at(cluster.alice)[1].authority.heads:  # noqa: ASYNC110 - two nodes
                await anyio.sleep(0.01)
        assert at(cluster.alice)[1].manifest.number == number
