"""A delivery is a transaction: sealed and durable, or nothing; judged before it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from mesyx_core.api import Filter, Message, Receipt, Refused, Temporary, Verdict
from mesyx_core.pipeline import Intake
from mesyx_core.pipeline.body import INLINE
from mesyx_core.record.content import BlobRef
from mesyx_core.record.entry import Kind
from mesyx_core.vault.stream import SEALED_CHUNK, chunk_count, open_chunk
from tests.unit.pipeline.kit import Disk

MAIL = b"From: b@example.com\r\nSubject: x\r\n\r\nhello\r\n"


class Says:
    """A filter with a fixed word for each recipient."""

    def __init__(self, **words: Verdict) -> None:
        self.words = words
        self.read = b""

    async def judge(self, message: Message, stage: str, script: object = None) -> Verdict:
        self.read = b"".join([chunk async for chunk in message.body.read()])
        return self.words.get(message.recipients[0].partition("@")[0], Verdict())


class Raises:
    async def judge(self, message: Message, stage: str, script: object = None) -> Verdict:
        raise ValueError("secret text of the message")


class Rooms:
    """Notes what is set aside."""

    def __init__(self, check: Callable[[bytes, int], None] | None = None) -> None:
        self.check = check
        self.held = 0
        self.most = 0

    async def take(self, store: bytes, size: int, *, first: bool = False) -> None:
        if self.check is not None:
            self.check(store, size)
        assert not size or first == (self.held == 0)
        self.held += size
        self.most = max(self.most, self.held)

    def give_back(self, store: bytes, size: int) -> None:
        self.held -= size


def intake(
    disk: Disk, filters: Mapping[str, Any] | None = None, room: Callable[[bytes, int], None] | None = None
) -> Intake:
    sealer = disk.sealer()

    checked: Mapping[str, Filter] = filters or {}
    return Intake(
        route=lambda address: sealer if address.endswith("@example.org") else None,
        filters=checked,
        blobs=disk,
        room=Rooms(room),
        commit=disk.commit,
        limit=1 << 20,
    )


def deliver(disk: Disk, way: Intake, *recipients: str, body: bytes = MAIL, trace: bytes = b"") -> Receipt:
    async def main() -> Receipt:
        async with way.deliver(Message(kind="mail", time=disk.now, sender="b@example.com")) as delivery:
            for address in recipients:
                await delivery.recipient(address)
            if trace:
                await delivery.trace(trace)
            for at in range(0, len(body), 10_000):
                await delivery.write(body[at : at + 10_000])
            return await delivery.commit()

    return anyio.run(main)


def test_a_message_is_sealed_with_its_body_and_recipients() -> None:
    disk = Disk()
    receipt = deliver(disk, intake(disk), "alice@example.org", "alice+tag@example.org", trace=b"Received: x\r\n")
    assert receipt.accepted
    assert receipt.trace == "010101010101-2"
    [found] = disk.opened()
    assert found.message is not None
    assert found.body == b"Received: x\r\n" + MAIL
    assert found.message.recipients == ("alice@example.org", "alice+tag@example.org")
    assert found.message.envelope["trace"] == 13


def test_an_unknown_recipient_is_rejected_at_once() -> None:
    disk = Disk()

    async def main() -> Verdict:
        async with intake(disk).deliver(Message(kind="mail", time=disk.now)) as delivery:
            return await delivery.recipient("x@elsewhere.example")

    assert anyio.run(main).word == "reject"
    assert disk.entries == []


def test_a_delivery_left_without_commit_keeps_nothing() -> None:
    disk = Disk()

    async def main() -> None:
        async with intake(disk).deliver(Message(kind="mail", time=disk.now)) as delivery:
            await delivery.recipient("alice@example.org")
            await delivery.write(bytes(100_000))

    anyio.run(main)
    assert disk.entries == []
    assert disk.made
    assert all(blob.closed for blob in disk.made)


def test_a_large_body_streams_into_a_sealed_blob() -> None:
    disk = Disk()
    body = bytes(range(256)) * 2000
    deliver(disk, intake(disk), "alice@example.org", body=body)
    [found] = disk.opened()
    assert isinstance(found.body, BlobRef)
    [blob] = disk.made
    last = chunk_count(blob.size) - 1
    plain = b"".join(
        open_chunk(found.body.key, n, n == last, bytes(blob.data[n * SEALED_CHUNK : (n + 1) * SEALED_CHUNK]))
        for n in range(last + 1)
    )
    assert plain[: found.body.size] == body
    assert body[:64] not in bytes(blob.data)


def test_a_body_just_small_enough_stays_in_the_entry() -> None:
    disk = Disk()
    deliver(disk, intake(disk), "alice@example.org", body=bytes(INLINE))
    assert disk.made == []
    assert disk.opened()[0].body == bytes(INLINE)


def test_a_failed_commit_is_temporary_and_keeps_nothing() -> None:
    disk = Disk()
    way = intake(disk)
    deliver(disk, way, "alice@example.org")
    disk.fail = 1
    with pytest.raises(Temporary):
        deliver(disk, way, "alice@example.org")
    assert len(disk.of(Kind.SEALED)) == 1
    deliver(disk, way, "alice@example.org")
    assert [draft.index for draft in disk.of(Kind.SEALED)] == [0, 2]
    assert len(disk.opened()) == 2


def test_a_body_beyond_the_limit_is_refused() -> None:
    disk = Disk()
    with pytest.raises(Refused):
        deliver(disk, intake(disk), "alice@example.org", body=bytes(2 << 20))
    assert disk.of(Kind.SEALED) == []


def test_a_full_store_puts_recipients_off() -> None:
    disk = Disk()

    def full(store: bytes, size: int) -> None:
        raise Temporary("the mailbox is full")

    receipt = deliver(disk, intake(disk, room=full), "alice@example.org")
    assert not receipt.accepted
    assert disk.entries == []


def test_a_rejected_message_is_refused_to_the_sender_and_not_kept() -> None:
    disk = Disk()
    receipt = deliver(disk, intake(disk, {"f": Says(alice=Verdict(word="reject", reason="no"))}), "alice@example.org")
    assert not receipt.accepted
    assert receipt.verdicts["alice@example.org"].reason == "no"
    assert disk.of(Kind.SEALED) == []


def test_drop_answers_yes_and_keeps_a_stub_without_the_text() -> None:
    disk = Disk()
    receipt = deliver(disk, intake(disk, {"f": Says(alice=Verdict(word="drop", reason="rule 1"))}), "alice@example.org")
    assert receipt.accepted
    [found] = disk.opened()
    assert found.body == b""
    assert found.message is not None
    assert found.message.tags == {"dropped": "rule 1", "size": str(len(MAIL))}


def test_hold_files_into_held() -> None:
    disk = Disk()
    deliver(disk, intake(disk, {"f": Says(alice=Verdict(word="hold"))}), "alice@example.org")
    message = disk.opened()[0].message
    assert message is not None
    assert message.mailbox == "Held"


def test_filters_file_flag_and_weigh() -> None:
    disk = Disk()
    says = Says(alice=Verdict(mailbox="Lists", flags=frozenset({"\\Seen"}), importance="low"))
    deliver(disk, intake(disk, {"f": says}), "alice@example.org")
    message = disk.opened()[0].message
    assert message is not None
    assert (message.mailbox, message.flags, message.importance) == ("Lists", frozenset({"\\Seen"}), "low")


def test_one_store_takes_a_message_once_under_the_kindest_verdict() -> None:
    disk = Disk()
    way = intake(disk, {"f": Says(alice=Verdict(word="reject"), al=Verdict(mailbox="Al"))})
    receipt = deliver(disk, way, "alice@example.org", "al@example.org")
    assert receipt.accepted
    [found] = disk.opened()
    assert found.message is not None
    assert found.message.mailbox == "Al"


def test_a_filter_that_fails_puts_the_message_off_and_names_no_text(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    receipt = deliver(disk, intake(disk, {"f": Raises()}), "alice@example.org")
    assert receipt.verdicts["alice@example.org"].temporary
    assert "secret" not in caplog.text
    assert disk.of(Kind.SEALED) == []


def test_a_filter_reads_a_large_body() -> None:
    disk = Disk()
    says = Says()
    body = bytes(range(256)) * 1000
    deliver(disk, intake(disk, {"f": says}), "alice@example.org", body=body)
    assert says.read == body


def test_short_messages_commit_together_with_their_cursor() -> None:
    disk = Disk()
    way = intake(disk)
    lines = [Message(kind="line", time=disk.now, recipients=("alice@example.org",)) for _ in range(3)]

    async def main() -> int:
        before = disk.commits
        await way.accept(lines, [("instance/x", "cursor", b"3")])
        return disk.commits - before

    assert anyio.run(main) == 2  # the epoch's own commit, then one for all
    assert len(disk.opened()) == 3


def test_a_full_mailbox_puts_short_messages_off_and_keeps_no_cursor() -> None:
    disk = Disk()

    def full(store: bytes, size: int) -> None:
        raise Temporary("the mailbox is full")

    way = intake(disk, room=full)
    line = Message(kind="line", time=disk.now, recipients=("alice@example.org",))
    with pytest.raises(Temporary, match="full"):
        anyio.run(way.accept, [line], [("instance/x", "cursor", b"3")])
    assert disk.commits == 0


def test_the_key_of_a_blob_depends_on_the_peer() -> None:
    disk = Disk()
    way = intake(disk)

    async def main() -> None:
        draft = Message(kind="mail", time=disk.now, envelope={"peer": "192.0.2.1", "port": 4711})
        async with way.deliver(draft) as delivery:
            await delivery.recipient("alice@example.org")
            await delivery.write(bytes(100_000))

    anyio.run(main)
    assert disk.peers == ["192.0.2.1 4711"]


@pytest.mark.parametrize("size", [INLINE + 1, 300_000, 700_001])
def test_a_large_body_has_room_before_it_is_written_and_gives_it_back(size: int) -> None:
    disk = Disk()
    way = intake(disk)
    room = way.room
    assert isinstance(room, Rooms)

    async def main() -> None:
        async with way.deliver(Message(kind="mail", time=disk.now)) as delivery:
            await delivery.recipient("alice@example.org")
            for at in range(0, size, 50_000):
                await delivery.write(bytes(min(50_000, size - at)))
                assert room.held >= disk.made[0].size if disk.made else room.held == 0
            await delivery.commit()
            assert room.held >= disk.made[0].size

    anyio.run(main)
    assert room.held == 0
    assert size <= room.most <= 1.25 * size + (1 << 19)


def test_a_small_body_takes_none() -> None:
    disk = Disk()
    way = intake(disk)
    assert isinstance(way.room, Rooms)
    deliver(disk, way, "alice@example.org", body=bytes(INLINE))
    assert way.room.most == 0


def test_a_delivery_that_finds_no_more_room_gives_all_back() -> None:
    disk = Disk()
    calls: list[int] = []

    def full(store: bytes, size: int) -> None:
        calls.append(size)
        if len(calls) > 2:
            raise Temporary("the mailbox is full")

    way = intake(disk, room=full)
    assert isinstance(way.room, Rooms)
    with pytest.raises(Temporary, match="full"):
        deliver(disk, way, "alice@example.org", body=bytes(900_000))
    assert way.room.held == 0
    assert disk.entries == []
