"""What people's programs may rely on: the account view over real logs."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from mesyx_core.api import (
    Bytes,
    Create,
    Delete,
    File,
    Flag,
    Locked,
    Message,
    Query,
    Refused,
    Remove,
    Rename,
    Subscribe,
)  # fmt: skip
from mesyx_core.mailbox import names

INBOX = names.named("INBOX")
ALL = ((1, 2**32 - 1),)


async def rows(view: Any, mailbox: bytes = INBOX, *fields: str) -> list[Any]:
    return [row async for batch in view.rows(mailbox, ALL, frozenset(fields or ("flags",))) for row in batch]


async def texts(view: Any, mailbox: bytes = INBOX) -> dict[int, bytes]:
    found = {}
    async for batch in view.content(mailbox, ALL):
        for uid, body in batch:
            found[uid] = b"".join([chunk async for chunk in body.read()])
    return found


def test_what_a_gateway_took_in_appears_once_and_byte_for_byte(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        letters = [letter(n) for n in range(300)]
        large = letter(999, "x" * 200_000)
        dots = await mx.mail([*letters, large])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            view = account.view()
            found = await rows(view, INBOX, "flags", "time", "size", "envelope", "structure")
            assert [row.uid for row in found] == list(range(1, 302))
            assert all(row.envelope and row.structure and row.size for row in found)
            assert len({row.id for row in found}) == 301
            bodies = await texts(view)
            assert sorted(bodies.values()) == sorted(m.body.data for m in [*letters, large])
            inbox = (await view.mailboxes(["inbox"]))[0]
            assert (inbox.exists, inbox.unseen, inbox.uidnext) == (301, 301, 302)
            assert (await view.uids(INBOX))[0] == list(range(1, 302))

    play(scene)


def test_every_store_has_its_mailboxes_and_they_are_subscribed(play):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            found = await account.view().mailboxes()
            assert [box.name for box in found] == [
                "INBOX", "Archive", "Drafts", "Held", "Junk", "Rejected", "Sent", "Trash",
            ]  # fmt: skip
            assert {box.use for box in found} == {"", "Archive", "Drafts", "Junk", "Sent", "Trash"}
            assert all(box.subscribed for box in found)

    play(scene)


def test_flags_moves_and_removals_are_done_when_change_returns(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(n) for n in range(5)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            view = account.view()
            done = await view.change([Flag(mailbox=INBOX, uids=((1, 3),), add=frozenset(("\\seen", "$Work")))])
            found = await rows(view)
            assert [row.flags for row in found] == [{"\\Seen", "$Work"}] * 3 + [frozenset()] * 2
            assert [row.modseq == done.modseq for row in found] == [True] * 3 + [False] * 2
            inbox = (await view.mailboxes(["INBOX"]))[0]
            assert (inbox.unseen, inbox.keywords, inbox.modseq) == (2, ["$Work"], done.modseq)
            done = await view.change(
                [Flag(mailbox=INBOX, uids=((1, 5),), remove=frozenset(("\\Seen",)))], done.modseq - 1
            )
            assert done.unchanged == [1, 2, 3]
            archive = names.named("Archive")
            done = await view.change([File(mailbox=INBOX, uids=((2, 3),), to=archive, move=True)])
            assert list(done.filed) == [(2, 1), (3, 2)]
            assert [row.uid for row in await rows(view)] == [1, 4, 5]
            assert [row.flags for row in await rows(view, archive)] == [{"\\Seen", "$Work"}] * 2
            await view.change([Remove(mailbox=INBOX, uids=((4, 5),))])
            await view.change([File(mailbox=archive, uids=((1, 1),), to=INBOX)])
            assert [row.uid for row in await rows(view)] == [1, 6]
            assert [row.uid for row in await rows(view, archive)] == [1, 2]

    play(scene)


def test_a_copy_does_not_carry_the_mark_for_deletion_along(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(1)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            view, trash = account.view(), names.named("Trash")
            await view.change([File(mailbox=INBOX, uids=ALL, to=trash)])
            await view.change([Flag(mailbox=INBOX, uids=ALL, add=frozenset(("\\Deleted", "\\Seen")))])
            assert (await rows(view))[0].flags == {"\\Deleted", "\\Seen"}
            assert (await rows(view, trash))[0].flags == {"\\Seen"}
            await view.change([Remove(mailbox=INBOX, uids=ALL)])
            await view.change([File(mailbox=trash, uids=ALL, to=INBOX, move=True)])
            assert [(row.uid, row.flags) for row in await rows(view)] == [(2, {"\\Seen"})]

    play(scene)


def test_mailboxes_are_made_renamed_with_their_children_and_deleted(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(1)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            view = account.view()
            await view.change([Create(name="a"), Create(name="a/b"), Subscribe(name="a/b")])
            made = {box.name: box for box in await view.mailboxes()}
            await view.change([File(mailbox=INBOX, uids=ALL, to=made["a/b"].id)])
            await view.change([Rename(mailbox=made["a"].id, name="z")])
            found = {box.name: box for box in await view.mailboxes()}
            assert found["z"].id == made["a"].id
            assert (found["z/b"].id, found["z/b"].exists) == (made["a/b"].id, 1)
            assert "a/b" in await view.subscriptions()
            for bad in (
                Create(name="z"),
                Create(name="inbox"),
                Create(name=""),
                Delete(mailbox=INBOX),
                Delete(mailbox=b"x" * 16),
            ):
                with pytest.raises(Refused):
                    await view.change([bad])
            await view.change([Delete(mailbox=found["z/b"].id)])
            assert "z/b" not in {box.name for box in await view.mailboxes()}
            await view.change([Create(name="z/b"), Subscribe(name="Junk", on=False)])
            again = (await view.mailboxes(["z/b"]))[0]
            assert again.exists == 0
            assert again.uidvalidity > found["z/b"].uidvalidity
            assert "Junk" not in await view.subscriptions()
            assert len(await rows(view)) == 1

    play(scene)


def test_renaming_inbox_moves_what_is_in_it(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(1), letter(2)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            view = account.view()
            await view.change([Rename(mailbox=INBOX, name="Old")])
            assert (await view.mailboxes(["Old"]))[0].exists == 2
            assert (await view.mailboxes(["INBOX"]))[0].exists == 0

    play(scene)


def test_an_appended_message_is_where_it_was_put_with_its_flags_and_date(play, letter):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            view = account.view()
            await view.change([Create(name="Notes")])
            notes = (await view.mailboxes(["Notes"]))[0].id
            uid = await view.append(notes, letter(1, flags=frozenset(("\\Draft", "\\seen"))))
            (row,) = await rows(view, notes, "flags", "time")
            assert (row.uid, row.flags, row.time) == (uid, {"\\Draft", "\\Seen"}, letter(1).time)
            assert (await texts(view, notes))[uid] == letter(1).body.data
            assert await rows(view) == []
            with pytest.raises(Refused):
                await view.append(b"?" * 16, letter(2))

    play(scene)


def test_a_message_id_is_filed_in_sent_once(play, letter):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            view, sent = account.view(), names.named("Sent")
            first = await view.append(sent, letter(7, "as submitted"))
            assert await view.append(sent, letter(7, "as the program appends it")) == first
            assert await view.append(sent, letter(8)) == first + 1

    play(scene)


def test_the_same_mail_from_two_gateways_is_one_row_and_other_mail_is_not(play, letter):
    async def scene(rig):
        mx, other, laptop = await rig.node("mx"), await rig.node("mx"), await rig.node("laptop")
        plain = letter(1)
        traced = {
            name: Message(
                kind="mail", time=plain.time, body=Bytes(head + plain.body.data), envelope={"trace": len(head)}
            )
            for name, head in (("mx", b"Received: by mx\r\n"), ("other", b"Received: by another mx\r\n"))
        }
        dots = await mx.mail([traced["mx"]]) + await other.mail([traced["other"], letter(1, "forged"), letter(2)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            assert len(await rows(account.view())) == 3
            await account.view().change([Flag(mailbox=INBOX, uids=ALL, add=frozenset(("\\Seen",)))])
            await account.view().change([Remove(mailbox=INBOX, uids=ALL)])
            assert (await account.view().mailboxes(["INBOX"]))[0].exists == 0
            await mx.mail([traced["mx"]])
            await asyncio.sleep(0.3)
            assert (await account.view().mailboxes(["INBOX"]))[0].exists == 1, "deleting hides only what was seen"

    play(scene)


def test_searches_find_exactly_what_they_say(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        bodies = ["the quick brown fox", "Über den Wolken", "ab", 'say "abc" twice', "abXabc"]
        dots = await mx.mail([letter(n, text) for n, text in enumerate(bodies, 1)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            view = account.view()
            await view.change([Flag(mailbox=INBOX, uids=((2, 2),), add=frozenset(("\\Flagged",)))])

            async def search(op: str, value: object = None, name: str = "", *terms: Query) -> list[int]:
                return list(await view.search(INBOX, Query(op, value, name, terms)))

            assert await search("body", "QUICK brown") == [1]
            assert await search("body", "quickbrown") == []
            assert await search("body", "über") == [2]
            assert await search("body", "ab") == [3, 4, 5]
            assert await search("body", "abc") == [4, 5]
            assert await search("body", '"abc"') == [4]
            assert await search("body", "alice") == []
            assert await search("text", "ALICE@example") == [1, 2, 3, 4, 5]
            assert await search("subject", "number 3") == [3]
            assert await search("from", "bob") == [1, 2, 3, 4, 5]
            assert await search("cc", "bob") == []
            assert await search("header", "<4@", "message-id") == [4]
            assert await search("header", "", "Subject") == [1, 2, 3, 4, 5]
            assert await search("header", "", "X-None") == []
            assert await search("flag", "\\flagged") == [2]
            assert await search("unflag", "\\Flagged") == [1, 3, 4, 5]
            assert await search("on", date(2026, 1, 2)) == [1, 2, 3, 4, 5]
            assert await search("before", date(2026, 1, 2)) == []
            assert await search("senton", date(2026, 1, 2)) == [1, 2, 3, 4, 5]
            assert await search("sentsince", date(2026, 1, 3)) == []
            assert await search("larger", 10_000) == []
            assert await search("uid", ((2, 3), (5, 2**32 - 1))) == [2, 3, 5]
            assert await search("all") == [1, 2, 3, 4, 5]
            assert await search("or", None, "", Query("uid", ((1, 1),)), Query("body", "wolken")) == [1, 2]
            assert await search("not", None, "", Query("body", "ab")) == [1, 2]
            assert await search("and", None, "", Query("body", "ab"), Query("uid", ((4, 9),))) == [4, 5]
            with pytest.raises(Refused):
                await search("nonsense")

    play(scene)


def test_a_commit_wakes_those_who_wait_for_changes(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        async with rig.account(laptop) as account:
            await account.feed.reached(await mx.mail([letter(1)]))
            view = account.view()
            _, modseq = await view.uids(INBOX)
            news = view.changes(modseq)
            waiting = asyncio.create_task(anext(news))
            await asyncio.sleep(0.05)
            await mx.mail([letter(2)])
            (changed,) = await waiting
            assert (changed.mailbox, changed.added, changed.exists) == (INBOX, [2], 2)
            await view.change([Flag(mailbox=INBOX, uids=((1, 1),), add=frozenset(("\\Seen",)))])
            (changed,) = await anext(news)
            assert changed.flags == {1: {"\\Seen"}}
            await view.change([Remove(mailbox=INBOX, uids=((1, 1),))])
            (changed,) = await anext(news)
            assert (changed.removed, changed.exists) == ([1], 1)
            await news.aclose()
            (changed,) = await anext(view.changes(1))
            assert (changed.added, changed.removed) == ([2], [1]), "from the index, for one who was away"

    play(scene)


def test_nothing_can_be_sent_before_a_gateway_can_send(play, letter):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            view = account.view()
            with pytest.raises(Refused):
                await view.submit(letter(1))
            with pytest.raises(Refused):
                await anext(view.ask("irc", "WHOIS", "bob"))

    play(scene)


def test_without_the_persons_identity_the_account_is_locked(play, rig):
    async def scene(rig):
        laptop = await rig.node("laptop")
        async with rig.account(laptop):
            pass
        with pytest.raises(Locked):
            async with rig.account(laptop, identities=[rig.short]):
                pass
        with pytest.raises(Locked):
            async with rig.account(laptop, identities=[]):
                pass

    play(scene)


def test_mail_of_a_locked_keyset_waits_and_opens_when_its_key_comes(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(n) for n in range(3)])
        async with rig.account(laptop, identities=[rig.person]) as account:
            await account.feed.reached(dots)
            assert (await account.status()).locked == 3
            assert await rows(account.view()) == []
            assert (await account.trace(*dots[0][:3])).why == "locked"
            account.unlock(rig.identities)
            async for changed in account.view().changes(1):
                if sum(len(one.added) for one in changed) == 3:
                    break
            assert (await account.status()).locked == 0
        async with rig.account(laptop, identities=[rig.person]) as account:
            found = await rows(account.view(), INBOX, "flags", "envelope")
            assert [(row.locked, row.envelope, row.flags) for row in found] == [(True, None, frozenset())] * 3
            assert await texts(account.view()) == {}
            assert list(await account.view().search(INBOX, Query("body", "hello"))) == []

    play(scene)


def test_bodies_kept_in_memory_are_forgotten_with_the_keys(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(n) for n in range(3)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            view = account.view()
            assert await texts(view) == await texts(view) != {}
            account.unlock(())
            assert await texts(view) == {}

    play(scene)


def test_a_batch_left_in_the_middle_leaves_no_task_behind(play, letter):
    async def scene(rig):
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(n) for n in range(200)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            before = asyncio.all_tasks()
            batches = account.view().content(INBOX, ALL)
            assert len(await anext(batches)) == 64
            await batches.aclose()
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == before

    play(scene)
