"""Requests and events between members: they arrive across others, end, and nobody can forge, replay or flood them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from mesyx_core.api import Refused, Temporary
from mesyx_core.exchange import NoAnswer, Violation, frames, leases, pacing
from mesyx_core.exchange import signal as form
from mesyx_core.exchange.compare import Comparison
from mesyx_core.exchange.frames import Signal
from mesyx_core.exchange.relay import AHEAD, BURST, LIFETIME, REMEMBERED, SLACK, Fate, Relay
from mesyx_core.exchange.session import MAX_SIGNALS, Phase, Session
from mesyx_core.exchange.signal import Body
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.nodekey import NodeKey

STORE = bytes(range(32))
NOW = 1_800_000_000
ALICE, MX, PHONE, STRANGER = (NodeKey(bytes([n]) * 32) for n in range(1, 5))
VECTORS = Path(__file__).parents[2] / "vectors" / "signal"


class Times:
    """Both clocks."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Times:
    return Times()


@pytest.fixture
def relay(clock: Times) -> Relay:
    """Of the gateway mx."""
    members = {key.public for key in (ALICE, MX, PHONE)}
    return Relay(STORE, MX.public, members.__contains__, clock, clock)


def body(origin: NodeKey = ALICE, target: NodeKey = MX, **changes: Any) -> Body:
    return Body(STORE, origin.public, target.public, changes.pop("id", os.urandom(16)), 0, "tell")._replace(**changes)


def made(origin: NodeKey = ALICE, target: NodeKey = MX, deadline: int = NOW + 5, **changes: Any) -> Signal:
    frame = form.seal(origin, target.recipient, body(origin, target, **changes), deadline)
    assert frame is not None
    return frame


# --- the form --------------------------------------------------------------------------------------------------------


def test_what_was_said_is_opened_again() -> None:
    said = body(word="ask", name="status", value={"a": [1, 2.5, None, "ü"]}, patience=2000, made=NOW - 3)
    frame = form.seal(ALICE, MX.recipient, said, NOW)
    assert frame is not None
    assert form.genuine(frame, STORE)
    assert form.open_(frame, STORE, MX.identity) == said


def test_the_form_is_fixed_by_a_vector() -> None:
    vector = json.loads((VECTORS / "signal-2.json").read_text())
    frame = frames.unpack(bytes.fromhex(vector["frame"])[4:])
    assert isinstance(frame, Signal)
    store = bytes.fromhex(vector["store"])
    assert form.genuine(frame, store)
    opened = form.open_(frame, store, NodeKey(bytes.fromhex(vector["target_secret"])).identity)
    assert opened.origin == NodeKey(bytes.fromhex(vector["origin_secret"])).public
    assert [opened.word, opened.name, opened.value, opened.patience, opened.made] == vector["says"]
    assert frames.pack(frame).hex() == vector["frame"]


def test_one_that_does_not_say_when_it_was_made_is_not_opened() -> None:
    vector = json.loads((VECTORS / "signal.json").read_text())
    frame = frames.unpack(bytes.fromhex(vector["frame"])[4:])
    assert isinstance(frame, Signal)
    with pytest.raises(RecordError, match="wrong form"):
        form.open_(frame, bytes.fromhex(vector["store"]), NodeKey(bytes.fromhex(vector["target_secret"])).identity)


def test_sealed_words_cannot_be_signed_by_another_as_its_own() -> None:
    theirs = made(ALICE)
    deadline = theirs.deadline
    signature = PHONE.sign("exchange/signal", 1, STORE, MX.public, theirs.id, 0, deadline, theirs.sealed)
    stolen = theirs._replace(origin=PHONE.public, signature=signature)
    assert form.genuine(stolen, STORE)
    with pytest.raises(RecordError, match="another"):
        form.open_(stolen, STORE, MX.identity)


def test_a_signal_is_opened_by_its_target_alone_and_in_its_store_alone() -> None:
    frame = made()
    assert not form.genuine(frame, bytes(32))
    with pytest.raises(RecordError):
        form.open_(frame, STORE, PHONE.identity)


@pytest.mark.parametrize("value", ["x" * form.MAX_BODY, 1 << 70, "\ud800"])
def test_what_does_not_fit_is_not_sealed(value: Any) -> None:
    assert form.seal(ALICE, MX.recipient, body(value=value), NOW) is None


# --- hostile members ---------------------------------------------------------------------------------------------------


def test_a_forged_origin_is_lost(relay: Relay) -> None:
    forged = made(STRANGER)._replace(origin=ALICE.public)
    assert relay.take(forged, PHONE.public) is Fate.LOST
    assert relay.lost == {"forged": 1}


@pytest.mark.parametrize(
    ("field", "value"), [("target", PHONE.public), ("id", bytes(16)), ("number", 7), ("deadline", NOW + 9)]
)
def test_what_is_signed_cannot_be_changed(relay: Relay, field: str, value: Any) -> None:
    assert relay.take(made()._replace(**{field: value}), ALICE.public) is Fate.LOST
    assert relay.lost["forged"] == 1


def test_a_stranger_is_not_heard_and_nothing_is_passed_on_to_one(relay: Relay) -> None:
    assert relay.take(made(STRANGER), ALICE.public) is Fate.LOST
    assert relay.take(made(target=STRANGER), ALICE.public) is Fate.LOST
    assert relay.lost == {"not a member": 2}


def test_a_replay_is_lost_for_as_long_as_it_is_not_expired(relay: Relay, clock: Times) -> None:
    frame = made()
    assert relay.take(frame, ALICE.public) is Fate.MINE
    assert relay.take(frame, ALICE.public) is Fate.LOST
    clock.now = frame.deadline + SLACK
    assert relay.take(frame._replace(hops=4), PHONE.public) is Fate.LOST
    clock.now += 1
    assert relay.take(frame, ALICE.public) is Fate.LOST
    assert relay.lost == {"seen": 2, "expired": 1}


@pytest.mark.parametrize("skew", [-SLACK, -1, 0, 1, AHEAD, AHEAD + 1, SLACK])
@pytest.mark.parametrize("down", [0.0, 0.5, 1, AHEAD, 60])
def test_nothing_is_taken_both_before_a_restart_and_after_it(
    relay: Relay, clock: Times, skew: int, down: float
) -> None:
    """Whatever the origin's clock says, and however long it was kept in between."""
    for before in range(40):
        clock.now = NOW + before
        made = int(clock.now + skew)
        if not relay.repeated(made):
            again = Relay(STORE, MX.public, lambda node: True, Times(clock.now + down), clock)
            assert again.repeated(made)


def test_what_a_clock_that_is_right_or_behind_tells_is_taken_soon_after_a_start(relay: Relay, clock: Times) -> None:
    clock.now += AHEAD
    assert relay.repeated(int(clock.now))
    clock.now += 1
    assert not relay.repeated(int(clock.now))
    clock.now += 60
    assert not relay.repeated(int(clock.now) - 60)
    assert not relay.repeated(int(clock.now) + AHEAD)
    assert relay.repeated(int(clock.now) + AHEAD + 1)
    assert relay.lost == {"made before the start": 1, "made ahead of time": 1}


def test_a_deadline_that_is_too_far_is_lost(relay: Relay) -> None:
    assert relay.take(made(deadline=NOW + LIFETIME + SLACK + 1), ALICE.public) is Fate.LOST
    assert relay.take(made(deadline=NOW + LIFETIME + SLACK), ALICE.public) is Fate.MINE


def test_clocks_may_differ_by_minutes(relay: Relay) -> None:
    assert relay.take(made(deadline=NOW - SLACK), ALICE.public) is Fate.MINE


def test_hops_end_and_our_own_do_not_come_back(relay: Relay) -> None:
    assert relay.take(made(target=PHONE)._replace(hops=1), ALICE.public) is Fate.LOST
    assert relay.take(made(target=PHONE)._replace(hops=2), ALICE.public) is Fate.PASS
    assert relay.take(made(origin=MX, target=PHONE), ALICE.public) is Fate.LOST
    assert relay.lost == {"too many hops": 1, "own": 1}


def test_a_flood_is_bounded_in_rate_by_peer(relay: Relay, clock: Times) -> None:
    frame = made()
    for _ in range(10_000):
        relay.take(frame, PHONE.public)
    assert relay.lost["flood"] == 10_000 - BURST
    assert relay.take(made(), ALICE.public) is Fate.MINE
    clock.now += 1
    assert relay.take(made(), PHONE.public) is Fate.MINE


def test_a_flood_of_large_ones_is_bounded_in_bytes(relay: Relay) -> None:
    large = made(value="x" * 50_000)
    for _ in range(200):
        relay.take(large, PHONE.public)
    assert relay.lost["flood"] > 100


def test_a_flood_is_bounded_in_memory(relay: Relay, clock: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesyx_core.exchange.relay.genuine", lambda frame, store: True)
    frame, lost = made(deadline=NOW + 100), 0
    for n in range(REMEMBERED + 1000):
        clock.now += 1 / 190
        lost += relay.take(frame._replace(id=n.to_bytes(16, "big")), ALICE.public) is Fate.LOST
    assert lost == 1000
    assert relay.lost == {"too many of one origin": 1000}
    assert relay.take(made(PHONE, deadline=NOW + 100), PHONE.public) is Fate.MINE  # others are not kept out by it
    clock.now += LIFETIME + 2 * SLACK
    assert relay.take(made(deadline=int(clock.now)), ALICE.public) is Fate.MINE


class FakeWay:
    def __init__(self, key: NodeKey) -> None:
        self.peer = key.public
        self.running = True

    def signal(self, frame: Signal) -> bool:
        return True

    def start(self, job: Callable[[], Any]) -> None:
        raise AssertionError


def test_an_answer_goes_back_the_way_that_its_request_came(relay: Relay) -> None:
    alice, phone, other = FakeWay(ALICE), FakeWay(PHONE), FakeWay(STRANGER)
    asked = made(ALICE)
    relay.take(asked, PHONE.public)
    answer = made(MX, ALICE, id=asked.id)
    assert relay.ways(answer, [phone, other]) == [phone]
    assert relay.ways(answer, [phone, other, alice]) == [alice]
    phone.running = False
    assert relay.ways(answer, [phone, other]) == [other]


# --- the session -------------------------------------------------------------------------------------------------------


def running() -> Session:
    session = Session(dialled=False, server=MX.public, nonce=bytes(16))
    session.take()
    session.phase = Phase.RUNNING
    session.compare(Comparison(STORE, []))
    return session


def test_one_that_is_too_large_ends_the_session() -> None:
    data = frames.pack(made()._replace(sealed=bytes(frames.MAX_SEALED + 1)))
    with pytest.raises(Violation):
        list(running().receive(data))


@pytest.mark.parametrize("phase", [Phase.OPENING, Phase.MANIFESTS, Phase.JOINING])
def test_one_is_heard_only_in_a_session_that_runs(phase: Phase) -> None:
    session = running()
    session.phase = phase
    with pytest.raises(Violation, match="out of order"):
        list(session.receive(frames.pack(made())))


def test_signals_wait_apart_from_the_logs_and_go_out_when_they_are_let() -> None:
    session = running()
    large = made()._replace(sealed=bytes(30_000))
    taken = sum(session.signal(large) for _ in range(100))
    assert taken * 30_000 <= MAX_SIGNALS  # the rest is lost, and the log's room is not touched
    session.send(frames.Ping(1))
    assert session.take() == frames.pack(frames.Ping(1))
    assert session.signal_size == len(frames.pack(large))
    session.let_signal()
    session.send(frames.Ping(2))
    assert len(session.take()) == len(frames.pack(large)) + len(frames.pack(frames.Ping(2)))


def test_those_that_wait_go_out_no_faster_than_a_peer_takes_them(clock: Times) -> None:
    session = running()
    pace = pacing.Pacing(session, clock)
    assert pace.look is None
    small, sent = made(), 0
    for _ in range(1000):
        while session.signal(small):
            pass
        pace.let()
        taken = session.take()
        assert len(taken) <= pacing.AT_ONCE
        sent += len(taken)
        clock.now += 0.01
    assert pace.look == pacing.LOOK
    frame = len(frames.pack(small))
    most = min(10 * pacing.RATE + pacing.BURST, (10 * pacing.BYTES + pacing.AT_ONCE) / frame)
    assert 0.95 * most < sent / frame <= most


# --- nodes -------------------------------------------------------------------------------------------------------------

anyio_mark = pytest.mark.anyio


@pytest.fixture
async def three(cluster: Any, wait_until: Any, as_member: Any) -> tuple[Any, Any, Any]:
    """Two clients and the gateway between them."""
    laptop, gateway, phone = [await cluster.node(name) for name in ("laptop", "gateway", "phone")]
    cluster.store = cluster.owner.found(
        as_member(laptop.key, "client"),
        as_member(gateway.key, "accept", "exchange"),
        as_member(phone.key, "client"),
    )
    for node in (laptop, gateway, phone):
        await node.hold(cluster.owner.documents)
    cluster.connect(laptop, gateway)
    cluster.connect(phone, gateway)
    await wait_until(lambda: len([p for p in gateway.exchange.peers() if p.settled]) == 2)
    await wait_until(lambda: all(n.exchange.peers()[0].settled for n in (laptop, phone)))
    for node in (laptop, gateway, phone):
        node.clock += AHEAD + 1
    return laptop, gateway, phone


def answering(node: Any, name: str = "count") -> list[Any]:
    asked: list[Any] = []

    async def count(store: bytes, origin: bytes, value: Any) -> AsyncGenerator[Any, None]:
        asked.append((store, origin, value))
        for n in range(value):
            yield n

    node.exchange.signals.answers[name] = count
    return asked


async def answers(node: Any, store: bytes, other: Any, value: Any, seconds: float = 5) -> list[Any]:
    async with aclosing(node.exchange.ask(store, other.key.public, "count", value, seconds)) as values:
        return [one async for one in values]


@anyio_mark
async def test_a_request_is_answered_with_a_stream(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    asked = answering(gateway)
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    assert await answers(laptop, cluster.store, gateway, 20) == list(range(20))
    assert asked == [(cluster.store, laptop.key.public, 20)]


@anyio_mark
async def test_a_request_crosses_other_members_and_is_never_logged(cluster: Any, three: Any) -> None:
    laptop, gateway, phone = three
    answering(phone)
    before = await gateway.held(cluster.store)
    assert await answers(laptop, cluster.store, phone, 5) == list(range(5))
    assert await gateway.held(cluster.store) == before
    assert await gateway.journal.heads(cluster.store) == []


@anyio_mark
async def test_a_node_asks_itself_without_any_session(cluster: Any) -> None:
    laptop, _ = await cluster.two()
    answering(laptop)
    assert await answers(laptop, cluster.store, laptop, 3) == [0, 1, 2]


@anyio_mark
async def test_no_session_and_no_answer_are_said(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    with pytest.raises(NoAnswer, match="no session"):
        await answers(laptop, cluster.store, gateway, 1)
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)

    async def silent(store: bytes, origin: bytes, value: Any) -> AsyncGenerator[Any, None]:
        await anyio.sleep_forever()
        yield 1

    gateway.exchange.signals.answers["count"] = silent
    with pytest.raises(NoAnswer, match="in time"):
        await answers(laptop, cluster.store, gateway, 1, 0.1)


@anyio_mark
async def test_errors_come_back_as_what_they_are(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    with pytest.raises(Refused, match="does not answer such a request"):
        await answers(laptop, cluster.store, gateway, 1)
    answering(gateway)
    with pytest.raises(Temporary, match="it failed there"):  # and says nothing of what was inside
        await answers(laptop, cluster.store, gateway, "secret")
    with pytest.raises(Refused, match="too large"):
        await answers(laptop, cluster.store, gateway, "x" * 70_000)


@anyio_mark
async def test_who_stops_asking_stops_the_answer(cluster: Any, wait_until: Any) -> None:
    laptop, gateway = await cluster.two()
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    stopped: list[bool] = []

    async def forever(store: bytes, origin: bytes, value: Any) -> AsyncGenerator[Any, None]:
        try:
            while True:
                yield 1
                await anyio.sleep(0.01)
        finally:
            stopped.append(True)

    gateway.exchange.signals.answers["count"] = forever
    async with aclosing(laptop.exchange.ask(cluster.store, gateway.key.public, "count", 1, 30)) as values:
        async for _ in values:
            break
    await wait_until(lambda: stopped)


@anyio_mark
async def test_an_event_arrives_once(cluster: Any, three: Any, wait_until: Any) -> None:
    laptop, _, phone = three
    heard: list[Any] = []

    async def hear(store: bytes, origin: bytes, value: Any) -> None:
        heard.append((origin, value))

    phone.exchange.signals.hears["typing"] = hear
    assert laptop.exchange.tell(cluster.store, phone.key.public, "typing", {"who": "alice"})
    await wait_until(lambda: heard)
    await anyio.sleep(0.05)
    assert heard == [(laptop.key.public, {"who": "alice"})]


@anyio_mark
async def test_a_lease_is_held_while_a_program_is_attached_and_ends_by_itself(
    cluster: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, gateway = await cluster.two()
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    held = gateway.exchange.leases
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(laptop.exchange.run)
        assert not held(cluster.store)
        with laptop.exchange.attached(cluster.store):
            await wait_until(lambda: list(held(cluster.store)) == [laptop.key.public])
        await wait_until(lambda: not held(cluster.store))
        with laptop.exchange.attached(cluster.store):
            await wait_until(lambda: held(cluster.store))
            tasks.cancel_scope.cancel()  # the laptop's lid is closed
    later = time.monotonic() + leases.GOOD + 1
    monkeypatch.setattr(gateway.exchange.signals.leases, "_monotonic", lambda: later)
    assert not held(cluster.store)


@anyio_mark
async def test_a_gateway_that_comes_back_learns_of_leases_at_once(cluster: Any, wait_until: Any) -> None:
    laptop, gateway = await cluster.two()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(laptop.exchange.run)
        with laptop.exchange.attached(cluster.store):
            await anyio.sleep(0.05)
            cluster.connect(laptop, gateway)
            await wait_until(lambda: list(gateway.exchange.leases(cluster.store)) == [laptop.key.public], 5)
        tasks.cancel_scope.cancel()


@anyio_mark
async def test_only_clients_have_leases(cluster: Any) -> None:
    laptop, gateway = await cluster.two()
    await laptop.exchange.signals.hears["lease"](cluster.store, gateway.key.public, 60)
    assert not laptop.exchange.leases(cluster.store)


@anyio_mark
async def test_a_flood_of_signals_does_not_delay_the_logs(cluster: Any, wait_until: Any) -> None:
    """Live entries cross in time while the peer sends signals as fast as it can."""
    laptop, gateway = await cluster.two()
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    log = await laptop.begin(cluster.store)
    large = form.seal(
        laptop.key,
        gateway.key.recipient,
        Body(cluster.store, laptop.key.public, gateway.key.public, bytes(16), 0, "tell", "x", "x" * 50_000),
        int(laptop.clock) + 5,
    )
    assert large is not None
    frames_ = (large._replace(id=n.to_bytes(16, "big")) for n in range(1 << 30))
    slowest = 0.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flood, laptop, cluster.store, frames_)
        for _ in range(20):
            began = time.monotonic()
            await laptop.write(log, 5)
            held = (await laptop.held(cluster.store))[log.origin[1:]]
            await wait_until(lambda held=held: has(gateway, cluster.store, log, held))
            slowest = max(slowest, time.monotonic() - began)
        tasks.cancel_scope.cancel()
    assert slowest < 2.0
    assert not gateway.exchange.signals._switches(cluster.store).relay.lost["flood"]  # the laptop holds itself back


@anyio_mark
async def test_a_hostile_flood_keeps_the_node_no_busier_than_it_wants(
    cluster: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that does not hold itself back is read from slowly; others are not held up."""
    laptop, gateway = await cluster.two()
    monkeypatch.setattr(pacing, "RATE", 1e6)
    monkeypatch.setattr(pacing, "BURST", 1e6)
    monkeypatch.setattr(pacing, "BYTES", 1e9)
    cluster.connect(laptop, gateway)
    await cluster.settled(laptop, gateway)
    frame = form.seal(laptop.key, gateway.key.recipient, body(laptop.key, gateway.key), int(laptop.clock) + 5)
    assert frame is not None
    switch = gateway.exchange.signals._switches(cluster.store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flood, laptop, cluster.store, (frame for _ in range(1 << 30)))
        await wait_until(lambda: switch.relay.lost["flood"] > 20)
        before, began = switch.relay.lost.total(), time.monotonic()
        await anyio.sleep(1)
        passed = time.monotonic() - began
        tasks.cancel_scope.cancel()
    assert switch.relay.lost.total() - before < 450 * passed


async def has(node: Any, store: bytes, log: Any, wanted: Any) -> bool:
    return bool((await node.held(store)).get(log.origin[1:]) == wanted)


async def flood(node: Any, store: bytes, frames_: Iterator[Signal]) -> None:
    while True:  # many times what goes through; the one process that all of this is in needs its time too
        for _ in range(20):
            node.exchange.signals._switches(store).send(next(frames_))
        await anyio.sleep(0.005)
