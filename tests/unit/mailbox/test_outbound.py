"""What a person sends: sealed to a gateway at once or as soon as there is one, filed in Sent once, and its fate shown
the same on every client.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mesyx_core.api import Bytes, Message, Refused, Temporary
from mesyx_core.mailbox import names, resealing
from mesyx_core.mailbox.gateways import turns_away
from mesyx_core.record import content, outgoing
from mesyx_core.record.content import BlobRef
from mesyx_core.record.entry import Kind, Origin, decode_header
from mesyx_core.record.outgoing import Day, Fate, Intent, Receipt, Recipients, Request
from mesyx_core.record.payloads import CLIENTS, Target, decode_epoch
from mesyx_core.vault import age
from mesyx_core.vault.epoch import leaf
from mesyx_core.vault.seal import Context, open_

SENT = names.named("Sent")
ALL = ((1, 2**32 - 1),)
HOUR = 3600


def mail(number: int = 1, text: str = "hello", to: tuple[str, ...] = ("bob@example.com",), **fields: Any) -> Message:
    body = (
        f"Message-ID: <{number}@example.org>\r\nDate: Fri, 2 Jan 2026 03:04:05 +0000\r\nFrom: Alice <alice@example.org>\r\n"
        f"To: bob@example.com\r\nBcc: carol@example.com,\r\n dave@example.com\r\nSubject: Number {number}\r\n\r\n{text}\r\n"
    ).encode()
    values: dict[str, Any] = {
        "kind": "mail",
        "time": fields.pop("time", datetime.now(UTC)),
        "body": Bytes(body),
        "sender": "alice+tag@Example.org",
        "recipients": to,
        "envelope": {"require_tls": True, "ret": "HDRS", **{f"notify/{address}": "FAILURE" for address in to}},
        "direction": "out",
        **fields,
    }
    return Message(**values)


class Gateway:
    """A gateway by hand: publishes days, reads what it is asked, says what we want."""

    def __init__(self, rig: Any, name: str) -> None:
        self.rig = rig
        self.name = name
        self.keys: dict[bytes, age.Identity] = {}
        self.days: list[Day] = []
        self.said = int(rig.now()) - 1000

    async def begin(self) -> Gateway:
        self.node = await self.rig.node(self.name)
        return self

    @property
    def key(self) -> bytes:
        return bytes(self.rig.secrets[self.name].public)

    def day(self, since: int = -HOUR, until: int = HOUR) -> Day:
        identity = age.Identity.hybrid(os.urandom(32))
        now = int(self.rig.now())
        day = Day(outgoing.day_id(identity.recipient), identity.recipient, now + since, now + until)
        self.keys[day.id] = identity
        self.days.append(day)
        return day

    async def publish(self, network: str = "mail") -> None:
        self.said += 1
        await self.node.write(CLIENTS, [Recipients(self.said, tuple(self.days), (network,)).pack()])

    async def say(self, day: bytes, *values: Intent | Receipt) -> None:
        recipient = self.keys[day].recipient
        clients = [*self.rig.authority.effective.clients, recipient]
        await self.node.write(Target("day", day), [value.pack() for value in values], recipients=clients)

    async def requests(self) -> list[tuple[bytes, Request]]:
        """(day, request) of all that is sealed to this gateway, oldest first."""
        found = []
        for head in await self.rig.journal.heads(self.rig.store):
            origin = Origin(self.rig.store, head.node, head.incarnation)
            seeds: dict[int, tuple[bytes, bytes]] = {}
            for _, entry in await self.rig.journal.entries(origin, 0):
                header = decode_header(entry.header)
                if header.kind == Kind.EPOCH:
                    epoch = decode_epoch(entry.payload)
                    if epoch.target.kind == "day" and epoch.target.id in self.keys and head.node != self.key:
                        seeds[header.epoch] = epoch.target.id, age.decrypt(epoch.file, [self.keys[epoch.target.id]])
                elif header.kind == Kind.SEALED and header.epoch in seeds:
                    day, seed = seeds[header.epoch]
                    context = Context(*origin, header.kind, header.epoch, header.index, header.blobs)
                    data = open_(leaf(seed, header.index), context, header.s, entry.payload)
                    found.append((day, outgoing.decode_request(content.unpack(data).value)))
        return found

    async def sends(self) -> list[tuple[bytes, Request]]:
        return [(day, request) for day, request in await self.requests() if request.verb == "send"]


async def until(check: Any, seconds: float = 10) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            found = check()
            found = await found if asyncio.iscoroutine(found) else found
            if found:
                return found
            await asyncio.sleep(0.02)


async def state(account: Any, id: bytes) -> str:
    [found] = [one for one in await account.outbound.listing(0) if one.id == id]
    return str(found.state)


async def words(account: Any, id: bytes) -> list[tuple[str, str]]:
    [found] = [one for one in await account.outbound.listing(0) if one.id == id]
    return [(one.address, one.word) for one in found.addressees]


async def sent(view: Any) -> list[tuple[int, frozenset[str]]]:
    return [(row.uid, row.flags) async for rows in view.rows(SENT, ALL, frozenset({"flags"})) for row in rows]


async def whole(body: Any) -> bytes:
    return b"".join([chunk async for chunk in body.read()])


def text(message: Message) -> bytes:
    assert isinstance(message.body, Bytes)
    return message.body.data


def fate(number: int, address: str, word: Any, **fields: Any) -> Fate:
    return Fate(number, address, word, **fields)


def test_a_submission_is_sealed_to_the_day_that_ends_first_and_filed_in_sent_with_its_bcc(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        mx.day(until=48 * HOUR)
        first = mx.day()
        mx.day(since=-48 * HOUR, until=-HOUR)
        mx.day(since=HOUR, until=2 * HOUR)
        await mx.publish()
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            view = account.view("mutt")
            message = mail(to=("bob@example.com", "carol@example.com", "bob@example.com"))
            id = await view.submit(message)
            assert len(id) == 16
            [(day, request)] = await mx.sends()
            assert day == first.id
            assert request.id == id
            assert request.message is not None
            assert request.message.recipients == ("bob@example.com", "carol@example.com")
            assert request.message.sender == "alice+tag@Example.org"
            assert request.message.envelope["require_tls"] is True
            assert "login" not in request.message.envelope
            assert isinstance(request.body, bytes)
            assert b"bcc" not in request.body.lower()
            assert request.body == text(message).replace(b"Bcc: carol@example.com,\r\n dave@example.com\r\n", b"")
            [(uid, flags)] = await sent(view)
            assert flags == {"\\Seen"}
            async for [(_, body)] in view.content(SENT, ALL):
                assert await whole(body) == text(message)
            assert await state(account, id) == "asked"
            assert await view.append(SENT, mail(text="as the program files it")) == uid
            assert len(await sent(view)) == 1

    play(scene)


def test_a_large_body_has_a_blob_of_its_own_for_the_copy_and_for_the_request(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        mx.day()
        await mx.publish()
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            message = mail(text="long line\r\n" * 20_000)
            await account.view().submit(message)
            [(_, request)] = await mx.sends()
            assert isinstance(request.body, BlobRef)
            assert request.body.size == message.body.size - len(b"Bcc: carol@example.com,\r\n dave@example.com\r\n")
            async for [(_, body)] in account.view().content(SENT, ALL):
                assert await whole(body) == text(message)
                assert getattr(body, "ref", None) is None or body.ref.hash != request.body.hash

    play(scene)


def test_what_was_filed_before_it_was_submitted_is_in_sent_once(play):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            view = account.view()
            uid = await view.append(SENT, mail(text="as the program files it"))
            await view.submit(mail())
            assert [row for row, _ in await sent(view)] == [uid]
            assert len(await account.outbound.listing()) == 1

    play(scene)


def test_the_same_again_within_ten_minutes_is_the_same_and_anything_else_is_another(play):
    async def scene(rig):
        turned = [0.0]
        rig.now = lambda: time.time() + turned[0]
        async with rig.account(await rig.node("laptop")) as account:
            view = account.view("mutt")
            message = mail()
            one, two = await asyncio.gather(view.submit(message), view.submit(message))
            assert one == two
            assert await view.submit(mail(text="other")) != one
            assert await view.submit(mail(to=("carol@example.com",))) != one
            assert await account.view("phone").submit(message) != one
            assert len(await sent(view)) == 1
        async with rig.account(await rig.node("laptop"), index="index") as account:
            assert await account.view("mutt").submit(message) == one, "nor after a start"
            turned[0] = 601
            assert await account.view("mutt").submit(message) != one

    play(scene)


@pytest.mark.parametrize("size", [10, 100_000])
def test_the_same_again_is_the_same_though_it_came_in_at_another_second(play, size):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            view, message = account.view("mutt"), mail(text="x" * size)

            def handed_over(second: int) -> Message:
                trace = b"Received: by localhost with ESMTPSA;\r\n\tFri, 2 Jan 2026 03:04:%02d +0000\r\n" % second
                envelope = {**message.envelope, "trace": len(trace)}
                return replace(message, body=Bytes(trace + text(message)), envelope=envelope)

            one = await view.submit(handed_over(5))
            assert await view.submit(handed_over(9)) == one
        async with rig.account(await rig.node("laptop"), index="index") as account:
            assert await account.view("mutt").submit(handed_over(13)) == one, "nor after a start"

    play(scene)


def test_what_was_dropped_can_be_sent_again_at_once(play):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            message = mail()
            one = await account.view().submit(message)
            assert await account.orders.drop(one) == "dropped"
            assert await state(account, one) == "dropped"
            assert await account.view().submit(message) != one

    play(scene)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"sender": "bob@example.com"}, "may not send"),
        ({"body": Bytes(b"From: bob@example.com\r\n\r\n")}, "may not send"),
        ({"body": Bytes(b"From: alice@example.org, bob@example.com\r\n\r\n")}, "may not send"),
        ({"body": Bytes(b"From: bob@example.com\r\nFrom: alice@example.org\r\n\r\n")}, "one From"),
        ({"body": Bytes(b"Subject: x\r\n\r\n")}, "one From"),
        ({"body": Bytes(b"From: nobody\r\n\r\n")}, "may not send"),
        ({"body": Bytes(b"From: alice@example.org\r\n" + b"X: y\r\n" * 200_000 + b"\r\n")}, "1 MiB"),
        ({"to": ()}, "nobody"),
        ({"to": tuple(f"{n}@example.com" for n in range(1001))}, "recipients"),
    ],
)
def test_what_a_log_in_may_not_send_is_refused_and_leaves_nothing(play, fields, what):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            with pytest.raises(Refused, match=what):
                await account.view().submit(mail(**fields))
            assert await account.outbound.listing(0) == []
            assert await sent(account.view()) == []

    play(scene)


def test_identities_are_those_granted_or_some_of_them(play):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            assert account.view().identities == ["alice@example.org"]
            assert account.view("x", ["alice@example.org", "revoked@example.org"]).identities == ["alice@example.org"]
            assert account.view("x", []).identities == []
            with pytest.raises(Refused):
                await account.view("x", []).submit(mail())
            await account.view().submit(mail(sender=""))

    play(scene)


def test_a_line_is_for_a_gateway_on_its_network_and_filed_in_its_conversation(play):
    async def scene(rig):
        mx, other = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
        for gateway, network in ((mx, "mail"), (other, "irc")):
            gateway.day()
            await gateway.publish(network)
        async with rig.account(await rig.node("laptop")) as account:

            async def both() -> bool:
                return len(await account.outbound.gateways()) == 2

            await until(both)
            line = Message(
                kind="line",
                time=datetime.now(UTC),
                network="irc",
                conversation="#mesyx",
                sender="alice",
                recipients=("#mesyx",),
                body=Bytes(b"hello"),
            )
            await account.view().submit(line)
            assert await mx.sends() == []
            [(_, request)] = await other.sends()
            assert request.message is not None
            assert (request.message.kind, request.message.conversation, request.body) == ("line", "#mesyx", b"hello")
            assert await sent(account.view()) == []
            [box] = await account.view().mailboxes(["#mesyx"])
            assert box.exists == 1

    play(scene)


def test_without_a_gateway_it_waits_and_goes_as_soon_as_one_publishes(play):
    async def scene(rig):
        async with rig.account(await rig.node("laptop")) as account:
            id = await account.view().submit(mail())
            assert await state(account, id) == "waits"
            mx = await Gateway(rig, "mx").begin()
            mx.day()
            await mx.publish()
            await until(mx.sends)
            await until(lambda: _is(account, id, "asked"))
            await asyncio.sleep(0.5)
            assert len(await mx.sends()) == 1
            assert len(await sent(account.view())) == 1

    play(scene)


def test_the_gateway_that_is_granted_the_senders_address_is_asked_first(play):
    async def scene(rig):
        mx, other = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
        for gateway in (mx, other):
            gateway.day()
            await gateway.publish()
        async with rig.account(await rig.node("laptop")) as account:

            async def both() -> bool:
                return len(await account.outbound.gateways()) == 2

            await until(both)
            await account.view().submit(mail())
            assert (len(await mx.sends()), len(await other.sends())) == (1, 0)
            await account.view().submit(mail(2), by=other.key.hex())
            assert (len(await mx.sends()), len(await other.sends())) == (1, 1)
            with pytest.raises(Refused):
                await account.view().submit(mail(3), by=rig.secrets["phone"].public.hex())

    play(scene)


def test_two_clients_see_the_same_fates_in_whatever_order_the_logs_come(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        day = mx.day()
        await mx.publish()
        to = ("bob@example.com", "carol@example.com", "dave@example.com")
        async with rig.account(await rig.node("laptop")) as laptop:
            await until(laptop.outbound.gateways)
            id = await laptop.view().submit(mail(to=to))
            now = int(rig.now())
            await mx.say(day.id, Intent(id, 1, (0, 1, 2), now))

            async def begun() -> bool:
                [found] = await laptop.outbound.listing()
                return all(one.maybe for one in found.addressees)

            await until(begun)
            later = fate(1, to[1], "later", reason="450 4.2.1 busy", attempts=1, next=now + 300)
            never = fate(2, to[2], "never", reason="550 5.1.1 unknown", attempts=1)
            await mx.say(
                day.id, Receipt(id, now, False, (fate(0, to[0], "sent", remote="mx.example.com"), later, never))
            )
            await until(lambda: _is(laptop, id, "later"))
            assert await words(laptop, id) == [(to[0], "sent"), (to[1], "later"), (to[2], "never")]
            async with rig.account(await rig.node("phone"), index="phone") as phone:
                await until(lambda: _is(phone, id, "later"))
                assert await words(phone, id) == await words(laptop, id)
                again = await Gateway(rig, "mx").begin()
                again.keys = mx.keys
                await again.say(day.id, Receipt(id, now + 300, True, (fate(1, to[1], "sent", attempts=2),)))
                for account in (laptop, phone):
                    await until(lambda account=account: _is(account, id, "failed"))
                    assert await account.outbound.listing() == []
                    [found] = await account.outbound.listing(now)
                    assert [one.word for one in found.addressees] == ["sent", "sent", "never"]

    play(scene)


async def _is(account: Any, id: bytes, wanted: str) -> bool:
    found = [one.state for one in await account.outbound.listing(0) if one.id == id]
    return found == [wanted]


def test_what_another_node_says_of_it_counts_for_nothing(play):
    async def scene(rig):
        mx, liar = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
        mx.day()
        await mx.publish()
        day = liar.day()
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            id = await account.view().submit(mail())
            await liar.say(day.id, Receipt(id, int(rig.now()), True, (fate(0, "bob@example.com", "sent"),)))
            phone = await rig.node("phone")
            done = await phone.write(CLIENTS, [Receipt(id, int(rig.now()), True, ()).pack()])
            await account.feed.reached(done)
            assert await state(account, id) == "asked"
            assert (await account.status()).violations == 1

    play(scene)


def test_again_is_answered_with_another_day_for_those_who_are_left(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        day, other = mx.day(), mx.day(until=2 * HOUR)
        await mx.publish()
        to = ("bob@example.com", "carol@example.com")
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            id = await account.view().submit(mail(to=to))
            now = int(rig.now())
            await mx.say(day.id, Receipt(id, now, True, (fate(0, to[0], "sent", attempts=1), fate(1, to[1], "again"))))

            async def twice() -> bool:
                return len(await mx.sends()) == 2

            await until(twice)
            at, request = (await mx.sends())[1]
            assert at == other.id
            assert (request.id, request.numbered) == (id, {1: to[1]})
            assert request.message is not None
            assert f"notify/{to[0]}" not in request.message.envelope
            await until(lambda: _is(account, id, "asked"))
            await mx.say(other.id, Receipt(id, now, True, (fate(1, to[1], "sent", attempts=1),)))
            await until(lambda: _is(account, id, "sent"))

    play(scene)


def test_a_key_that_the_gateway_threw_away_is_replaced_once_all_that_it_said_is_known(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        day = mx.day()
        await mx.publish()
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            kept, thrown = await account.view().submit(mail(1)), await account.view().submit(mail(2))
            await mx.say(day.id, Receipt(kept, int(rig.now()), True, (fate(0, "bob@example.com", "sent", attempts=1),)))
            mx.days.clear()
            other = mx.day()
            await mx.publish()

            async def three() -> bool:
                return len(await mx.sends()) == 3

            await until(three)
            await asyncio.sleep(0.5)
            assert [(day, request.id) for day, request in (await mx.sends())[2:]] == [(other.id, thrown)]

    play(scene)


def test_a_gateway_that_was_silent_over_its_day_is_asked_again_and_no_other_is(play):
    async def scene(rig):
        turned = [0.0]
        rig.now = lambda: time.time() + turned[0]
        mx, other = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
        day = mx.day()
        await mx.publish()
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            id = await account.view().submit(mail())
            assert [at for at, _ in await mx.sends()] == [day.id]
            turned[0] = 2 * HOUR + 10
            other.day()
            await other.publish()
            await asyncio.sleep(0.5)
            assert (len(await mx.sends()), len(await other.sends())) == (1, 0)
            second = mx.day()
            await mx.publish()

            async def twice() -> bool:
                return [at for at, _ in await mx.sends()] == [day.id, second.id]

            await until(twice)
            assert await other.sends() == []
            assert (await mx.sends())[1][1].id == id

    play(scene)


def test_another_client_leaves_an_hour_to_the_one_that_submitted(play):
    async def scene(rig):
        turned = [0.0]
        rig.now = lambda: time.time() + turned[0]
        async with rig.account(await rig.node("laptop")) as account:
            id = await account.view().submit(mail())
        mx = await Gateway(rig, "mx").begin()
        mx.day(until=24 * HOUR)
        await mx.publish()
        async with rig.account(await rig.node("phone"), index="phone") as phone:
            await until(lambda: _is(phone, id, "waits"))
            await asyncio.sleep(0.5)
            assert await mx.sends() == []
            turned[0] = 2 * HOUR
            phone.resealing.wake()
            await until(mx.sends)

    play(scene)


def test_moving_asks_the_other_gateway_for_what_is_not_known_to_be_sent_and_tells_the_old_one(play):
    async def scene(rig):
        mx, other = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
        day = mx.day()
        for gateway in (mx, other):
            await gateway.publish()
        to = ("bob@example.com", "carol@example.com", "dave@example.com")
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            id = await account.view().submit(mail(to=to))
            now = int(rig.now())
            await mx.say(day.id, Intent(id, 1, (0, 1), now))
            await mx.say(day.id, Receipt(id, now, False, (fate(0, to[0], "sent", attempts=1),)))
            await until(lambda: _is(account, id, "asked"))

            async def one_sent() -> bool:
                return (to[0], "sent") in await words(account, id)

            await until(one_sent)
            with pytest.raises(Refused):
                await account.orders.move(rig.secrets["phone"].public, ids=[id])
            [moved] = await account.orders.move(other.key, source=mx.key)
            assert (moved.submission.id, moved.recipients, moved.maybe, moved.why) == (id, 2, (to[1],), "")
            assert await state(account, id) == "waits", "that gateway has published no day yet"
            assert [r.verb for _, r in await mx.requests()] == ["send", "drop"]
            fresh = other.day()
            await other.publish()
            await until(other.sends)
            [(at, request)] = await other.sends()
            assert (at, request.numbered) == (fresh.id, {1: to[1], 2: to[2]})
            dropped = tuple(fate(n, to[n], "never", reason=outgoing.DROPPED) for n in (1, 2))
            await mx.say(day.id, Receipt(id, now + 1, True, dropped))
            await other.say(fresh.id, Receipt(id, now, True, (fate(1, to[1], "sent"), fate(2, to[2], "sent"))))
            await until(lambda: _is(account, id, "sent"))
            assert await account.orders.move(other.key, source=mx.key) == []

    play(scene)


def test_nothing_is_handed_to_a_gateway_that_would_turn_its_sender_away(play):
    async def scene(rig):
        rig.grant(mx="alice@example.org shop@example.org", mx2="alice@example.org")
        mx, other = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
        other.day()
        await other.publish()
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            as_shop = mail(body=Bytes(b"From: shop@example.org\r\nSubject: order\r\n\r\nshipped\r\n"))
            id = await account.view().submit(as_shop)
            assert await state(account, id) == "waits"
            assert await other.requests() == []
            [kept] = await account.orders.move(other.key, ids=[id])
            assert (kept.recipients, "not granted shop@example.org" in kept.why) == (0, True)
            mx.day()
            await mx.publish()
            await until(mx.sends)
            assert await other.requests() == []
            [kept] = await account.orders.move(other.key, source=mx.key)
            assert "not granted shop@example.org" in kept.why
            assert await state(account, id) == "asked"

    play(scene)


def test_what_goes_back_to_a_gateway_that_had_it_is_a_submission_of_its_own(play):
    async def scene(rig):
        mx, other = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
        for gateway in (mx, other):
            gateway.day()
            await gateway.publish()
        async with rig.account(await rig.node("laptop")) as account:

            async def both() -> bool:
                return len(await account.outbound.gateways()) == 2

            await until(both)
            id = await account.view().submit(mail())
            await account.orders.move(other.key, ids=[id])
            [moved] = await account.orders.move(mx.key, ids=[id])
            assert moved.why == ""
            assert await state(account, id) == "dropping"
            [fresh] = [one for one in await account.outbound.listing() if one.id != id]
            assert (fresh.gateway, fresh.state) == (mx.key, "asked")
            assert [r.verb for _, r in await other.requests()] == ["send", "drop"]
            assert [r.id for _, r in await mx.sends()] == [id, fresh.id]
            assert len(await sent(account.view())) == 1

    play(scene)


def test_retrying_asks_the_gateway_and_what_had_failed_is_submitted_anew(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        day = mx.day()
        await mx.publish()
        to = ("bob@example.com", "carol@example.com")
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            id = await account.view().submit(mail(to=to))
            assert await account.orders.retry(id) == (id, "asked")
            assert [r.verb for _, r in await mx.requests()] == ["send", "retry"]
            fates = (fate(0, to[0], "sent", attempts=1), fate(1, to[1], "never", reason="552 5.2.2", attempts=1))
            await mx.say(day.id, Receipt(id, int(rig.now()), True, fates))
            await until(lambda: _is(account, id, "failed"))
            with pytest.raises(Refused):
                await account.orders.drop(id)
            fresh, what = await account.orders.retry(id)
            assert (fresh != id, what) == (True, "submitted anew")
            assert (await mx.sends())[-1][1].numbered == {0: to[1]}
            await mx.say(day.id, Receipt(fresh, int(rig.now()), True, (fate(0, to[1], "sent", attempts=1),)))
            await until(lambda: _is(account, fresh, "sent"))
            with pytest.raises(Refused):
                await account.orders.retry(fresh)
            with pytest.raises(Refused):
                await account.orders.retry(b"?" * 16)
            assert len(await sent(account.view())) == 1

    play(scene)


def test_dropping_is_asked_of_the_gateway_that_has_it(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        day = mx.day()
        await mx.publish()
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            id = await account.view().submit(mail())
            assert await account.orders.drop(id) == "asked"
            assert await state(account, id) == "dropping"
            receipt = Receipt(id, int(rig.now()), True, (fate(0, "bob@example.com", "never", reason=outgoing.DROPPED),))
            await mx.say(day.id, receipt)
            await until(lambda: _is(account, id, "dropped"))

    play(scene)


def test_a_submission_past_its_time_waits_for_its_person(play):
    async def scene(rig):
        turned = [0.0]
        rig.now = lambda: time.time() + turned[0]
        async with rig.account(await rig.node("laptop")) as account:
            id = await account.view().submit(mail())
            turned[0] = 6 * 24 * HOUR
            mx = await Gateway(rig, "mx").begin()
            mx.day()
            await mx.publish()
            await until(account.outbound.gateways)
            await asyncio.sleep(0.5)
            assert await mx.sends() == []
            assert await account.orders.retry(id) == (id, "sealed")
            assert len(await mx.sends()) == 1

    play(scene)


def test_nothing_is_sealed_again_before_the_others_have_told_what_they_know(play, monkeypatch):
    monkeypatch.setattr(resealing, "KNOWN", 0.2)

    async def scene(rig):
        settled = [False]
        rig.settled = lambda: settled[0]
        async with rig.account(await rig.node("laptop")) as account:
            id = await account.view().submit(mail())
            mx, other = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
            mx.day()
            await mx.publish()
            await until(account.outbound.gateways)
            await asyncio.sleep(0.5)
            assert await mx.sends() == []
            for word in (account.orders.retry(id), account.orders.move(other.key, ids=[id])):
                with pytest.raises(Temporary):
                    await word
            settled[0] = True
            account.resealing.wake()
            await until(mx.sends)

    play(scene)


def test_an_index_made_anew_asks_for_nothing_twice(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        writer = await rig.node("laptop")
        async with rig.account(writer) as account:
            ids = [await account.view().submit(mail(n)) for n in range(20)]
            day = mx.day()
            await mx.publish()

            async def everything() -> bool:
                return len(await mx.sends()) == 20

            await until(everything)
            for id in ids[:10]:
                await mx.say(day.id, Receipt(id, int(rig.now()), True, (fate(0, "bob@example.com", "sent"),)))
            mx.days.clear()
            await asyncio.sleep(0.2)
        for round in range(3):
            async with rig.account(await rig.node("laptop"), index=f"fresh{round}") as account:
                await until(lambda account=account: _is(account, ids[-1], "asked"))
                await asyncio.sleep(0.3)
                assert await everything()

    play(scene)


def test_a_rebuilt_index_knows_the_same_queue(play):
    async def scene(rig):
        mx = await Gateway(rig, "mx").begin()
        day = mx.day()
        await mx.publish()
        writer = await rig.node("laptop")
        async with rig.account(writer) as account:
            await until(account.outbound.gateways)
            ids = [await account.view().submit(mail(n)) for n in range(3)]
            await mx.say(day.id, Receipt(ids[0], int(rig.now()), True, (fate(0, "bob@example.com", "sent"),)))
            await until(lambda: _is(account, ids[0], "sent"))
            before = await account.outbound.listing(0)
        async with rig.account(writer, index="fresh") as account:
            await until(lambda: _is(account, ids[2], "asked"))
            await until(lambda: _is(account, ids[0], "sent"))
            found = await account.outbound.listing(0)
            assert [one._replace(copy=0) for one in found] == [one._replace(copy=0) for one in before]

    play(scene)


def test_a_receipt_names_no_recipients_beside_those_of_the_sender_s_copy(play):
    async def scene(rig):
        mx, other = await Gateway(rig, "mx").begin(), await Gateway(rig, "mx2").begin()
        day = mx.day()
        await mx.publish()
        async with rig.account(await rig.node("laptop")) as account:
            await until(account.outbound.gateways)
            view = account.view()
            id = await view.submit(mail())
            now = int(rig.now())
            stranger = [fate(7, "eve@example.net", "later"), fate(0, "eve@example.net", "later")]
            await mx.say(day.id, Receipt(id, now, False, (*stranger[:1], fate(0, "eve@example.net", "again"))))
            other.day()
            await other.publish()
            # What is sealed again goes to whom the sender named, and to nobody else.
            [(_, request)] = await until(other.sends)
            assert request.numbered == {0: "bob@example.com"}

            async def asked() -> bool:
                return await words(account, id) == [("bob@example.com", "asked")]

            await until(asked)
            # The same when the receipt was there before the copy.
            before = os.urandom(16)
            await mx.say(day.id, Receipt(before, now, False, tuple(stranger)))
            copy = mail(2, envelope={"submission": before, "login": ""}, mailbox="Sent")
            await account.writer.post([copy, outgoing.Submission(before, "send", mx.key, day.id, now + HOUR, now)])
            [found] = await until(lambda: account.outbound.find(before.hex()))
            assert [(one.number, one.address) for one in found.addressees] == [(0, "bob@example.com")]

    play(scene)


@pytest.mark.parametrize(
    ("sender", "grants", "away"),
    [
        ("alice@example.org", ["alice@example.org"], False),
        ("alice+lists@example.org", ["alice@example.org"], False),
        ("alice@example.org", ["bob@example.org"], True),
        ("alice@example.org", ["alice@example.net"], False),
        ("alice@example.org", [], False),
        ("alice", ["alice@example.org"], False),
    ],
)
def test_a_gateway_that_serves_the_domain_and_has_not_granted_the_sender_is_passed_over(
    sender: str, grants: list[str], away: bool
) -> None:
    assert turns_away(sender, grants) is away
