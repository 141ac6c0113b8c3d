"""Re-encryption moves a keyset's mail to another key: by its epochs alone, once, and whatever happens in between."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from mesyx_core.api import Query
from mesyx_core.mailbox import names
from mesyx_core.mailbox.account import Account
from mesyx_core.mailbox.reencryption import Resealed, Retired
from mesyx_core.record.entry import Entry, Kind, Origin, decode_header
from mesyx_core.record.marks import Reseal, decode_purge
from mesyx_core.record.payloads import Target
from mesyx_core.vault import age
from mesyx_core.vault.keyset import Keyset
from tests.unit.mailbox.rig import Rig, Writing, mail

Play: TypeAlias = Callable[[Callable[[Rig], Coroutine[Any, Any, None]]], None]
INBOX = names.named("INBOX")


async def caught_up(account: Account) -> None:
    while (progress := await account.status()).behind or progress.waiting:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


async def entries(rig: Rig, kind: Kind) -> list[tuple[Origin, int, Entry]]:
    found = []
    for head in await rig.journal.heads(rig.store):
        origin = Origin(rig.store, head.node, head.incarnation)
        for seq, entry in await rig.journal.entries(origin, 0, max_bytes=1 << 30, max_count=1 << 20):
            if decode_header(entry.header).kind == kind:
                found.append((origin, seq, entry))
    return found


async def bodies(account: Account) -> int:
    """How many messages give their bodies."""
    return len([uid async for some in account.view().content(INBOX, [(1, 1 << 31)]) for uid, _ in some])


async def readable(account: Account) -> int:
    """How many messages show their envelope, and give their bodies."""
    view = account.view()
    rows = [row async for rows in view.rows(INBOX, [(1, 1 << 31)], frozenset({"envelope"})) for row in rows]
    count = await bodies(account)
    assert count == sum(row.envelope is not None and not row.locked for row in rows)
    return count


async def found(account: Account, text: str) -> int:
    return len(await account.view().search(INBOX, Query("text", text)))


async def written(rig: Rig, epochs: int = 3, mails: int = 4) -> Writing:
    """Closed epochs of the short-term keyset."""
    mx = await rig.node("mx")
    for epoch in range(epochs):
        await mx.mail([mail(epoch * mails + number, f"secret{epoch}") for number in range(mails)])
        await mx.close()
    return mx


async def purge(rig: Rig, *accounts: Account) -> None:
    """What every node does with a purge that it finds in order."""
    for _, _, entry in await entries(rig, Kind.PURGE):
        for named in decode_purge(entry.payload or b"").named:
            origin = Origin(rig.store, named.node, named.incarnation)
            await rig.journal.purge(origin, named.seqs)
            for account in accounts:
                await account.purged(origin, named.seqs)


def test_the_epochs_are_sealed_to_the_other_key_once_and_it_alone_reads_all(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig)
        laptop = await rig.node("laptop")
        rig.identities = [rig.person, rig.short, rig.long]
        told: list[tuple[int, int]] = []
        async with rig.account(laptop) as account:
            await caught_up(account)
            work = account.reencryption
            assert await work.reseal(rig.keyset, rig.lasting, lambda *at: told.append(at)) == Resealed(3, 0, 0, 0)
            assert await work.reseal(rig.keyset, rig.lasting) == Resealed(0, 3, 0, 0)
            assert told == [(3, 3)]
            assert await work.retire(rig.keyset, rig.lasting, drop=True) == Retired(3, 0)
            assert await work.retire(rig.keyset, rig.lasting, drop=True) == Retired(3, 0)  # until the purge is done
            await purge(rig, account)
            assert await work.retire(rig.keyset, rig.lasting, drop=True) == Retired(0, 0)
            assert await work.fold(rig.keyset, rig.lasting)
            assert not await work.fold(rig.keyset, rig.lasting)
            assert await readable(account) == 12
            assert await found(account, "secret1") == 4
        assert len(await entries(rig, Kind.RESEAL)) == 3
        assert not list((rig.folder / "index").glob(f"keyset-{rig.keyset.id.hex()[:32]}*"))
        async with rig.account(laptop, "other", [rig.person, rig.long]) as account:
            await caught_up(account)
            assert await readable(account) == 12
        async with rig.account(laptop, "phone", [rig.person, rig.short]) as account:
            await caught_up(account)
            assert (await account.status()).locked == 12
            assert not list((rig.folder / "phone").glob("keyset-*"))

    play(scene)


def test_what_was_folded_is_there_after_a_start_and_grows(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        mx = await written(rig)
        laptop = await rig.node("laptop")
        rig.identities = [rig.person, rig.short, rig.long]
        async with rig.account(laptop) as account:
            await caught_up(account)
            await account.reencryption.reseal(rig.keyset, rig.lasting)
            assert await account.reencryption.fold(rig.keyset, rig.lasting)
        async with rig.account(laptop) as account:
            mx.keyset = rig.lasting
            await mx.mail([mail(100, "after the fold")])
            await caught_up(account)
            assert (await readable(account), await found(account, "secret2"), await found(account, "fold")) == (
                13,
                4,
                1,
            )
            assert (await account.status()).violations == 0
            with account.shelf.use(Target("keyset", rig.lasting.id)) as contents:
                assert contents.database.check() == []

    play(scene)


def test_epochs_that_are_not_closed_wait(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        mx = await written(rig, 1)
        await mx.mail([mail(50)])
        laptop = await rig.node("laptop")
        async with rig.account(laptop) as account:
            await caught_up(account)
            assert await account.reencryption.reseal(rig.keyset, rig.lasting) == Resealed(1, 0, 1, 0)
            assert await account.reencryption.retire(rig.keyset, rig.lasting, drop=True) == Retired(0, 1)
            assert not await account.reencryption.fold(rig.keyset, rig.lasting)
            assert await bodies(account) == 1  # this client has no long-term key
            await rig.journal.end_log(mx.log)  # as after a crash: nothing follows in this log
            await caught_up(account)
            assert await account.reencryption.reseal(rig.keyset, rig.lasting) == Resealed(1, 0, 0, 0)

    play(scene)


def test_a_client_without_the_new_key_drops_the_old_seals_from_all_its_files(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig)
        phone = await rig.node("phone")
        async with rig.account(phone) as account:
            await caught_up(account)
            assert await readable(account) == 12
            assert await account.reencryption.reseal(rig.keyset, rig.lasting) == Resealed(3, 0, 0, 0)
            assert await account.reencryption.retire(rig.keyset, rig.lasting, drop=True) == Retired(0, 3)
            assert [entry.payload for _, _, entry in await entries(rig, Kind.EPOCH)] == [None] * 3
            assert await bodies(account) == 0
            account.shelf.destroy(Target("keyset", rig.keyset.id))
            assert not list((rig.folder / "index").glob("keyset-*"))
        # A thief with the disk and even the short key, which is destroyed by now, opens nothing of it.
        async with rig.account(phone) as account:
            await caught_up(account)
            assert await readable(account) == 0
        rig.identities = [rig.person, rig.long]
        async with rig.account(phone, "long") as account:
            await caught_up(account)
            assert await readable(account) == 12

    play(scene)


def test_seals_that_went_while_the_index_was_closed_are_forgotten(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig)
        phone = await rig.node("phone")
        async with rig.account(phone) as account:
            await caught_up(account)
            await account.reencryption.reseal(rig.keyset, rig.lasting)
        for origin, seq, _ in await entries(rig, Kind.EPOCH):
            await rig.journal.drop(origin, [seq])
        async with rig.account(phone) as account:
            await caught_up(account)
            await account.reencryption.sweep()
            with account.ledger.database.read() as db:
                assert {bytes(row[0]) for row in db.execute("SELECT target_id FROM seal")} == {rig.lasting.id}

    play(scene)


def test_two_clients_at_once_do_no_harm(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig)
        rig.identities = [rig.person, rig.short, rig.long]
        laptop, other = await rig.node("laptop"), await rig.node("phone")
        async with rig.account(laptop, "one") as one, rig.account(other, "two") as two:
            await asyncio.gather(caught_up(one), caught_up(two))
            await asyncio.gather(*(each.reencryption.reseal(rig.keyset, rig.lasting) for each in (one, two)))
            await asyncio.gather(caught_up(one), caught_up(two))
            for each in (one, two):
                assert await each.reencryption.reseal(rig.keyset, rig.lasting) == Resealed(0, 3, 0, 0)
            await asyncio.gather(*(each.reencryption.retire(rig.keyset, rig.lasting, drop=True) for each in (one, two)))
            await purge(rig, one, two)
            for each in (one, two):
                assert await each.reencryption.fold(rig.keyset, rig.lasting)
                assert await readable(each) == 12
                assert (await each.status()).violations == 0

    play(scene)


async def _resealed(rig: Rig, writer: Writing, seed: bytes, keyset: Keyset) -> None:
    for origin, _, entry in await entries(rig, Kind.EPOCH):
        number = decode_header(entry.header).epoch
        file = age.encrypt(seed, keyset.recipients)
        payload = Reseal(origin.node, origin.incarnation, number, Target("keyset", keyset.id), file).encode()
        await writer.marks([(Kind.RESEAL, payload)])


@pytest.mark.parametrize("liar", ["phone", "mx2"])
def test_a_false_seal_is_shown_and_harms_nothing(rig: Rig, play: Play, liar: str) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig)
        rig.identities = [rig.person, rig.short, rig.long]
        await _resealed(rig, await rig.node(liar), os.urandom(32), rig.lasting)
        laptop = await rig.node("laptop")
        async with rig.account(laptop) as account:
            await caught_up(account)
            assert (await account.status()).violations == 3
            assert await account.reencryption.retire(rig.keyset, rig.lasting, drop=True) == Retired(0, 0)
            assert await account.reencryption.reseal(rig.keyset, rig.lasting) == Resealed(3, 0, 0, 0)
            assert await account.reencryption.retire(rig.keyset, rig.lasting, drop=True) == Retired(3, 0)
            assert await readable(account) == 12

    play(scene)


def test_a_false_seal_that_came_while_its_key_was_not_here_is_found_before_the_old_one_goes(
    rig: Rig, play: Play
) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig)
        await _resealed(rig, await rig.node("phone"), os.urandom(32), rig.lasting)
        laptop = await rig.node("laptop")
        async with rig.account(laptop) as account:
            await caught_up(account)
            assert (await account.status()).violations == 0
            account.unlock([rig.person, rig.short, rig.long])
            assert await account.reencryption.reseal(rig.keyset, rig.lasting) == Resealed(0, 3, 0, 0)
            assert await account.reencryption.retire(rig.keyset, rig.lasting, drop=True) == Retired(0, 0)
            assert (await account.status()).violations == 3
            assert await account.reencryption.reseal(rig.keyset, rig.lasting) == Resealed(3, 0, 0, 0)
            assert await account.reencryption.retire(rig.keyset, rig.lasting, drop=True) == Retired(3, 0)

    play(scene)


def test_a_client_without_the_right_purges_nothing(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig)
        rig.identities = [rig.person, rig.short, rig.long]
        async with rig.account(await rig.node("phone")) as account:
            await caught_up(account)
            await account.reencryption.reseal(rig.keyset, rig.lasting)
            assert await account.reencryption.retire(rig.keyset, rig.lasting, drop=True) == Retired(0, 0)
        assert await entries(rig, Kind.PURGE) == []

    play(scene)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["shelf.fold", "ledger.fold", "shelf.destroy"])
def test_dying_anywhere_in_a_fold_loses_and_doubles_nothing(
    rig: Rig, play: Play, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig)
        rig.identities = [rig.person, rig.short, rig.long]
        laptop = await rig.node("laptop")
        async with rig.account(laptop) as account:
            await caught_up(account)
            await account.reencryption.reseal(rig.keyset, rig.lasting)
            part, name = step.split(".")
            owner = getattr(account, part)
            real = getattr(owner, name)

            def dies(*arguments: Any) -> None:
                if after:
                    real(*arguments)
                raise RuntimeError

            with monkeypatch.context() as patched:
                patched.setattr(owner, name, dies)
                with pytest.raises(RuntimeError):
                    await account.reencryption.fold(rig.keyset, rig.lasting)
        async with rig.account(laptop) as account:
            await caught_up(account)
            await account.reencryption.fold(rig.keyset, rig.lasting)
            assert (await readable(account), await found(account, "secret1")) == (12, 4)
        assert not list((rig.folder / "index").glob(f"keyset-{rig.keyset.id.hex()[:32]}*"))

    play(scene)


def test_a_destroyed_files_key_is_overwritten_where_it_lay(rig: Rig, play: Play, tmp_path: Path) -> None:
    async def scene(rig: Rig) -> None:
        await written(rig, 1)
        async with rig.account(await rig.node("laptop")) as account:
            await caught_up(account)
            key = next((rig.folder / "index").glob("keyset-*.key"))
            os.link(key, tmp_path / "kept")
            account.shelf.destroy(Target("keyset", rig.keyset.id))
            assert set((tmp_path / "kept").read_bytes()) == {0}

    play(scene)
