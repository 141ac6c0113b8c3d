"""What is sealed is not what its writer may write, or not what was promised: never applied, always shown in status."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mesyx_core.api import Bytes, Flag
from mesyx_core.journal import Draft
from mesyx_core.mailbox import names
from mesyx_core.record import content, ops, payloads
from mesyx_core.record.content import BlobRef
from mesyx_core.record.entry import Kind
from mesyx_core.record.outgoing import Fate, Receipt, Request, day_id
from mesyx_core.record.payloads import CLIENTS, Target
from mesyx_core.vault import age
from mesyx_core.vault.epoch import Epoch
from mesyx_core.vault.seal import Context, seal
from mesyx_core.vault.stream import BlobSealer
from tests.faults.marks import fault
from tests.unit.mailbox.rig import Rig, Writing, mail

Forge = Callable[[Rig, Writing], Awaitable[Any]]


async def settled(account: Any) -> Any:
    """The account's progress once all is opened."""
    async with asyncio.timeout(20):
        while (progress := await account.status()).behind:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        return progress


async def shown(account: Any) -> int:
    return int((await account.view().mailboxes(["INBOX"]))[0].exists)


async def sealed(writing: Writing, data: bytes, target: Target | None = None) -> Any:
    return (await writing.write(target or Target("keyset", writing.keyset.id), [data]))[0]


def letter(number: int = 1) -> bytes:
    made = mail(number)
    assert isinstance(made.body, Bytes)
    return content.pack(made, made.body.data)


def try_it(folder: Path, writer: str, forge: Forge, why: str, count: int = 1) -> None:
    """A good mail before and one after are shown; what is forged in between is named as such and nothing else."""

    async def scene() -> None:
        rig = Rig(folder)
        async with rig.open():
            mx, laptop, evil = await rig.node("mx"), await rig.node("laptop"), await rig.node(writer)
            await mx.mail([mail(100)])
            forged = await forge(rig, evil)
            await mx.mail([mail(101)])
            async with rig.account(laptop) as account:
                assert (await settled(account)).violations == count
                assert await shown(account) == 2
                assert not await account.view().mailboxes(["Forged"])
                trace = await account.trace(*forged[:3])
                assert (trace.state, trace.why) == ("violation", why)

    asyncio.run(scene())


@fault("role-gateway-op")
def test_a_gateway_changes_no_flags_and_no_mailboxes(tmp_path: Path) -> None:
    async def forge(rig: Rig, evil: Writing) -> Any:
        return (await evil.ops([ops.encode(ops.Batch(1, (ops.CreateOp("Forged"),)))]))[0]

    try_it(tmp_path, "mx2", forge, "an op from a node that may not write one")


@fault("role-exchange-message")
def test_a_node_that_only_exchanges_writes_no_messages(tmp_path: Path) -> None:
    async def forge(rig: Rig, evil: Writing) -> Any:
        return await sealed(evil, letter())

    try_it(tmp_path, "relay", forge, "a sealed entry from a node that may not write one", 2)  # and its epoch


@fault("role-client-receipt")
def test_a_client_writes_no_receipts(tmp_path: Path) -> None:
    async def forge(rig: Rig, evil: Writing) -> Any:
        receipt = Receipt(os.urandom(16), 1, True, (Fate(0, "bob@example.org", "sent"),))
        return await sealed(evil, receipt.pack(), CLIENTS)

    try_it(tmp_path, "phone", forge, "a receipt from a node that may not write one")


@fault("role-gateway-request")
def test_a_gateway_requests_nothing(tmp_path: Path) -> None:
    """To the clients; that no gateway obeys it either is shown in tests/unit/node/test_outgoing.py."""

    async def forge(rig: Rig, evil: Writing) -> Any:
        return await sealed(evil, Request("drop", os.urandom(16)).pack(), CLIENTS)

    try_it(tmp_path, "mx2", forge, "a request from a node that may not write one")


@fault("kind-without-right")
@pytest.mark.parametrize(
    ("kind", "writer"), [(Kind.RESEAL, "mx2"), (Kind.PURGE, "relay"), (Kind.VETO, "mx2")], ids=lambda one: str(one)
)
def test_what_only_clients_may_write_is_shown_and_has_no_effect(tmp_path: Path, kind: Kind, writer: str) -> None:
    async def forge(rig: Rig, evil: Writing) -> Any:
        [seq] = await rig.journal.commit([(evil.log, Draft(kind, 1, 0, b"", os.urandom(40)))])
        return (*evil.log.origin[1:], seq)

    try_it(tmp_path, writer, forge, f"a {kind.name.lower()} from a node that may not write one")


@fault("index-repeated")
def test_a_key_of_an_epoch_counts_once(tmp_path: Path) -> None:
    """As a gateway would use it whose memory was copied while it ran."""

    async def forge(rig: Rig, evil: Writing) -> Any:
        epoch = await evil._epoch(Target("keyset", evil.keyset.id))
        index, key = epoch.take()
        context = Context(*evil.log.origin, Kind.SEALED, epoch.number, index)
        last = 0
        for number in (101, 7):  # the first is the same mail as one that came by the other gateway
            s, payload = seal(key, context, letter(number), os.urandom)
            [last] = await rig.journal.commit([(evil.log, Draft(Kind.SEALED, epoch.number, index, s, payload))])
        return (*evil.log.origin[1:], last)

    try_it(tmp_path, "mx2", forge, "repeats a key of its epoch")


@fault("seed-not-committed")
def test_a_seed_that_its_commitment_does_not_show_opens_nothing(tmp_path: Path) -> None:
    async def forge(rig: Rig, evil: Writing) -> Any:
        seed, other = bytearray(os.urandom(32)), os.urandom(32)
        target = Target("keyset", evil.keyset.id)
        epoch = Epoch.begin(*evil.log.origin, 1, seed)
        told = payloads.Epoch(target, epoch.commitment, age.encrypt(other, evil.keyset.recipients)).encode()
        index, key = epoch.take()
        s, payload = seal(key, Context(*evil.log.origin, Kind.SEALED, 1, index), letter(), os.urandom)
        drafts = [Draft(Kind.EPOCH, 1, 0, b"", told), Draft(Kind.SEALED, 1, index, s, payload)]
        seqs = await rig.journal.commit([(evil.log, draft) for draft in drafts])
        return (*evil.log.origin[1:], seqs[-1])

    try_it(tmp_path, "mx2", forge, "the seed is not the one committed to")


@fault("entry-sealed-elsewhere")
def test_what_was_sealed_for_another_place_does_not_open(tmp_path: Path) -> None:
    """A gateway copies another's entry into its own log, header and all."""

    async def forge(rig: Rig, evil: Writing) -> Any:
        epoch = await evil._epoch(Target("keyset", evil.keyset.id))
        index, key = epoch.take()
        s, payload = seal(key, Context(*evil.log.origin, Kind.SEALED, epoch.number, index + 1), letter(), os.urandom)
        [seq] = await rig.journal.commit([(evil.log, Draft(Kind.SEALED, epoch.number, index, s, payload))])
        return (*evil.log.origin[1:], seq)

    try_it(tmp_path, "mx2", forge, "not sealed as it should be")


@fault("blob-never-sealed")
@pytest.mark.parametrize("what", ["noise", "other-key", "cut"])
def test_a_blob_that_was_never_sealed_as_the_message_says_is_not_shown(tmp_path: Path, what: str) -> None:
    """Its hash is the one that the entry names: only who reads can tell."""

    async def forge(rig: Rig, evil: Writing) -> Any:
        key, body = os.urandom(32), b"Subject: x\r\n\r\n" + b"y" * 200_000
        sealer = BlobSealer(os.urandom(32) if what == "other-key" else key)
        data = sealer.update(body) + sealer.finish()
        data = os.urandom(len(data)) if what == "noise" else data[:-70_000] if what == "cut" else data
        blob = rig.journal.new_blob()
        await blob.write(data)
        await blob.finish()
        packed = content.pack(mail(5), BlobRef(blob.hash, len(body), key))
        return (await evil.write(Target("keyset", evil.keyset.id), [packed], [blob]))[0]

    try_it(tmp_path, "mx2", forge, "its blob is not what was sealed")


@fault("blob-not-named")
def test_a_body_in_a_blob_that_the_entry_does_not_name_is_not_looked_for(tmp_path: Path) -> None:
    async def forge(rig: Rig, evil: Writing) -> Any:
        return await sealed(evil, content.pack(mail(5), BlobRef(os.urandom(32), 100_000, os.urandom(32))))

    try_it(tmp_path, "mx2", forge, "its body is in a blob that it does not name")


@fault("clients-write-at-once")
def test_two_clients_that_change_the_same_at_once_come_to_show_the_same(tmp_path: Path) -> None:
    inbox = names.named("INBOX")

    async def scene() -> None:
        rig = Rig(tmp_path)
        async with rig.open():
            mx, laptop, phone = await rig.node("mx"), await rig.node("laptop"), await rig.node("phone")
            dots = await mx.mail([mail(n) for n in range(20)])
            async with rig.account(laptop, "one") as one, rig.account(phone, "other") as other:
                for account in (one, other):
                    await account.feed.reached(dots)

                async def mark(account: Any, add: str, remove: str) -> None:
                    for uid in range(1, 21):
                        await account.view().change([Flag(mailbox=inbox, uids=((uid, uid),), add=frozenset((add,)))])
                        gone = frozenset((remove,))
                        await account.view().change([Flag(mailbox=inbox, uids=((uid, uid),), remove=gone)])

                await asyncio.gather(mark(one, "\\Seen", "$B"), mark(other, "$B", "\\Seen"))
                found = []
                for account in (one, other):
                    assert (await settled(account)).violations == 0
                    rows = account.view().rows(inbox, ((1, 2**32 - 1),), frozenset(("flags",)))
                    found.append({row.id: row.flags async for batch in rows for row in batch})
                assert found[0] == found[1]
                assert len(found[0]) == 20

    asyncio.run(scene())


@fault("request-sealed-to-no-day")
def test_what_is_sealed_to_others_is_passed_over_without_a_word(tmp_path: Path) -> None:
    async def scene() -> None:
        rig = Rig(tmp_path)
        async with rig.open():
            laptop, phone = await rig.node("laptop"), await rig.node("phone")
            stranger = age.generate().recipient
            target = Target("day", day_id(stranger))
            await phone.write(target, [Request("drop", os.urandom(16)).pack()], recipients=[stranger])
            async with rig.account(laptop) as account:
                progress = await settled(account)
                assert (progress.violations, progress.waiting, progress.locked) == (0, 0, 0)

    asyncio.run(scene())
