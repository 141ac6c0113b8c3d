"""Whole nodes in one process: restored, copied, cut off. Nothing acknowledged is lost, nothing is shown twice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from mesyx_core.api import Flag, Mailbox, Remove, Temporary
from mesyx_core.exchange import frames
from mesyx_core.node import core
from mesyx_core.pipeline import Content
from mesyx_core.record import content, ops
from mesyx_core.record.checkpoint import Checkpoint, sign
from mesyx_core.record.entry import Origin, chain_over, chain_start, entry_id
from mesyx_core.testing.cluster import PASSPHRASE, STORE, Cluster, Host, alice_and_bob
from mesyx_core.testing.network import BadNetwork
from tests.faults.marks import fault
from tests.unit.exchange.attacker import Forged
from tests.unit.exchange.nodes import until

pytestmark = pytest.mark.anyio

ALL = ((1, 2**32 - 1),)
BACKUP = "restored from a backup"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def letter(number: int) -> bytes:
    return f"Message-ID: <{number}@example.org>\r\nSubject: {number}\r\n\r\ntext of {number}\r\n".encode()


async def take_in(cluster: Cluster, *numbers: int) -> None:
    for number in numbers:
        assert (await cluster.deliver(letter(number))).word == "accept"


async def inbox(cluster: Cluster, *numbers: int) -> None:
    """These messages are in the inbox, each once, and no other."""
    found = Counter(await cluster.read(len(numbers)))
    assert found == Counter(map(letter, numbers))


async def doctor(host: Host) -> str:
    return "\n".join(f"{one['what']}: {one['remedy']}" for one in await host.ask("doctor"))


async def equal(*hosts: Host) -> None:
    """Until these nodes hold the same logs."""

    async def same() -> bool:
        held = []
        for host in hosts:
            assert host.node is not None
            [store] = host.node.stores
            held.append({head[:4] for head in await host.node.journal.heads(store.id)})
        return all(one == held[0] for one in held)

    await until(same, 20)


def copy(host: Host, folder: Path) -> Path:
    """A copy of a node while it runs, as a backup tool or a thief makes one."""
    shutil.copytree(host.file.parent, folder, ignore=shutil.ignore_patterns("*.sock"))
    return folder


async def restore(cluster: Cluster, host: Host, backup: Path) -> None:
    """The node as it was, in the place of what it has become."""
    await host.end()
    shutil.rmtree(host.file.parent)
    shutil.copytree(backup, host.file.parent)
    await host.start(cluster._tasks)


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster whose client can be dialled, too."""
    provider = BadNetwork(0).provider()
    async with alice_and_bob(folder, transport=(provider, {"listen": "bob"}, {"listen": "alice"})) as cluster:
        yield cluster


@fault("gateway-restored")
async def test_a_gateway_restored_from_a_copy_gets_back_what_it_forgot(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path / "nodes") as cluster:
        await take_in(cluster, 1, 2, 3)
        await inbox(cluster, 1, 2, 3)
        backup = copy(cluster.bob, tmp_path / "backup")
        await take_in(cluster, 4, 5, 6)
        await inbox(cluster, 1, 2, 3, 4, 5, 6)
        assert BACKUP not in await doctor(cluster.alice)
        await restore(cluster, cluster.bob, backup)
        await take_in(cluster, 7, 4)  # the sender of 4 repeats it
        await inbox(cluster, 1, 2, 3, 4, 5, 6, 7)
        await equal(cluster.alice, cluster.bob)
        assert BACKUP in await doctor(cluster.alice)
        assert f"this node was {BACKUP}" in await doctor(cluster.bob)


@fault("gateway-restored-before-its-run")
async def test_a_gateway_restored_from_a_copy_of_an_earlier_run_is_told_of_too(tmp_path: Path) -> None:
    """No log shows it: the run that is forgotten ended as it should."""
    async with alice_and_bob(tmp_path / "nodes") as cluster:
        await take_in(cluster, 1)
        await cluster.bob.end()
        backup = copy(cluster.bob, tmp_path / "backup")
        await cluster.bob.start(cluster._tasks)
        await take_in(cluster, 2, 3)
        await inbox(cluster, 1, 2, 3)
        await restore(cluster, cluster.bob, backup)
        await equal(cluster.alice, cluster.bob)
        await take_in(cluster, 4)
        await inbox(cluster, 1, 2, 3, 4)
        assert BACKUP in await doctor(cluster.alice)
        assert f"this node was {BACKUP}" in await doctor(cluster.bob)


@fault("gateway-cloned")
async def test_a_gateway_that_runs_twice_loses_nothing_and_is_told_of(tmp_path: Path) -> None:
    async with listening(tmp_path / "nodes") as cluster:
        await take_in(cluster, 1, 2)
        await inbox(cluster, 1, 2)
        folder = copy(cluster.bob, tmp_path / "nodes" / "clone")
        clone = Host("clone", folder / "mesyx.toml", cluster.bob.registry)
        clone.file.write_text(clone.file.read_text().replace('listen = "bob"', 'listen = "clone"'))
        await clone.start(cluster._tasks)
        twin = Cluster(cluster.alice, clone, None, cluster._tasks)
        await take_in(cluster, 3)
        await take_in(twin, 4)
        await take_in(cluster, 5)
        await take_in(twin, 6, 3)  # one comes in at both
        await inbox(cluster, 1, 2, 3, 4, 5, 6)
        await equal(cluster.alice, cluster.bob, clone)
        for host in (cluster.alice, cluster.bob, clone):
            assert "its key is in use twice" in await doctor(host)
        await clone.end()
        await take_in(cluster, 7)
        await inbox(cluster, 1, 2, 3, 4, 5, 6, 7)


async def box(cluster: Cluster) -> Mailbox:
    [found] = await cluster.view.mailboxes(["INBOX"])
    return found


async def state(cluster: Cluster) -> dict[bytes, frozenset[str]]:
    """The messages by their stable ids, and their flags."""
    inbox = await box(cluster)
    rows = cluster.view.rows(inbox.id, ALL, frozenset(("flags",)))
    return {row.id: row.flags or frozenset() async for batch in rows for row in batch}


@fault("client-restored")
async def test_a_client_restored_from_a_copy_brings_back_no_flag_and_no_deleted_mail(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path / "nodes") as cluster:
        await take_in(cluster, *range(1, 7))
        await inbox(cluster, *range(1, 7))
        mailbox = await box(cluster)

        async def change(what: type[Any], uid: int, **more: Any) -> None:
            await cluster.view.change([what(mailbox=mailbox.id, uids=((uid, uid),), **more)])

        await change(Flag, 1, add=frozenset(("\\Seen",)))
        await change(Remove, 2)
        await equal(cluster.alice, cluster.bob)
        backup = copy(cluster.alice, tmp_path / "backup")

        await change(Flag, 1, remove=frozenset(("\\Seen",)))
        await change(Flag, 3, add=frozenset(("\\Flagged",)))
        await change(Remove, 4)
        await take_in(cluster, 7, 8)
        await cluster.read(6)
        await change(Remove, 7)
        await equal(cluster.alice, cluster.bob)
        before, validity = await state(cluster), (await box(cluster)).uidvalidity
        assert len(before) == 5

        await restore(cluster, cluster.alice, backup)
        await cluster.alice.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)

        async def as_before() -> bool:
            return await state(cluster) == before

        await until(as_before, 20)
        assert (await box(cluster)).uidvalidity > validity
        assert f"this node was {BACKUP}" in await doctor(cluster.alice)
        assert BACKUP in await doctor(cluster.bob)
        await take_in(cluster, 9)
        await inbox(cluster, 1, 3, 5, 6, 8, 9)
        changed = (await box(cluster)).uidvalidity
        await cluster.restart(cluster.alice)
        assert (await box(cluster)).uidvalidity == changed


@fault("replicated-alone")
async def test_with_nobody_to_confirm_mail_is_put_off_and_shown_once_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "REPLICATION_SECONDS", 0.5)
    async with alice_and_bob(tmp_path / "nodes") as cluster:
        file = cluster.bob.file
        file.write_text(file.read_text().replace("# acknowledge", 'acknowledge = "replicated" #'))
        await cluster.restart(cluster.bob)
        await take_in(cluster, 1)
        await cluster.alice.end()
        for _ in range(2):  # its sender tries again
            with pytest.raises(Temporary, match="no other node has confirmed"):
                await cluster.deliver(letter(2))
        await cluster.alice.start(cluster._tasks)
        await cluster.alice.ask("store.unlock", name=STORE, passphrase=PASSPHRASE)
        await inbox(cluster, 1, 2)
        await take_in(cluster, 2, 3)
        await inbox(cluster, 1, 2, 3)


@fault("gateway-away")
async def test_a_gateway_that_is_away_for_a_while_is_told_of_and_met_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesyx_core.node.peers.PATIENCE", 0.2)
    async with alice_and_bob(tmp_path / "nodes") as cluster:
        await take_in(cluster, 1)
        await inbox(cluster, 1)
        await cluster.bob.end()

        async def told() -> bool:
            return "cannot be reached" in await doctor(cluster.alice)

        await until(told)
        mailbox = await box(cluster)
        await cluster.view.change([Flag(mailbox=mailbox.id, uids=((1, 1),), add=frozenset(("\\Seen",)))])
        await cluster.bob.start(cluster._tasks)
        await equal(cluster.alice, cluster.bob)
        await take_in(cluster, 2)
        await inbox(cluster, 1, 2)
        assert "cannot be reached" not in await doctor(cluster.alice)


@fault("gateway-oversteps")
async def test_a_gateway_that_oversteps_its_rights_is_named_by_doctor(tmp_path: Path) -> None:
    async with alice_and_bob(tmp_path / "nodes") as cluster:
        assert cluster.bob.node is not None
        [store] = cluster.bob.node.stores
        forged = ops.encode(ops.Batch(1, (ops.CreateOp("Forged"),)))
        sealed = await store.sealer.seal(Content(content.pack_inner("op", forged), target="clients"))
        await cluster.bob.node.stores.commit([sealed])
        await take_in(cluster, 1)
        await inbox(cluster, 1)
        assert not await cluster.view.mailboxes(["Forged"])
        assert "wrote an entry: an op from a node that may not write one" in await doctor(cluster.alice)


@fault("log-branched")
async def test_a_log_with_two_branches_is_named_by_doctor(tmp_path: Path) -> None:
    """As after a virtual machine was put back to a moment ago: other entries under the same numbers. Mail goes on in a log
    of its own."""
    async with alice_and_bob(tmp_path / "nodes") as cluster:
        await take_in(cluster, 1)
        await inbox(cluster, 1)
        assert cluster.bob.node is not None
        [store] = cluster.bob.node.stores
        log = store.sealer.log
        assert log is not None
        forged = Forged(
            cast(Any, SimpleNamespace(cluster=SimpleNamespace(store=store.id))), b"", cluster.bob.node.key, 9
        )
        run = Origin(store.id, *log.origin[1:])
        chain = chain_over(chain_start(run), (entry_id(header) for header, _ in forged.entries))
        signed = sign(cluster.bob.node.key, Checkpoint(run, 9, chain, bytes(32), 1))
        frame = frames.Entries(*run[1:], 0, forged.entries, signed)
        [connection] = cluster.bob.node.exchange._connections
        connection.session.send(frame)
        connection._wake()

        async def told() -> bool:
            return "has two branches" in await doctor(cluster.alice)

        await until(told)
        await take_in(cluster, 2)
        await inbox(cluster, 1, 2)
        assert store.sealer.log is not log


@fault("stranger-refused")
async def test_who_was_turned_away_and_why_is_in_status(tmp_path: Path) -> None:
    async with listening(tmp_path / "nodes") as cluster:
        assert cluster.bob.node is not None
        stream = await cluster.bob.node.connect("memory://bob")
        await stream.send(b"GET / HTTP/1.1\r\n\r\n" * 50)
        with anyio.move_on_after(5):
            async for _ in stream:
                pass

        async def told() -> bool:
            return any("TLS" in one["reason"] for one in (await cluster.bob.ask("status"))["turned_away"])

        await until(told)
