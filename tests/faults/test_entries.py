"""A peer with a real key that lies: about blobs, entries, checkpoints and manifests. Nothing of it is kept or shown."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.exchange import frames
from mesyx_core.exchange.compare import Comparison
from mesyx_core.exchange.ending import VIOLATED
from mesyx_core.exchange.fetch import Room
from mesyx_core.exchange.flow import DIVERGED
from mesyx_core.exchange.talk import Talk
from mesyx_core.record.checkpoint import Checkpoint, sign
from mesyx_core.record.entry import Header, chain_over, chain_start, entry_id
from mesyx_core.record.shape import COUNT_MAX
from mesyx_core.vault import manifest
from mesyx_core.vault.nodekey import NodeKey
from tests.faults.marks import fault
from tests.unit.exchange.attacker import Attacker, Forged, last_word
from tests.unit.exchange.nodes import Cluster, clustered, fresh_owner, member, until

pytestmark = pytest.mark.anyio

PIECE = 128 << 10


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with clustered(tmp_path) as made:
        yield made


@pytest.fixture
async def attacker(cluster: Cluster) -> Attacker:
    """A member whose key was stolen; `victim` is a gateway."""
    laptop, gateway = await cluster.two()
    return Attacker(cluster, gateway, laptop.key, until)


# --- blobs ------------------------------------------------------------------------------------------------------------


class Naming(Forged):
    """A log whose last entry names a blob."""

    def __init__(self, attacker: Attacker, blob: bytes, size: int) -> None:
        super().__init__(attacker, attacker.key.public, attacker.key, 2)
        payload = b"sealed" * 20
        named = Header(3, 1, 1, bytes(32), ((blob, size),), len(payload), hashlib.sha256(payload).digest()).encode()
        self.entries = (self.entries[0], (named, payload))
        self.chain = chain_over(chain_start(self.origin), (entry_id(each) for each, _ in self.entries))
        self.signed = Checkpoint(self.origin, 2, self.chain, bytes(32), 1)


Answer = Callable[[Any], Sequence[frames.Frame]]


async def serve(talk: Talk, answer: Answer, kind: type[Any] = frames.Ask) -> frames.End:
    """Answer what is asked; the victim's last word."""
    splitter = frames.Splitter()
    splitter.limit = frames.MAX_FRAME
    with anyio.fail_after(10):
        while True:
            for frame in splitter.feed(await talk._stream.receive()):
                if isinstance(frame, frames.End):
                    return frame
                if isinstance(frame, frames.Ping):
                    await talk._stream.send(frames.pack(frames.Pong(frame.number)))
                if isinstance(frame, kind):
                    await talk._stream.send(b"".join(map(frames.pack, answer(frame))))


GOOD = os.urandom(300_000)


def piece(ask: frames.Ask, data: bytes = GOOD) -> frames.Piece:
    return frames.Piece(ask.blob, ask.offset, data[ask.offset : ask.offset + ask.length])


LIES: dict[str, tuple[Answer, str]] = {
    "blob-truncated": (lambda ask: [piece(ask)._replace(data=piece(ask).data[:-1])], "not as long as asked for"),
    "blob-swapped": (lambda ask: [piece(ask, os.urandom(len(GOOD)))], "not the one its hash names"),
    "blob-corrupt": (lambda ask: [piece(ask, GOOD[:-1] + bytes([GOOD[-1] ^ 1]))], "not the one its hash names"),
    "blob-oversized": (lambda ask: [piece(ask)._replace(data=bytes(200_000))], "not as long as asked for"),
    "blob-out-of-order": (lambda ask: [piece(ask)._replace(offset=ask.offset + PIECE)], "does not follow"),
    "blob-unasked": (lambda ask: [piece(ask), *(piece(ask) for _ in range(9))], "of a blob"),
    "blob-empty": (lambda ask: [piece(ask)._replace(data=b"")], "not as long as asked for"),
}


@fault(
    "blob-truncated",
    "blob-swapped",
    "blob-corrupt",
    "blob-oversized",
    "blob-out-of-order",
    "blob-unasked",
    "blob-empty",
)
@pytest.mark.parametrize("lie", LIES)
async def test_a_blob_that_is_not_the_one_named_is_not_kept_and_another_peer_brings_it(
    attacker: Attacker, lie: str
) -> None:
    cluster, victim = attacker.cluster, attacker.victim
    digest = hashlib.sha256(GOOD).digest()
    answer, reason = LIES[lie]
    async with attacker.running() as talk:
        await talk._stream.send(Naming(attacker, digest, len(GOOD)).frame())
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            assert (await serve(talk, answer)).code == VIOLATED
    await until(lambda: victim.exchange.refusals)
    assert not await victim.journal.has_blob(digest)
    assert reason in victim.exchange.refusals[-1].reason
    laptop = await cluster.node("honest", key=attacker.key)
    await laptop.hold(cluster.owner.documents)
    assert await laptop.write_blob(await laptop.begin(cluster.store), GOOD) == digest
    cluster.connect(laptop, victim)
    await until(lambda: victim.journal.has_blob(digest))
    assert await victim.journal.read_blob(digest, 0, 1 << 20) == GOOD


@fault("blob-boundless")
async def test_a_blob_is_not_asked_for_and_not_counted_by_a_size_that_is_made_up(attacker: Attacker) -> None:
    cluster, victim = attacker.cluster, attacker.victim
    good, boundless = hashlib.sha256(GOOD).digest(), bytes(32)
    asked: list[frames.Ask] = []

    def answer(ask: frames.Ask) -> Sequence[frames.Frame]:
        asked.append(ask)
        return [piece(ask)]

    victim.exchange._room = Room(largest=1 << 20)
    async with attacker.running() as talk, anyio.create_task_group() as group:
        named = [(boundless, COUNT_MAX), (good, COUNT_MAX), (good, len(GOOD)), (good, 1 << 40), (good, 10)]
        await talk._stream.send(b"".join(Naming(attacker, blob, size).frame() for blob, size in named))
        group.start_soon(serve, talk, answer)
        await until(lambda: victim.journal.has_blob(good))
        await talk._stream.send(Naming(attacker, good, COUNT_MAX).frame())

        async def left() -> bool:
            return bool(await victim.journal.lacking(cluster.store) == [(boundless, COUNT_MAX)])

        await until(left)
        group.cancel_scope.cancel()
    assert {ask.blob for ask in asked} == {good}
    assert await victim.journal.usage(cluster.store) < 5 * len(GOOD)


@fault("blob-withheld")
async def test_a_peer_that_keeps_a_blob_back_does_not_keep_it_from_others(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesyx_core.exchange.fetch.PATIENCE", 0.3)
    cluster, victim = attacker.cluster, attacker.victim
    digest = hashlib.sha256(GOOD).digest()
    asked = anyio.Event()

    def withhold(ask: frames.Ask) -> Sequence[frames.Frame]:
        asked.set()
        return []

    async with attacker.running() as talk, anyio.create_task_group() as group:
        group.start_soon(serve, talk, withhold)
        await talk._stream.send(Naming(attacker, digest, len(GOOD)).frame())
        await asked.wait()
        laptop = await cluster.node("honest", key=attacker.key)
        await laptop.hold(cluster.owner.documents)
        await laptop.write_blob(await laptop.begin(cluster.store), GOOD)
        cluster.connect(laptop, victim)
        await until(lambda: victim.journal.has_blob(digest))
        group.cancel_scope.cancel()


@fault("blob-slow")
async def test_a_blob_that_comes_late_is_taken_all_the_same(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesyx_core.exchange.fetch.PATIENCE", 0.2)
    digest = hashlib.sha256(GOOD).digest()
    held: list[frames.Ask] = []

    def later(ask: frames.Ask) -> Sequence[frames.Frame]:
        """The first is answered only when it is asked for again, twice."""
        held.append(ask)
        return [] if len(held) == 1 else [piece(one) for one in held] if len(held) == 2 else [piece(ask)]

    async with attacker.running() as talk, anyio.create_task_group() as group:
        group.start_soon(serve, talk, later)
        await talk._stream.send(Naming(attacker, digest, len(GOOD)).frame())
        await until(lambda: attacker.victim.journal.has_blob(digest))
        assert attacker.victim.exchange.peers()
        group.cancel_scope.cancel()


# --- entries ----------------------------------------------------------------------------------------------------------


def resigned(forged: Forged, **changes: Any) -> bytes:
    """The frame, with a checkpoint changed in this and signed."""
    return forged.frame(checkpoint=sign(forged.key, forged.signed._replace(**changes)))


async def refused(attacker: Attacker, *said: bytes) -> frames.End:
    async with attacker.running() as talk:
        await talk._stream.send(b"".join(said))
        return await last_word(talk)


@fault("entry-corrupt-header")
@pytest.mark.parametrize("damage", ["flip", "cut", "garbage", "empty", "later-version"])
async def test_a_header_that_is_none_is_refused(attacker: Attacker, damage: str) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key)
    good, payload = forged.entries[2]
    bad = {
        "flip": bytes([good[0] ^ 1]) + good[1:],
        "cut": good[:-1],
        "garbage": os.urandom(100),
        "empty": b"",
        "later-version": good[:1] + b"\x02" + good[2:],
    }[damage]
    forged.entries = (*forged.entries[:2], (bad, payload))
    forged.chain = chain_over(chain_start(forged.origin), (entry_id(each) for each, _ in forged.entries))
    word = await refused(attacker, resigned(forged, chain=forged.chain))
    assert word.code == VIOLATED
    assert await attacker.victim.journal.head(forged.origin) is None


@fault("entry-corrupt-payload")
async def test_a_payload_that_its_header_does_not_name_is_refused(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key)
    entries = (*forged.entries[:2], (forged.entries[2][0], b"x" * 100))
    assert (await refused(attacker, forged.frame(entries=entries))).code == VIOLATED
    assert await attacker.victim.journal.head(forged.origin) is None


@fault("entry-skipped")
async def test_an_entry_left_out_is_noticed(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key, 5)
    entries = (*forged.entries[:2], *forged.entries[3:])
    assert (await refused(attacker, forged.frame(entries=entries))).code == VIOLATED
    async with attacker.running() as talk:  # with a checkpoint over as many
        forged.entries = (*entries, entries[-1])
        await talk._stream.send(forged.frame())
        await until(lambda: attacker.victim.exchange.peers()[-1].declined)
    assert await attacker.victim.journal.head(forged.origin) is None


@fault("entry-repeated")
async def test_entries_that_come_again_are_held_once(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key)
    async with attacker.running() as talk:
        await talk._stream.send(forged.frame() * 5)
        await until(lambda: attacker.victim.journal.head(forged.origin))
        later = Forged(attacker, attacker.key.public, attacker.key)
        await talk._stream.send(later.frame())
        await until(lambda: attacker.victim.journal.head(later.origin))
    head = await attacker.victim.journal.head(forged.origin)
    assert (head.seq, head.chain) == (3, forged.chain)
    assert len(await attacker.victim.journal.entries(forged.origin, 0)) == 3


@fault("entry-branch")
async def test_a_second_branch_of_a_log_is_declined_and_the_first_stays(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key)
    branch = Forged(attacker, attacker.key.public, attacker.key, 6)
    branch.origin = forged.origin
    branch.entries = (*forged.entries[:2], *branch.entries[2:])
    branch.chain = chain_over(chain_start(branch.origin), (entry_id(each) for each, _ in branch.entries))
    branch.signed = Checkpoint(branch.origin, 6, branch.chain, bytes(32), 1)
    async with attacker.running() as talk:
        await talk._stream.send(forged.frame())
        await until(lambda: attacker.victim.journal.head(forged.origin))
        await talk._stream.send(branch.frame())
        await until(lambda: attacker.victim.exchange.peers()[-1].declined)
        assert set(attacker.victim.exchange.peers()[-1].declined.values()) == {DIVERGED}
        other = Forged(attacker, attacker.key.public, attacker.key)
        await talk._stream.send(other.frame())
        await until(lambda: attacker.victim.journal.head(other.origin))
    assert (await attacker.victim.journal.head(forged.origin)).chain == forged.chain


@fault("entry-after-end")
async def test_nothing_follows_a_logs_end(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key, 2)
    ending = b"\x81\x01"
    end = Header(8, 0, 0, b"", (), len(ending), hashlib.sha256(ending).digest()).encode()
    forged.entries = (*forged.entries, (end, ending), forged.entries[1])
    forged.chain = chain_over(chain_start(forged.origin), (entry_id(each) for each, _ in forged.entries))
    word = await refused(attacker, resigned(forged, chain=forged.chain, seq=4))
    assert "after its end" in word.reason


@fault("entry-without-start")
async def test_a_log_without_a_start_is_refused(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key)
    forged.entries = (forged.entries[1], *forged.entries[1:])
    forged.chain = chain_over(chain_start(forged.origin), (entry_id(each) for each, _ in forged.entries))
    assert "start entry" in (await refused(attacker, resigned(forged, chain=forged.chain))).reason


@fault("entry-beyond-cut")
async def test_what_a_removed_node_wrote_beyond_its_cut_stays_out(attacker: Attacker) -> None:
    """Another member brings it, with a good signature of the node that was removed."""
    cluster, victim = attacker.cluster, attacker.victim
    stolen = NodeKey(os.urandom(32))
    owner = cluster.owner
    owner.change([*owner.manifest.members, member(stolen, "accept")])
    log = Forged(attacker, stolen.public, stolen, 5)
    within = chain_over(chain_start(log.origin), (entry_id(each) for each, _ in log.entries[:3]))
    cut = manifest.Cut(stolen.public, log.origin.incarnation, 3, within)
    owner.change([each for each in owner.manifest.members if each.node != stolen.public], [cut])
    for document in owner.documents[1:]:
        await victim.take(cluster.store, document)
    shorter = Checkpoint(log.origin, 3, within, bytes(32), 1)
    async with attacker.running() as talk:
        await talk._stream.send(log.frame(entries=log.entries[:3], checkpoint=sign(stolen, shorter)))
        await until(lambda: victim.journal.head(log.origin))
        await talk._stream.send(log.frame(after=3, entries=log.entries[3:]))
        await until(lambda: victim.exchange.peers()[-1].declined)
    assert (await victim.journal.head(log.origin)).seq == 3


@fault("entry-of-stranger")
async def test_a_strangers_entries_are_declined_whoever_brings_them(attacker: Attacker) -> None:
    stranger = NodeKey(os.urandom(32))
    forged = Forged(attacker, stranger.public, stranger)
    async with attacker.running() as talk:
        await talk._stream.send(forged.frame())
        await until(lambda: attacker.victim.exchange.peers()[-1].declined)
    assert await attacker.victim.journal.head(forged.origin) is None


@fault("entry-unknown-kind", "entry-without-right")
@pytest.mark.parametrize("kind", [5, 6, 7, 9, 63])
async def test_kinds_that_are_not_known_or_not_allowed_are_passed_on_unread(attacker: Attacker, kind: int) -> None:
    """Reseal, purge, veto, and kinds of a later version: the nodes between keep them as they are."""
    cluster, victim = attacker.cluster, attacker.victim
    forged = Forged(attacker, attacker.key.public, attacker.key, 2)
    payload = os.urandom(50)
    strange = Header(kind, 1, 0, bytes(32), (), len(payload), hashlib.sha256(payload).digest()).encode()
    forged.entries = (*forged.entries, (strange, payload))
    forged.chain = chain_over(chain_start(forged.origin), (entry_id(each) for each, _ in forged.entries))
    forged.signed = Checkpoint(forged.origin, 3, forged.chain, bytes(32), 1)
    async with attacker.running() as talk:
        await talk._stream.send(forged.frame())
        await until(lambda: victim.journal.head(forged.origin))
    laptop = await cluster.node("honest", key=attacker.key)
    await laptop.hold(cluster.owner.documents)
    cluster.connect(laptop, victim)
    await cluster.settled(laptop, victim)
    [*_, (_, entry)] = await laptop.journal.entries(forged.origin, 0)
    assert (entry.header, entry.payload) == (strange, payload)


# --- checkpoints ------------------------------------------------------------------------------------------------------


@fault("checkpoint-wrong-key")
async def test_a_checkpoint_by_another_member_is_none(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.victim.key.public, attacker.key)
    assert "signature" in (await refused(attacker, forged.frame())).reason
    assert await attacker.victim.journal.head(forged.origin) is None


@fault("checkpoint-wrong-chain")
async def test_a_checkpoint_over_another_chain_is_none(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key)
    async with attacker.running() as talk:
        await talk._stream.send(resigned(forged, chain=os.urandom(32)))
        await until(lambda: attacker.victim.exchange.peers()[-1].declined)
    assert await attacker.victim.journal.head(forged.origin) is None


@fault("checkpoint-other-store")
async def test_a_checkpoint_of_another_store_is_none(attacker: Attacker) -> None:
    """The same node writes to two stores; what it signed for one does not count in the other."""
    forged = Forged(attacker, attacker.key.public, attacker.key)
    foreign = forged.origin._replace(store=os.urandom(32))
    word = await refused(attacker, resigned(forged, origin=foreign))
    assert word.code == VIOLATED
    assert await attacker.victim.journal.head(forged.origin) is None


@fault("checkpoint-other-run")
async def test_a_checkpoint_of_another_incarnation_is_none(attacker: Attacker) -> None:
    forged = Forged(attacker, attacker.key.public, attacker.key)
    other = forged.origin._replace(incarnation=os.urandom(16))
    assert (await refused(attacker, resigned(forged, origin=other))).code == VIOLATED


@fault("checkpoint-from-the-future")
@pytest.mark.parametrize("time", [0, 4_102_444_800, (1 << 40) - 1])
async def test_a_checkpoints_time_decides_nothing(attacker: Attacker, time: int) -> None:
    """A node whose clock is in 1970 or in 2100 loses no mail."""
    forged = Forged(attacker, attacker.key.public, attacker.key)
    async with attacker.running() as talk:
        await talk._stream.send(resigned(forged, time=time))
        await until(lambda: attacker.victim.journal.head(forged.origin))


# --- manifests --------------------------------------------------------------------------------------------------------


async def presented(attacker: Attacker, *documents: bytes) -> frames.End:
    said: list[frames.Frame] = [frames.Heads((os.urandom(32),)), frames.Documents(documents, False)]
    return await refused(attacker, *map(frames.pack, said))


@fault("manifest-unknown-parent")
async def test_a_manifest_whose_parent_nobody_knows_is_refused(attacker: Attacker) -> None:
    """With the owner's own signature: a manifest between them is missing."""
    owner, victim = attacker.cluster.owner, attacker.victim
    before = victim.authorities[attacker.cluster.store]
    owner.change()
    word = await presented(attacker, owner.change())
    assert (word.code, "manifest" in word.reason) == (VIOLATED, True)
    assert victim.authorities[attacker.cluster.store] is before


@fault("manifest-forged")
async def test_a_manifest_that_the_owner_did_not_sign_is_refused(attacker: Attacker) -> None:
    owner, victim = attacker.cluster.owner, attacker.victim
    good = owner.manifest
    forger = fresh_owner()
    child = replace(good, number=2, parents=(good.hash,), first=good.store, owner=manifest.owner_public(forger))
    word = await presented(attacker, manifest.sign(child, forger))
    assert (word.code, "manifest" in word.reason) == (VIOLATED, True)
    assert victim.authorities[attacker.cluster.store].heads == (good.hash,)


@fault("manifest-two-children")
async def test_of_two_manifests_at_once_what_both_allow_holds_everywhere(cluster: Cluster) -> None:
    laptop, gateway = await cluster.two()
    owner, phone, tablet = cluster.owner, NodeKey(os.urandom(32)), NodeKey(os.urandom(32))
    root = owner.manifest
    assert root is not None
    one = owner.change([*root.members, member(phone, "client"), member(tablet, "client")])
    owner.manifest = root
    other = owner.change([*root.members, member(tablet, "client")])
    await laptop.change(cluster.store, one)
    await gateway.change(cluster.store, other)
    cluster.connect(laptop, gateway)
    await cluster.settled_but(laptop, gateway)
    for node in (laptop, gateway):
        authority = node.authorities[cluster.store]
        assert len(authority.heads) == 2
        assert authority.member(phone.public) is None
        assert authority.member(tablet.public) is not None
    await gateway.write(await gateway.begin(cluster.store), 3)
    await cluster.settled(laptop, gateway)


@fault("manifest-rolled-back")
async def test_versions_never_go_back(cluster: Cluster) -> None:
    """A peer that still has the manifest before gets the newer one; nothing it says takes it back."""
    laptop, gateway = await cluster.two()
    phone = NodeKey(os.urandom(32))
    assert cluster.owner.manifest is not None
    newer = cluster.owner.change([*cluster.owner.manifest.members, member(phone, "client")])
    await gateway.change(cluster.store, newer)
    attacker = Attacker(cluster, gateway, laptop.key, until)
    async with attacker.greeted() as (talk, hello):
        opened = attacker.opening(hello, heads=laptop.authorities[cluster.store].heads)
        talk.session.open(attacker.key, cluster.store, opened.heads, Comparison(cluster.store, []))
        await talk.flush()
        heads = await talk.hear(frames.Heads)
        assert heads.heads == gateway.authorities[cluster.store].heads
        await talk._stream.send(frames.pack(frames.Documents((cluster.owner.documents[0],), False)))
    assert gateway.authorities[cluster.store].member(phone.public) is not None
    cluster.connect(laptop, gateway)
    await cluster.settled_but(laptop, gateway)
    assert laptop.authorities[cluster.store].member(phone.public) is not None


@fault("manifest-endless")
async def test_manifests_without_end_are_cut_off(attacker: Attacker) -> None:
    """Round after round of heads that nobody has heard of."""
    async with attacker.greeted() as (talk, hello):
        await talk.say(attacker.opening(hello, heads=(os.urandom(32),)))
        word = await serve(talk, lambda _: [frames.Heads((os.urandom(32),))], frames.Lack)
    assert "no end" in word.reason
