"""Two nodes hold the same, whoever wrote what, and at whatever moment the wire breaks."""

from __future__ import annotations

import os
import time
from typing import Any

import anyio
import pytest

from mesyx_core.exchange.fetch import Room
from mesyx_core.exchange.frames import Hello, Same, pack

pytestmark = pytest.mark.anyio


async def test_what_one_side_wrote_before_arrives_after_connecting(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    await gateway.write(log, 5)
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    assert (await laptop.journal.head(log.origin)).seq == 6


async def test_a_node_knows_when_it_has_heard_all_that_its_peer_held(cluster: Any, wait_until: Any) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    await gateway.write(log, 300, 4000)
    cluster.connect(laptop, gateway)
    seen: list[tuple[int, bool]] = []
    laptop.journal.on_commit(lambda _, seq: seen.append((seq, any(p.heard_all for p in laptop.exchange.peers()))))
    await wait_until(lambda: any(peer.heard_all for peer in laptop.exchange.peers()))
    assert (await laptop.journal.head(log.origin)).seq == 301
    assert not any(heard for seq, heard in seen if seq < 301)
    await wait_until(lambda: all(peer.heard_all for peer in gateway.exchange.peers()))


async def test_both_directions_at_once(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    for node, count in ((laptop, 700), (gateway, 300)):
        await node.write(await node.begin(cluster.store), count)
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    assert sorted(seq for seq, _ in (await laptop.held(cluster.store)).values()) == [301, 701]


async def test_a_backlog_beyond_one_piece_goes_ids_first(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    for size in (200, 4000, 60_000, 10):
        await gateway.write(log, 600, size // 2)
    await gateway.write(log, 40, 200_000)  # fewer than 64 of these fit one piece
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    assert (await laptop.journal.head(log.origin)).seq == 2441


async def test_live_entries_are_pushed_within_milliseconds(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    arrived: list[float] = []
    news = anyio.Event()

    def note(origin: Any, seq: int) -> None:
        arrived.append(time.perf_counter())
        news.set()

    laptop.journal.on_commit(note)
    took = []
    for _ in range(50):
        news = anyio.Event()
        await gateway.write(log, 1, 4000)
        committed = time.perf_counter()
        with anyio.fail_after(2):
            await news.wait()
        took.append(arrived[-1] - committed)
    print(sorted(took))
    assert sorted(took)[25] < 0.02, took


async def test_in_sync_a_reconnect_costs_under_300_bytes_and_one_round_trip(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    for node in (laptop, gateway):
        await node.write(await node.begin(cluster.store), 20)
    wire = cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    await wire.cut()
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    (here,) = laptop.exchange.peers()
    (there,) = gateway.exchange.peers()
    print(here.sent, there.sent)
    assert here.sent + there.sent < 300
    assert (here.sent, there.sent) == (there.received, here.received)
    # The server speaks first; then there is one word each way, the server's being: same.
    assert there.sent == len(pack(Hello((1,), bytes(16)))) + len(pack(Same()))


async def test_it_goes_on_after_the_wire_breaks_in_the_middle(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    await gateway.write(log, 3000, 4000)
    for _ in range(4):
        wire = cluster.connect(laptop, gateway)
        await anyio.sleep(0.15)
        await wire.cut()
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    assert (await laptop.journal.head(log.origin)).seq == 3001


async def test_logs_pass_through_a_node_that_did_not_write_them(cluster: Any, as_member: Any) -> None:
    laptop, gateway = await cluster.two()
    phone = await cluster.node("phone")
    members = [*cluster.owner.manifest.members, as_member(phone.key, "client")]
    newer = cluster.owner.change(members)
    for node in (laptop, gateway):
        await node.take(cluster.store, newer)
    await phone.hold(cluster.owner.documents)
    log = await gateway.begin(cluster.store)
    await gateway.write(log, 1500, 2000)
    cluster.connect(laptop, gateway)
    cluster.connect(phone, laptop)
    await cluster.settled(laptop, gateway, phone)
    await gateway.write(log, 3)
    await cluster.settled(laptop, gateway, phone)
    assert (await phone.journal.head(log.origin)).seq == 1504


async def test_many_logs_are_compared_in_ranges(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    for number in range(120):
        log = await gateway.begin(cluster.store)
        await gateway.journal.end_log(log)
        if number == 60:
            cluster.connect(laptop, gateway)
            await cluster.settled(laptop, gateway)
            await next(iter(laptop.exchange._connections))._stream.aclose()
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    assert len(await laptop.held(cluster.store)) == 120


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
async def test_blobs_arrive_in_both_directions(cluster: Any, wait_until: Any, size: int) -> None:
    laptop, gateway = await cluster.two()
    wanted = []
    for node, other in ((laptop, gateway), (gateway, laptop)):
        wanted.append((other, await node.write_blob(await node.begin(cluster.store), os.urandom(size))))
    cluster.connect(laptop, gateway)
    for node, blob in wanted:
        await wait_until(lambda node=node, blob=blob: node.journal.has_blob(blob))
        await wait_until(lambda node=node, blob=blob: blob in node.blobs)


async def test_a_backlog_of_more_blobs_than_are_listed_at_a_time_comes_by_itself(
    cluster: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesyx_core.exchange.fetch.LOOK", 3, raising=False)
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    blobs = [await gateway.write_blob(log, os.urandom(20_000)) for _ in range(10)]
    cluster.connect(laptop, gateway)
    for blob in blobs:
        await wait_until(lambda blob=blob: laptop.journal.has_blob(blob))


async def test_a_blob_goes_on_where_it_stopped(cluster: Any, wait_until: Any) -> None:
    laptop, gateway = await cluster.two()
    blob = await gateway.write_blob(await gateway.begin(cluster.store), os.urandom(12 << 20))
    wire = cluster.connect(laptop, gateway)
    await wait_until(lambda: wire.there.sent > 4 << 20)
    await wire.cut()
    again = cluster.connect(laptop, gateway)
    await wait_until(lambda: laptop.journal.has_blob(blob))
    assert again.there.sent < 9 << 20


async def test_blobs_that_waited_for_their_turn_when_the_wire_broke_come_over_the_next(
    cluster: Any, wait_until: Any
) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    blobs = [await gateway.write_blob(log, os.urandom(1 << 20)) for _ in range(8)]
    wire = cluster.connect(laptop, gateway)
    await wait_until(lambda: wire.there.sent > 1 << 20)
    await wire.cut()
    cluster.connect(laptop, gateway)
    for blob in blobs:
        await wait_until(lambda blob=blob: laptop.journal.has_blob(blob))


async def test_a_blob_whose_session_ended_is_fetched_by_another(cluster: Any, wait_until: Any) -> None:
    laptop, gateway = await cluster.two()
    blob = await gateway.write_blob(await gateway.begin(cluster.store), os.urandom(4 << 20))
    wire = cluster.connect(laptop, gateway)
    await wait_until(lambda: wire.there.sent > 1 << 20)
    wire.here.freeze()
    other = cluster.connect(laptop, gateway)
    await wait_until(lambda: len(laptop.exchange.peers()) == 2)
    await anyio.sleep(0.3)
    assert other.there.sent < 1 << 20
    await wire.cut()
    await wait_until(lambda: laptop.journal.has_blob(blob))


async def test_a_blob_that_the_peer_gets_later_is_told_of(cluster: Any, as_member: Any, wait_until: Any) -> None:
    laptop, gateway = await cluster.two()
    phone = await cluster.node("phone")
    newer = cluster.owner.change([*cluster.owner.manifest.members, as_member(phone.key, "client")])
    for node in (laptop, gateway):
        await node.take(cluster.store, newer)
    await phone.hold(cluster.owner.documents)
    cluster.connect(laptop, gateway)
    cluster.connect(phone, laptop)
    blob = await gateway.write_blob(await gateway.begin(cluster.store), os.urandom(2 << 20))
    await wait_until(lambda: phone.journal.has_blob(blob))


async def test_replicated_tells_when_a_peer_has_it(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    cluster.connect(laptop, gateway)
    await gateway.write(log)
    with anyio.fail_after(5):
        assert await gateway.exchange.replicated(log.origin, log.seq) == laptop.key.public


async def test_what_a_peer_has_is_known_after_it_went_away(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    wire = cluster.connect(laptop, gateway)
    await gateway.write(log, 4)
    await cluster.settled(laptop, gateway)
    for _ in range(2):
        assert gateway.exchange.acked(cluster.store, laptop.key.public) == {log.origin[1:]: 5}
        await wire.cut()
        await anyio.sleep(0.05)


async def test_a_blob_is_fetched_if_it_is_no_larger_than_wanted_and_once_there_is_room(
    cluster: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesyx_core.exchange.fetch.LATER", 0.05)
    laptop, gateway = await cluster.two()
    free = 100_000
    laptop.exchange._room = Room(largest=400_000, free=lambda: free)
    log = await gateway.begin(cluster.store)
    small, middle, large = [await gateway.write_blob(log, os.urandom(size)) for size in (50_000, 300_000, 500_000)]
    cluster.connect(laptop, gateway)
    await wait_until(lambda: laptop.journal.has_blob(small))
    usage = await laptop.journal.usage(cluster.store)
    assert 50_000 < usage < 60_000  # what did not come fills no quota
    assert not await laptop.journal.has_blob(middle)
    free = 300_000
    await wait_until(lambda: laptop.journal.has_blob(middle))
    assert await laptop.journal.lacking(cluster.store) == [(large, 500_000)]
    assert 350_000 < await laptop.journal.usage(cluster.store) < 360_000


async def test_a_disk_that_fills_up_while_a_blob_comes_ends_no_session(
    cluster: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesyx_core.exchange.fetch.LATER", 0.05)
    laptop, gateway = await cluster.two()
    looks = 0

    def free() -> int:
        nonlocal looks
        looks += 1
        return 0 if 2 < looks < 10 else 1 << 40

    laptop.exchange._room = Room(free=free)
    blob = await gateway.write_blob(await gateway.begin(cluster.store), os.urandom(1 << 20))
    wire = cluster.connect(laptop, gateway)
    await wait_until(lambda: laptop.journal.has_blob(blob))
    assert looks > 10
    assert not wire.ended.is_set()


async def test_what_one_peer_has_dropped_comes_from_another(cluster: Any, as_member: Any, wait_until: Any) -> None:
    laptop, gateway = await cluster.two()
    phone = await cluster.node("phone")
    newer = cluster.owner.change([*cluster.owner.manifest.members, as_member(phone.key, "client")])
    for node in (laptop, gateway):
        await node.take(cluster.store, newer)
    await phone.hold(cluster.owner.documents)
    log = await gateway.begin(cluster.store)
    await gateway.write(log, 400, 20_000)
    first = cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    await first.cut()
    dropped = list(range(2, 402))
    await laptop.journal.drop(log.origin, dropped)
    await laptop.journal.purge(log.origin, [300])
    await gateway.journal.purge(log.origin, [300])
    cluster.connect(phone, laptop)
    await cluster.settled(phone, laptop)
    assert await phone.journal.missing(log.origin, max_count=1000) == dropped
    cluster.connect(phone, gateway)

    async def lacks() -> list[int]:
        found: list[int] = await phone.journal.missing(log.origin, max_count=1000)
        return found

    with anyio.fail_after(20):
        while await lacks() != [300]:  # noqa: ASYNC110 - another node
            await anyio.sleep(0.02)
    await phone.journal.purge(log.origin, [300])
    assert await lacks() == []
    assert await laptop.journal.missing(log.origin) == []
    entries = await phone.journal.entries(log.origin, 299, max_count=2)
    assert [entry.payload is None for _, entry in entries] == [True, False]
