"""What the feed takes in, what it passes over, and what it never applies."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable
from types import SimpleNamespace, TracebackType
from typing import Any, cast

import pytest

from mesyx_core import mime
from mesyx_core.api import Flag, Locked
from mesyx_core.mailbox import names
from mesyx_core.record import content, ops
from mesyx_core.record.entry import Entry, Kind
from mesyx_core.record.payloads import CLIENTS, Target
from mesyx_core.vault.seal import Context, seal

INBOX = names.named("INBOX")
ALL = ((1, 2**32 - 1),)
Play = Callable[..., None]
Letter = Callable[..., Any]


async def exists(account: Any) -> int:
    return int((await account.view().mailboxes(["INBOX"]))[0].exists)


async def settled(account: Any) -> Any:
    """The account's progress once it has caught up."""
    return await until(account, lambda progress: not progress.behind)


async def until(account: Any, holds: Callable[[Any], bool]) -> Any:
    for _ in range(1000):
        progress = await account.status()
        if holds(progress):
            return progress
        await asyncio.sleep(0.02)
    raise TimeoutError


def test_a_gateway_cannot_change_flags_or_mailboxes(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        await mx.mail([letter(1)])
        await mx.ops([ops.encode(ops.Batch(1, (ops.CreateOp("Forged"),)))])
        async with rig.account(laptop) as account:
            progress = await settled(account)
            assert (progress.violations, await exists(account)) == (1, 1)
            assert not await account.view().mailboxes(["Forged"])

    play(scene)


def test_a_gateway_cannot_put_mail_into_a_mailbox_by_its_id(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        await mx.mail([letter(1, mailbox=names.reference(names.named("Sent"))), letter(2, mailbox="Lists/python")])
        async with rig.account(laptop) as account:
            await settled(account)
            assert await exists(account) == 1
            (lists,) = await account.view().mailboxes(["Lists/python"])
            assert (lists.exists, lists.subscribed) == (1, True)

    play(scene)


def test_a_node_that_is_no_member_waits(play: Play, letter: Letter, rig: Any) -> None:
    async def scene(rig: Any) -> None:
        rig.secrets["stranger"] = type(rig.secrets["mx"])(b"\x09" * 32)
        stranger, laptop = await rig.node("stranger"), await rig.node("laptop")
        dots = await stranger.mail([letter(1)])
        async with rig.account(laptop) as account:
            assert (await settled(account)).waiting == 1
            assert (await account.trace(*dots[0][:3])).why == "member"
            assert await exists(account) == 0

    play(scene)


def test_a_key_of_an_epoch_counts_once(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        from mesyx_core.journal import Draft

        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        await mx.mail([letter(1)])
        epoch = await mx._epoch(Target("keyset", mx.keyset.id))
        index, key = epoch.take()
        for n in (2, 3):
            origin = mx.log.origin
            context = Context(origin.store, origin.node, origin.incarnation, Kind.SEALED, epoch.number, index)
            s, payload = seal(key, context, content.pack(letter(n), letter(n).body.data), os.urandom)
            await rig.journal.commit([(mx.log, Draft(Kind.SEALED, epoch.number, index, s, payload))])
        async with rig.account(laptop) as account:
            assert (await settled(account)).violations == 1
            assert await exists(account) == 2

    play(scene)


def test_what_is_malformed_is_shown_and_stops_nothing(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop, phone = await rig.node("mx"), await rig.node("laptop"), await rig.node("phone")
        target = Target("keyset", mx.keyset.id)
        await mx.write(target, [b"\x83\x01\x64mail\xa0", b"\x01"])
        await phone.write(CLIENTS, [content.pack_inner("op", b"junk"), content.pack_inner("op", 5)])
        await mx.mail([letter(1)])
        async with rig.account(laptop) as account:
            assert (await settled(account)).violations == 4
            assert await exists(account) == 1

    play(scene)


def test_a_message_that_we_fail_at_waits_and_stops_nothing(
    play: Play, letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in its opening, one in its index: whatever the cause, the others are shown."""

    def summary(data: bytes) -> Any:
        if b"<1@" in data:
            raise RuntimeError(data)
        found = mime.summary(data)
        return found._replace(date=cast(Any, SimpleNamespace(toordinal=lambda: 1 << 70))) if b"<3@" in data else found

    monkeypatch.setattr("mesyx_core.mailbox.opening.mime", SimpleNamespace(**{**vars(mime), "summary": summary}))

    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        await mx.mail([letter(1), letter(2), letter(3), letter(4), letter(1, "x" * 100_000)])
        async with rig.account(laptop) as account:
            assert (await settled(account)).waiting == 3
            assert await exists(account) == 2
        monkeypatch.undo()
        async with rig.account(laptop) as account:
            await until(account, lambda progress: not progress.waiting)
            assert await exists(account) == 5

    play(scene)


def test_views_of_two_clients_come_to_show_the_same(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop, phone = await rig.node("mx"), await rig.node("laptop"), await rig.node("phone")
        dots = await mx.mail([letter(n) for n in range(30)])
        async with rig.account(laptop, "one") as one, rig.account(phone, "two") as two:
            for account in (one, two):
                await account.feed.reached(dots)
            await asyncio.gather(
                one.view().change([Flag(mailbox=INBOX, uids=((1, 20),), add=frozenset(("\\Seen",)))]),
                two.view().change([Flag(mailbox=INBOX, uids=((11, 30),), add=frozenset(("\\Flagged",)))]),
                *(one.view().append(INBOX, letter(100 + n)) for n in range(5)),
            )
            await asyncio.gather(settled(one), settled(two))
            shown = []
            for account in (one, two):
                rows = [row async for b in account.view().rows(INBOX, ALL, frozenset(("flags",))) for row in b]
                shown.append({row.id: row.flags for row in rows})
            assert shown[0] == shown[1]
            assert len(shown[0]) == 35

    play(scene)


def test_what_a_client_marks_is_seen_by_all_views_and_after_a_restart(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(1)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            one, two = account.view(), account.view()
            await one.change([Flag(mailbox=INBOX, uids=ALL, add=frozenset(("$Mine",)))])
            (batch,) = [batch async for batch in two.rows(INBOX, ALL, frozenset(("flags",)))]
            assert batch[0].flags == {"$Mine"}
        async with rig.account(laptop) as account:
            (batch,) = [batch async for batch in account.view().rows(INBOX, ALL, frozenset(("flags",)))]
            assert batch[0].flags == {"$Mine"}

    play(scene)


def test_an_op_that_builds_on_one_not_seen_yet_waits_for_it(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop, phone = await rig.node("mx"), await rig.node("laptop"), await rig.node("phone")
        (at,) = await mx.mail([letter(1)])
        entries = ops.spans([at[:3]])
        future = ops.Dot(laptop.log.origin.node, laptop.log.origin.incarnation, 3, 1)
        off = ops.Off("\\Seen", False, ops.dot_spans([future]))
        await phone.ops([ops.encode(ops.Batch(1, (ops.FlagOp(entries, frozenset(("$Later",)), (off,)),)))])
        async with rig.account(laptop) as account:
            assert (await settled(account)).waiting == 1
            (dot,) = await laptop.ops([ops.encode(ops.Batch(1, (ops.FlagOp(entries, frozenset(("\\Seen",))),)))])
            assert dot.seq == future.seq
            await until(account, lambda progress: not progress.waiting)
            (batch,) = [batch async for batch in account.view().rows(INBOX, ALL, frozenset(("flags",)))]
            assert batch[0].flags == {"$Later"}

    play(scene)


def test_a_commit_is_seen_within_a_moment(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        async with rig.account(laptop) as account:
            await account.feed.reached(await mx.mail([letter(0)]))
            news = account.view().changes(account.ledger.modseq)
            took = []
            for n in range(1, 8):
                waiting = asyncio.ensure_future(anext(news))
                await asyncio.sleep(0.01)
                await mx.mail([letter(n)])
                start = time.perf_counter()
                await waiting
                took.append(time.perf_counter() - start)
            await news.aclose()
            assert sorted(took)[3] < 1, "the feed was woken, it did not look by itself"

    play(scene)


def test_mail_whose_blob_is_not_here_yet_is_opened_when_it_comes(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(1, "x" * 100_000), letter(2)])
        (blob,) = [file for file in (rig.folder / "journal").rglob("*") if file.is_file() and "blobs" in file.parts]
        away = rig.folder / "away"
        blob.rename(away)
        async with rig.account(laptop) as account:
            progress = await settled(account)
            assert (progress.waiting, await exists(account)) == (1, 1)
            assert (await account.trace(*dots[0][:3])).why == "blob"
            away.rename(blob)
            await until(account, lambda progress: not progress.waiting)
            assert await exists(account) == 2

    play(scene)


@pytest.mark.parametrize("locked", [True, False])
def test_what_cannot_be_opened_yet_does_not_stay_in_memory(locked: bool, play: Play, letter: Letter) -> None:
    """Nor until the garbage collector comes by: a batch of entries may have megabytes, and 10,000 exceptions are none."""

    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        async with rig.account(laptop, identities=[rig.person] if locked else None) as account:
            await account.feed.reached(await mx.mail([letter(0)]))
            gc.collect()
            gc.disable()
            try:
                before = held_in_memory()
                for number in range(1, 21):
                    dots = await mx.mail([letter(number, "x" * (100 if locked else 20_000))])
                    for file in (rig.folder / "journal" / "blobs").iterdir():
                        if file.is_file():
                            file.rename(rig.folder / file.name)
                    account.feed.retry("blob", "locked")
                    await account.feed.reached(dots)
                assert held_in_memory() <= before + 2
            finally:
                gc.enable()
            progress = await account.status()
            assert (progress.locked if locked else progress.waiting) >= 15

    play(scene)


def held_in_memory() -> int:
    """Entries, and tracebacks, whose frames hold what was read."""
    return sum(isinstance(one, Entry | TracebackType) for one in gc.get_objects())


def test_a_log_may_begin_while_another_is_looked_at_for_the_first_time(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        async with rig.account(await rig.node("laptop")) as account:
            await settled(account)
            with account.ledger.database.write():  # the feed waits to note the first log, and the second comes
                first = await rig.node("mx")
                await asyncio.sleep(0.05)
                second = await rig.node("mx")
            await account.feed.reached([await first.message(letter(1)), await second.message(letter(2))])
            assert await exists(account) == 2

    play(scene)


def test_a_view_that_outlives_its_mailboxes_finds_them_locked(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        await mx.mail([letter(1)])
        async with rig.account(laptop) as account:
            await settled(account)
            view = account.view()
            changes = view.changes(account.ledger.modseq)
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
        with pytest.raises(Locked):
            await waiting
        with pytest.raises(Locked):
            await view.mailboxes()
        with pytest.raises(Locked):
            await view.change([Flag(mailbox=INBOX, uids=ALL, add=frozenset({"\\Seen"}))])

    play(scene)


def test_the_files_of_the_index_are_for_their_owner_alone(play: Play, letter: Letter) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        await mx.mail([letter(1)])
        async with rig.account(laptop, "mailbox/index") as account:
            await settled(account)
            found = [rig.folder / "mailbox", *(rig.folder / "mailbox").rglob("*")]
            assert len(found) > 5
            assert not [path for path in found if path.stat().st_mode & 0o077]

    play(scene)
