"""Epochs as the pipeline runs them: durable before they are used, ended in time, never shared by two incarnations."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from mesyx_core.api import Refused, Temporary
from mesyx_core.pipeline import Content, ToDay, ToNode
from mesyx_core.record import content, outgoing
from mesyx_core.record.entry import Kind
from mesyx_core.record.payloads import Target, decode_close, decode_epoch
from mesyx_core.vault import age
from mesyx_core.vault.keyset import Keyset
from tests.unit.pipeline.kit import CLIENT, GATEWAY, READER, Disk, authority

OP = content.pack_inner("op", [1])


async def put(disk: Disk, sealer: Any, count: int = 1, **fields: Any) -> None:
    for _ in range(count):
        log, draft = await sealer.seal(Content(OP, **fields))
        await disk.commit([(log, draft)])


def test_an_epoch_is_durable_before_anything_is_sealed_in_it() -> None:
    disk = Disk()

    async def main() -> None:
        await disk.sealer().seal(Content(OP))

    anyio.run(main)
    assert [draft.kind for _, draft in disk.entries] == [Kind.EPOCH]


def test_a_failed_epoch_commit_seals_nothing_and_the_next_message_opens_another() -> None:
    disk = Disk()
    disk.fail = 1

    async def main() -> None:
        sealer = disk.sealer()
        with pytest.raises(Temporary):
            await sealer.seal(Content(OP))
        await put(disk, sealer)

    anyio.run(main)
    assert [draft.epoch for draft in disk.of(Kind.SEALED)] == [2]
    assert len(disk.opened()) == 1


def closed(disk: Disk) -> list[tuple[int, int]]:
    return [(draft.epoch, decode_close(draft.payload).used) for draft in disk.of(Kind.CLOSE)]


def test_a_failed_epoch_commit_loses_no_close_of_the_epoch_before() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer, 3)
        disk.later(days=1)
        for _ in range(2):
            disk.fail = 1
            with pytest.raises(Temporary):
                await sealer.seal(Content(OP))
        assert closed(disk) == []
        await put(disk, sealer)
        assert closed(disk) == [(1, 3)]
        await sealer.close()

    anyio.run(main)
    assert closed(disk) == [(1, 3), (4, 1)]


def test_a_failed_last_commit_closes_when_it_is_tried_again() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer)
        disk.fail = 1
        with pytest.raises(Temporary):
            await sealer.close()
        await sealer.close()
        await sealer.close()

    anyio.run(main)
    assert closed(disk) == [(1, 1)]


def test_what_an_abandoned_log_did_not_close_goes_into_no_other() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer)
        disk.later(days=1)
        disk.fail = 1
        with pytest.raises(Temporary):
            await sealer.seal(Content(OP))
        sealer.abandon()
        await put(disk, sealer)
        await sealer.close()

    anyio.run(main)
    assert closed(disk) == [(1, 1)]
    assert [log.origin.incarnation[0] for log, draft in disk.entries if draft.kind == Kind.CLOSE] == [2]


def test_concurrent_messages_open_one_epoch() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(put, disk, sealer)

    anyio.run(main)
    assert len(disk.of(Kind.EPOCH)) == 1
    assert sorted(draft.index for draft in disk.of(Kind.SEALED)) == list(range(50))


def test_an_epoch_ends_at_1024_messages_with_a_close() -> None:
    disk = Disk()

    async def main() -> None:
        await put(disk, disk.sealer(), 1025)

    anyio.run(main)
    assert [draft.epoch for draft in disk.of(Kind.EPOCH)] == [1, 2]
    assert [(draft.epoch, decode_close(draft.payload).used) for draft in disk.of(Kind.CLOSE)] == [(1, 1024)]
    assert len(disk.opened()) == 1025


def test_an_epoch_ends_after_a_day() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer)
        disk.later(hours=24)
        await put(disk, sealer)

    anyio.run(main)
    assert [draft.epoch for draft in disk.of(Kind.SEALED)] == [1, 2]


def test_an_epoch_ends_with_its_keyset_and_the_fallback_takes_over() -> None:
    disk = Disk()
    now = int(disk.now.timestamp())
    short = Keyset((READER.recipient,), start=now - 10, end=now + 3600)
    fallback = Keyset((READER.recipient,), fallback=True)
    disk.authority = authority(short, fallback)

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer)
        disk.later(hours=2)
        await put(disk, sealer)

    anyio.run(main)
    assert [decode_epoch(draft.payload).target.id for draft in disk.of(Kind.EPOCH)] == [short.id, fallback.id]


def test_a_clock_that_goes_back_ends_the_epoch_and_never_returns_to_an_ended_keyset() -> None:
    disk = Disk()
    now = int(disk.now.timestamp())
    early = Keyset((READER.recipient,), start=now - 7200, end=now - 3600)
    fallback = Keyset((READER.recipient,), fallback=True)
    disk.authority = authority(early, fallback)

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer)
        disk.later(hours=-2 + 0)
        await put(disk, sealer)

    anyio.run(main)
    assert [decode_epoch(draft.payload).target.id for draft in disk.of(Kind.EPOCH)] == [fallback.id, fallback.id]


def test_a_closed_keyset_is_not_sealed_to() -> None:
    disk = Disk()
    now = int(disk.now.timestamp())
    short = Keyset((READER.recipient,), start=now - 10, end=now + 3600)
    fallback = Keyset((READER.recipient,), fallback=True)
    disk.authority = authority(short, fallback, closed=frozenset({short.id}))

    async def main() -> None:
        await put(disk, disk.sealer())

    anyio.run(main)
    assert [decode_epoch(draft.payload).target.id for draft in disk.of(Kind.EPOCH)] == [fallback.id]


def test_without_a_keyset_a_message_is_put_off_and_not_sealed_to_nobody() -> None:
    disk = Disk()
    disk.authority = authority(Keyset((READER.recipient,), start=1, end=2))

    async def main() -> None:
        with pytest.raises(Temporary, match="no keyset"):
            await disk.sealer().seal(Content(OP))

    anyio.run(main)
    assert disk.entries == []


def test_ops_are_sealed_to_the_client_recipients() -> None:
    disk = Disk()

    async def main() -> None:
        await put(disk, disk.sealer(), target="clients")

    anyio.run(main)
    assert [decode_epoch(draft.payload).target.kind for draft in disk.of(Kind.EPOCH)] == ["clients"]
    assert [found.kind for found in disk.opened()] == ["op"]


def test_an_abandoned_incarnation_is_followed_by_another_with_epochs_of_its_own() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer)
        sealer.abandon()
        await put(disk, sealer)

    anyio.run(main)
    assert disk.begun == 2
    assert [draft.epoch for draft in disk.of(Kind.EPOCH)] == [1, 1]
    assert len(disk.opened()) == 2


def test_a_client_that_was_taken_out_reads_nothing_more_of_a_running_epoch() -> None:
    disk = Disk()
    other = age.generate(random=lambda n: b"x" * n)

    async def main() -> None:
        sealer = disk.sealer()
        disk.authority = authority(clients=(CLIENT.recipient, other.recipient))
        await put(disk, sealer, target="clients")
        disk.authority = authority()
        await put(disk, sealer, target="clients")

    anyio.run(main)
    first, second = [decode_epoch(draft.payload).file for draft in disk.of(Kind.EPOCH)]
    assert age.decrypt(first, [other])
    with pytest.raises(age.NoMatch):
        age.decrypt(second, [other])
    assert [draft.epoch for draft in disk.of(Kind.SEALED)] == [1, 2]


DAY = age.generate(random=lambda n: b"d" * n)


def opens(disk: Disk, number: int, identity: age.Identity) -> bool:
    try:
        age.decrypt(decode_epoch(disk.of(Kind.EPOCH)[number].payload).file, [identity])
    except age.NoMatch:
        return False
    return True


def test_a_clients_request_is_for_the_recipient_of_the_day_alone() -> None:
    disk = Disk()

    async def main() -> None:
        await put(disk, disk.sealer(), target=ToDay(DAY.recipient))

    anyio.run(main)
    shown = decode_epoch(disk.of(Kind.EPOCH)[0].payload).target
    assert shown == Target("day", outgoing.day_id(DAY.recipient))
    assert opens(disk, 0, DAY)
    assert not opens(disk, 0, CLIENT)
    assert not opens(disk, 0, READER)


def test_what_a_gateway_says_of_a_request_is_for_the_clients_as_well() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        for clients in (True, False, True):
            await put(disk, sealer, target=ToDay(DAY.recipient, clients=clients))

    anyio.run(main)
    assert len(disk.of(Kind.EPOCH)) == 2
    assert opens(disk, 0, DAY)
    assert opens(disk, 0, CLIENT)
    assert not opens(disk, 1, CLIENT)


def test_a_client_that_was_taken_out_does_not_read_on_what_a_gateway_says_of_requests() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer, target=ToDay(DAY.recipient, clients=True))
        disk.authority = authority(clients=(READER.recipient,))
        await put(disk, sealer, target=ToDay(DAY.recipient, clients=True))

    anyio.run(main)
    assert [opens(disk, number, CLIENT) for number in (0, 1)] == [True, False]


def test_what_is_for_a_node_is_for_that_node_alone() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        await put(disk, sealer, target=ToNode(GATEWAY.public))
        with pytest.raises(Refused):
            await put(disk, sealer, target=ToNode(b"x" * 32))

    anyio.run(main)
    assert decode_epoch(disk.of(Kind.EPOCH)[0].payload).target == Target("node", GATEWAY.public)
    assert opens(disk, 0, GATEWAY.identity)
    assert not opens(disk, 0, CLIENT)


def test_an_epoch_whose_time_is_over_is_closed_though_nothing_comes() -> None:
    disk = Disk()

    async def main() -> None:
        sealer = disk.sealer()
        await sealer.tidy()
        await put(disk, sealer, 2)
        await sealer.tidy()
        assert closed(disk) == []
        disk.later(days=1)
        disk.fail = 1
        with pytest.raises(Temporary):
            await sealer.tidy()
        await sealer.tidy()
        await sealer.tidy()

    anyio.run(main)
    assert closed(disk) == [(1, 2)]
