"""What peers may try that do not keep to the protocol. Each ends the session with a reason, and harms nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from mesyx_core.builtin.memory import MemoryStream, pair
from mesyx_core.exchange import LinkFailed, frames
from mesyx_core.exchange.ending import VIOLATED
from mesyx_core.vault import labels
from tests.unit.exchange.attacker import Attacker, Forged, header, last_word

pytestmark = pytest.mark.anyio


@pytest.fixture
async def attacker(cluster: Any, wait_until: Callable[..., Any]) -> Attacker:
    laptop, gateway = await cluster.two()
    return Attacker(cluster, gateway, laptop.key, wait_until)


async def refused(attacker: Attacker, *said: bytes) -> frames.End:
    async with attacker.running() as talk:
        await talk._stream.send(b"".join(said))
        return await last_word(talk)


class TestOpening:
    async def test_a_signature_of_another_connection_proves_nothing(self, attacker: Attacker) -> None:
        async with attacker.greeted() as (_, hello):
            overheard = attacker.opening(hello)
        async with attacker.greeted() as (talk, hello):
            await talk.say(attacker.opening(hello, signature=overheard.signature))
            assert (await last_word(talk)).reason == "the peer did not prove its key"

    async def test_a_signature_made_for_another_server_proves_nothing(self, attacker: Attacker) -> None:
        async with attacker.greeted() as (talk, hello):
            signed = attacker.key.sign(labels.AUTH, bytes(32), hello.nonce, attacker.key.public, attacker.cluster.store)
            await talk.say(attacker.opening(hello, signature=signed))
            assert (await last_word(talk)).code == VIOLATED

    async def test_a_member_cannot_be_named_without_its_key(self, attacker: Attacker) -> None:
        async with attacker.greeted() as (talk, hello):
            await talk.say(attacker.opening(hello, key=attacker.victim.key.public))
            assert (await last_word(talk)).code == VIOLATED

    @pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x00\x10\x00\x00", b"\x00\x00\x00\x00"])
    async def test_huge_lengths_are_refused_at_once(self, attacker: Attacker, size: bytes) -> None:
        async with attacker.greeted() as (talk, _):
            await talk._stream.send(size)
            assert (await last_word(talk)).code == VIOLATED

    async def test_anything_before_opening_is_refused(self, attacker: Attacker) -> None:
        async with attacker.greeted() as (talk, _):
            await talk._stream.send(frames.pack(frames.Have(bytes(32), bytes(16), 1)))
            assert "out of order" in (await last_word(talk)).reason

    async def test_one_who_says_nothing_is_put_out(self, attacker: Attacker) -> None:
        async with attacker.greeted() as (talk, _):
            assert (await last_word(talk)).reason

    async def test_one_who_speaks_no_tls_is_put_out(self, attacker: Attacker) -> None:
        here, there = pair()
        async with anyio.create_task_group() as group:
            group.start_soon(attacker.victim.exchange.accept, there)
            await here.send(b"EHLO example.org\r\n" * 100)
            async for _ in here:
                pass
        assert "TLS" in attacker.victim.exchange.refusals[-1].reason


class TestEntries:
    async def test_own_entries_are_taken(self, attacker: Attacker) -> None:
        """So that the refusals below are for the reason they name."""
        forged = Forged(attacker, attacker.key.public, attacker.key)
        async with attacker.running() as talk:
            await talk._stream.send(forged.frame())
            await attacker.until(lambda: attacker.victim.journal.head(forged.origin))

    async def test_entries_without_a_checkpoint_are_refused(self, attacker: Attacker) -> None:
        forged = Forged(attacker, attacker.key.public, attacker.key)
        assert "nothing signed" in (await refused(attacker, forged.frame(checkpoint=b""))).reason

    async def test_a_checkpoint_of_another_length_is_refused(self, attacker: Attacker) -> None:
        forged = Forged(attacker, attacker.key.public, attacker.key)
        assert (await refused(attacker, forged.frame(entries=forged.entries[:2]))).code == VIOLATED

    async def test_a_broken_chain_is_declined_and_kept_nowhere(self, attacker: Attacker) -> None:
        forged = Forged(attacker, attacker.key.public, attacker.key)
        other = header(2, b"other"), b"other"
        async with attacker.running() as talk:
            await talk._stream.send(forged.frame(entries=(*forged.entries[:2], other)))
            await attacker.until(lambda: attacker.victim.exchange.peers()[-1].declined)
        assert await attacker.victim.journal.head(forged.origin) is None

    async def test_ids_that_lead_to_no_checkpoint_are_refused(self, attacker: Attacker) -> None:
        node, run = attacker.key.public, os.urandom(16)
        said = [frames.Ids(node, run, n * 4, os.urandom(128), b"", n == 3) for n in range(4)]
        assert "without a checkpoint" in (await refused(attacker, *map(frames.pack, said))).reason

    async def test_ids_with_a_gap_are_refused(self, attacker: Attacker) -> None:
        node, run = attacker.key.public, os.urandom(16)
        said = [frames.Ids(node, run, n * 5, os.urandom(128), b"", False) for n in range(2)]
        assert "do not follow" in (await refused(attacker, *map(frames.pack, said))).reason

    async def test_ids_of_ever_more_logs_are_refused(self, attacker: Attacker) -> None:
        node = attacker.key.public
        said = [frames.Ids(node, os.urandom(16), 0, os.urandom(32), b"", False) for _ in range(100)]
        assert "too many" in (await refused(attacker, *map(frames.pack, said))).reason


class TestManners:
    @pytest.mark.parametrize(
        "frame",
        [
            frames.Hello((1,), bytes(16)),
            frames.Joined(),
            frames.Present(bytes(32), b"", ""),
            frames.Piece(bytes(32), 0, b"data"),
            frames.Payloads(bytes(32), bytes(16), ((1, b"data"),)),
            frames.Ranges("", (bytes(32),) * 3),
            frames.Ranges("0" * 16, (bytes(32),) * 16),
        ],
        ids=lambda frame: type(frame).__name__,
    )
    async def test_frames_out_of_order_end_the_session(self, attacker: Attacker, frame: frames.Frame) -> None:
        assert (await refused(attacker, frames.pack(frame))).code == VIOLATED

    async def test_asking_without_reading_ends_the_session(self, attacker: Attacker) -> None:
        asks = frames.pack(frames.Ask(bytes(32), 0, 1000)) * 200
        assert "too many pieces" in (await refused(attacker, asks)).reason

    async def test_asking_for_payloads_without_reading_ends_the_session(self, attacker: Attacker) -> None:
        asks = frames.pack(frames.Lacking(bytes(32), bytes(16), (1, 2))) * 200
        assert "too many payloads" in (await refused(attacker, asks)).reason

    async def test_a_forged_manifest_is_refused(self, attacker: Attacker) -> None:
        said: list[frames.Frame] = [frames.Heads((os.urandom(32),)), frames.Documents((b"forged",), False)]
        assert "manifest" in (await refused(attacker, *map(frames.pack, said))).reason

    async def test_after_all_that_the_node_still_serves(self, attacker: Attacker) -> None:
        for _ in range(3):
            await refused(attacker, b"\xff" * 4)
        async with attacker.running():
            pass


class TestHalfOpen:
    async def test_a_peer_that_went_silent_is_noticed(self, cluster: Any) -> None:
        laptop, gateway = await cluster.two()
        wire = cluster.connect(laptop, gateway)
        await cluster.settled(laptop, gateway)
        wire.here.freeze()
        with anyio.fail_after(5):
            await wire.ended.wait()
        assert isinstance(wire.error, LinkFailed)
        assert "nothing heard" in str(wire.error)

    async def test_an_idle_session_stays(self, cluster: Any) -> None:
        laptop, gateway = await cluster.two()
        wire = cluster.connect(laptop, gateway)
        await cluster.settled(laptop, gateway)
        await anyio.sleep(1.5)
        assert not wire.ended.is_set()


async def test_a_slow_reader_holds_up_only_itself_and_little_memory(
    cluster: Any, wait_until: Callable[..., Any]
) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    await gateway.write(log, 3000, 8000)
    wire = cluster.connect(laptop, gateway)
    await wait_until(lambda: wire.there.sent > 1 << 20)
    wire.here.freeze()
    await anyio.sleep(0.3)
    sent = wire.there.sent
    await anyio.sleep(0.1)
    assert wire.there.sent == sent
    held = await laptop.journal.head(log.origin)
    assert sent - (held.seq if held else 0) * 8000 < 4 << 20


async def test_a_memory_stream_pushes_back(anyio_backend: str) -> None:
    here, there = pair()
    assert isinstance(there, MemoryStream)
    with anyio.move_on_after(0.05) as scope:
        await here.send(bytes(10 << 20))
    assert scope.cancelled_caught
