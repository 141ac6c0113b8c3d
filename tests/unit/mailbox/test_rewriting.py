"""After a compromise messages stay what they are to their reader, and are sealed under seeds that nobody has seen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from mesyx_core.api import Bytes, File, Flag
from mesyx_core.mailbox import names
from mesyx_core.mailbox.account import Account
from mesyx_core.mailbox.opening import instead
from mesyx_core.mailbox.rewriting import Rewritten
from mesyx_core.record.entry import Kind, Origin
from mesyx_core.record.marks import decode_purge
from tests.unit.mailbox.rig import Rig, Writing, mail

Play: TypeAlias = Callable[[Callable[[Rig], Coroutine[Any, Any, None]]], None]
INBOX, ARCHIVE = names.named("INBOX"), names.named("Archive")
ALL = ((1, 1 << 31),)


async def caught_up(account: Account) -> None:
    while (progress := await account.status()).behind or progress.waiting:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


async def shown(account: Account) -> dict[tuple[bytes, int], tuple[bytes, frozenset[str] | None, bytes]]:
    """By mailbox and UID: stable id, flags and body of every message that can be read."""
    view, found = account.view(), {}
    for mailbox in (INBOX, ARCHIVE):
        rows = [row async for some in view.rows(mailbox, ALL, frozenset({"flags", "envelope"})) for row in some]
        bodies = {uid: body async for some in view.content(mailbox, ALL) for uid, body in some}
        for row in rows:
            body = b"".join([chunk async for chunk in bodies[row.uid].read()])
            assert row.envelope is not None
            found[mailbox, row.uid] = (row.id, row.flags, body)
    return found


async def purge(rig: Rig, *accounts: Account) -> None:
    for head in await rig.journal.heads(rig.store):
        origin = Origin(rig.store, head.node, head.incarnation)
        marked = [seq for seq, kind in await rig.journal.marks(origin) if kind == Kind.PURGE]
        for _, entry in await rig.journal.pick(origin, marked):
            for named in decode_purge(entry.payload or b"").named:
                other = Origin(rig.store, named.node, named.incarnation)
                await rig.journal.purge(other, named.seqs)
                for account in accounts:
                    await account.purged(other, named.seqs)


async def prepared(rig: Rig, account: Account, laptop: Writing) -> None:
    """Mails of a gateway, one of them large, one that came twice; some flagged, one filed elsewhere; one of our own."""
    mx, other = await rig.node("mx"), await rig.node("mx2")
    await mx.mail([mail(n) for n in range(5)] + [mail(5, "x" * 50_000)])
    await other.mail([mail(4)])
    await caught_up(account)
    view = account.view()
    await view.change([Flag(mailbox=INBOX, uids=((2, 3),), add=frozenset({"\\Seen"}), remove=frozenset())])
    await view.change([File(mailbox=INBOX, uids=((3, 3),), to=ARCHIVE, move=True)])
    await view.append(ARCHIVE, mail(60, flags=frozenset({"\\Flagged"})))


def test_messages_keep_place_flags_and_uid_and_their_old_ciphertext_goes(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        laptop = await rig.node("laptop")
        rig.identities = [rig.person, rig.short, rig.long]
        async with rig.account(laptop) as account:
            await prepared(rig, account, laptop)
            before = await shown(account)
            assert len(before) == 7
            laptop.keyset = rig.lasting
            told: list[tuple[int, int]] = []
            work, keysets = account.rewriting, {rig.keyset.id}
            done = await work.rewrite(keysets, lambda *at: told.append(at))
            assert done == Rewritten(8, 8, 0, 0)
            assert told == [(8, 8)]
            assert await work.rewrite(keysets) == Rewritten(8, 0, 8, 0)
            assert await shown(account) == before
            assert len(await work.write(await work.purges(keysets))) == 1
            await purge(rig, account)
            assert await shown(account) == before
            assert await work.rewrite(keysets) == Rewritten(0, 0, 0, 0)
            assert await work.purges(keysets) == []
            view = account.view()
            await view.change([Flag(mailbox=INBOX, uids=((1, 1),), add=frozenset({"\\Answered"}), remove=frozenset())])
            before = await shown(account)
            assert (await account.status()).violations == 0
        async with rig.account(laptop) as account:
            await caught_up(account)
            assert await shown(account) == before
        # Without the key that was compromised, from what is left of the log.
        async with rig.account(laptop, "fresh", [rig.person, rig.long]) as account:
            await caught_up(account)
            again = await shown(account)
            assert sorted(again.values(), key=repr) == sorted(before.values(), key=repr)
            assert (await account.status())[3:] == (0, 0)

    play(scene)


def test_who_may_purge_nothing_puts_nothing_in_a_messages_place(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        laptop, phone, mx = await rig.node("laptop"), await rig.node("phone"), await rig.node("mx")
        [dot] = await mx.mail([mail(1)])
        async with rig.account(laptop) as account:
            await caught_up(account)
            before = await shown(account)
            forged = mail(1, "forged")
            await phone.mail([instead(forged, dot.node, dot.incarnation, dot.seq)])
            await mx.mail([instead(mail(2, "a gateway's"), dot.node, dot.incarnation, dot.seq)])
            await caught_up(account)
            found = await shown(account)
            assert {at: found[at] for at in before} == before
            assert (await account.status()).violations == 1
            assert len(found) == 2  # the gateway's is a message like any other

    play(scene)


def test_two_clients_that_rewrite_at_once_show_each_message_once(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        await mx.mail([mail(n) for n in range(4)])
        rig.identities = [rig.person, rig.short, rig.long]
        other = await rig.node("laptop")
        async with rig.account(laptop, "one") as one, rig.account(other, "two") as two:
            await asyncio.gather(caught_up(one), caught_up(two))
            before = await shown(one)
            laptop.keyset = other.keyset = rig.lasting
            await asyncio.gather(*(each.rewriting.rewrite({rig.keyset.id}) for each in (one, two)))
            for each in (one, two):
                await each.rewriting.write(await each.rewriting.purges({rig.keyset.id}))
            await asyncio.gather(caught_up(one), caught_up(two))
            await purge(rig, one, two)
            assert await shown(one) == before
            assert {value[0] for value in (await shown(two)).values()} == {value[0] for value in before.values()}

    play(scene)


def test_what_cannot_be_opened_is_told_and_not_purged(rig: Rig, play: Play) -> None:
    async def scene(rig: Rig) -> None:
        laptop, mx = await rig.node("laptop"), await rig.node("mx")
        await mx.mail([mail(n) for n in range(3)])
        async with rig.account(laptop) as account:
            await caught_up(account)
            account.unlock([rig.person, rig.long])
            assert await account.rewriting.rewrite({rig.keyset.id}) == Rewritten(3, 0, 0, 3)
            assert await account.rewriting.purges({rig.keyset.id}) == []
            await mx.mail([mail(9, body=Bytes(os.urandom(10)))])
            await caught_up(account)
            assert (await account.rewriting.rewrite({rig.keyset.id})).unread == 4

    play(scene)
