"""The wire between two nodes breaks, stalls or lies. Real journals and sessions, a proxy on loopback in between."""

from __future__ import annotations

import os
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream

from mesyx_core.api import Temporary
from mesyx_core.exchange import LinkFailed, Pace, WrongNode, frames, keep, link
from mesyx_core.exchange.relay import AHEAD
from mesyx_core.journal import Log
from mesyx_core.node import doors, sockets
from mesyx_core.vault.nodekey import NodeKey
from tests.faults.marks import FULL, fault
from tests.faults.proxy import FAIR, Fate, Proxy, proxied
from tests.unit.exchange.attacker import Attacker, last_word
from tests.unit.exchange.nodes import Cluster, Node, clustered, fresh_owner, member, until

pytestmark = pytest.mark.anyio

STEP = 1000
CUTS = 24
"""Of all the thousandth bytes, so many in the short form."""
HANDSHAKE = 0.5
PATIENT = Pace(ping=0.4, dead=1.5, open=2.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with clustered(tmp_path) as made:
        yield made


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake has half a second instead of twenty."""
    for end in (link.accept, link.dial):
        assert end.__kwdefaults__ is not None
        monkeypatch.setitem(end.__kwdefaults__, "seconds", HANDSHAKE)


class Traffic:
    """A gateway with mail for a laptop: small entries, and a blob of several pieces."""

    def __init__(self, cluster: Cluster, laptop: Node, gateway: Node) -> None:
        self.cluster = cluster
        self.laptop = laptop
        self.gateway = gateway
        self.log: Log
        self.blob = b""
        self.why: list[str] = []
        self._fresh = 0

    @classmethod
    async def made(cls, cluster: Cluster, entries: int = 60, blob: int = 300_000) -> Traffic:
        traffic = cls(cluster, *await cluster.two(PATIENT))
        traffic.log = await traffic.gateway.begin(cluster.store)
        await traffic.gateway.write(traffic.log, entries, 3000)
        if blob:
            traffic.blob = await traffic.gateway.write_blob(traffic.log, os.urandom(blob))
        return traffic

    async def forget(self) -> None:
        """The laptop begins anew, with an empty journal."""
        self._fresh += 1
        self.laptop = await self.cluster.node(f"laptop{self._fresh}", PATIENT, self.laptop.key)
        await self.laptop.hold(self.cluster.owner.documents)

    @asynccontextmanager
    async def kept(self, proxy: Proxy) -> AsyncIterator[None]:
        """The laptop dials as a node does, again and again."""

        async def dial() -> None:
            await keep(
                self.laptop.exchange,
                self.cluster.store,
                self.gateway.key.public,
                lambda: [""],
                proxy.connect,
                report=lambda state, why: self.why.append(why),
            )

        async with anyio.create_task_group() as group:
            group.start_soon(dial)
            yield
            group.cancel_scope.cancel()

    async def arrived(self) -> None:
        """All of it, once, as it was written."""
        head = (self.log.seq, self.log.chain)

        async def whole() -> bool:
            held = await self.laptop.held(self.cluster.store)
            blob = not self.blob or await self.laptop.journal.has_blob(self.blob)
            return held.get(self.log.origin[1:]) == head and blob

        await until(whole)
        size = 1 << 20
        if self.blob:
            here, there = [await node.journal.read_blob(self.blob, 0, size) for node in (self.laptop, self.gateway)]
            assert here == there

    async def honest(self) -> None:
        """The gateway believes the laptop to hold no more than it does."""
        held = await self.laptop.journal.head(self.log.origin)
        believed = self.gateway.exchange.acked(self.cluster.store, self.laptop.key.public)
        assert believed.get(self.log.origin[1:], 0) <= (held.seq if held else 0)

    def alone(self) -> bool:
        return not self.laptop.exchange.peers() and not self.gateway.exchange.peers()


def sample(places: Sequence[int]) -> Sequence[int]:
    return places if FULL else places[:: max(1, len(places) // CUTS)]


async def amounts(traffic: Traffic) -> tuple[int, int]:
    """Bytes there and back when nothing goes wrong."""
    async with proxied(traffic.gateway.exchange.accept) as proxy:
        async with traffic.kept(proxy):
            await traffic.arrived()
            await until(lambda: all(peer.settled for peer in traffic.gateway.exchange.peers()))
        [[there, back]] = proxy.passed
    return there, back


@fault("wire-cut-frame", "wire-cut-blob")
@pytest.mark.timeout(900)
async def test_cut_at_every_thousandth_byte_it_goes_on_where_it_was(cluster: Cluster) -> None:
    traffic = await Traffic.made(cluster)
    _, back = await amounts(traffic)
    assert back > 400_000
    for place in sample(range(STEP, back, STEP)):
        await traffic.forget()
        async with proxied(traffic.gateway.exchange.accept, (FAIR, Fate(cut=place))) as proxy:
            async with traffic.kept(proxy):
                await until(lambda proxy=proxy: len(proxy.passed) > 1)  # type: ignore[misc]
                await traffic.arrived()
            # What was whole before the cut does not come again: but for the piece under way, little is sent twice.
            assert sum(passed for _, passed in proxy.passed) < back + (300 << 10)


@fault("wire-flip")
async def test_a_flipped_bit_ends_the_session_and_nothing_wrong_is_kept(cluster: Cluster, hurried: None) -> None:
    traffic = await Traffic.made(cluster, 40, 150_000)
    there, back = await amounts(traffic)
    ways = [(Fate(flip=place), FAIR) for place in sample(range(50, there - 100, 40))[::4]]
    ways += [(FAIR, Fate(flip=place)) for place in sample(range(50, back - 100, 5000))[::2]]
    for way in ways:
        await traffic.forget()
        async with proxied(traffic.gateway.exchange.accept, way) as proxy, traffic.kept(proxy):
            await until(lambda proxy=proxy: len(proxy.passed) > 1)  # type: ignore[misc]
            await traffic.arrived()


@fault("wire-stall-handshake", "wire-stall-open", "wire-stall-entries", "wire-stall-blob")
@pytest.mark.parametrize("way", ["there", "back"])
async def test_a_stream_that_stalls_for_ever_is_given_up_in_every_phase(
    cluster: Cluster, hurried: None, way: str
) -> None:
    traffic = await Traffic.made(cluster)
    there, _ = await amounts(traffic)
    # In the TLS hello, in its end, at the first word, at the answer, among entries, within the blob, near the end.
    places = [0, 200, 600, 800, 1000, 1400, there - 60] if way == "there" else [0, 300, 700, 1000, 90_000, 350_000]
    for place in places:
        await traffic.forget()
        traffic.why.clear()
        stalled = Fate(mute=place)
        fates = (stalled, FAIR) if way == "there" else (FAIR, stalled)
        async with proxied(traffic.gateway.exchange.accept, fates) as proxy:
            async with traffic.kept(proxy):
                await traffic.arrived()
            await until(traffic.alone)
    assert any("in time" in why or "answer" in why or "nothing heard" in why for why in traffic.why) or way == "there"


@fault("peer-vanishes")
async def test_a_peer_that_vanishes_without_a_word_is_noticed_by_both_and_comes_back(
    cluster: Cluster, hurried: None
) -> None:
    traffic = await Traffic.made(cluster)
    async with proxied(traffic.gateway.exchange.accept) as proxy, traffic.kept(proxy):
        await traffic.arrived()
        proxy.dark = True
        await traffic.gateway.write(traffic.log, 5)
        await until(traffic.alone)
        await until(lambda: any("nothing heard" in why or "in time" in why for why in traffic.why))
        assert any("nothing heard" in one.reason for one in traffic.gateway.exchange.refusals)
        proxy.dark = False
        await traffic.arrived()


@fault("peer-vanishes-under-load")
async def test_what_was_under_way_when_the_peer_vanished_is_sent_again(cluster: Cluster, hurried: None) -> None:
    traffic = await Traffic.made(cluster, 2000, 0)
    async with proxied(traffic.gateway.exchange.accept) as proxy, traffic.kept(proxy):
        await until(lambda: proxy.passed and proxy.passed[0][1] > 1 << 20)
        proxy.dark = True
        await until(traffic.alone)
        await traffic.honest()
        proxy.dark = False
        await traffic.arrived()


@fault("peer-forgets")
async def test_a_peer_that_forgot_what_it_had_is_not_believed_and_gets_it_again(cluster: Cluster) -> None:
    """A laptop restored from an old backup, or with a new disk."""
    traffic = await Traffic.made(cluster)
    await amounts(traffic)
    await traffic.honest()
    laptop = traffic.laptop.key.public
    assert not traffic.gateway.exchange.forgot(cluster.store)
    await traffic.forget()
    # The second word of the gateway, its half of the comparison, still arrives; entries do not.
    async with proxied(traffic.gateway.exchange.accept, (FAIR, Fate(mute=2500))) as proxy, traffic.kept(proxy):
        await until(lambda: laptop in traffic.gateway.exchange.forgot(cluster.store))
        await traffic.honest()
        await traffic.arrived()


@fault("tls-inspected")
async def test_a_proxy_that_inspects_is_told_by_its_key_and_sees_nothing(cluster: Cluster) -> None:
    """It ends the nodes' TLS with a key of its own, on both sides, as a box in a company's network does."""
    traffic = await Traffic.made(cluster, 3, 0)
    box = NodeKey(os.urandom(32))
    context = link.server_context(box)
    seen: list[bytes] = []

    async def inspect(stream: ByteStream) -> None:
        try:
            seen.append(await (await link.accept(stream, context)).receive())
        except (LinkFailed, anyio.EndOfStream, anyio.BrokenResourceError):
            return

    async with proxied(inspect) as proxy:
        with pytest.raises(WrongNode, match="another key"):
            await traffic.laptop.exchange.dial(await proxy.connect(), cluster.store, traffic.gateway.key.public)
        async with traffic.kept(proxy):
            await until(lambda: any("another key" in why for why in traffic.why))
    assert not seen
    async with proxied(traffic.gateway.exchange.accept) as proxy, traffic.kept(proxy):
        await traffic.arrived()


@fault("tls-expired")
async def test_the_dates_of_a_leaf_decide_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock in 2199 locks nobody out: what counts is the key."""
    monkeypatch.setattr(link, "_UNTIL", datetime(2021, 1, 1, tzinfo=UTC))
    traffic = await Traffic.made(cluster, 3, 0)
    async with proxied(traffic.gateway.exchange.accept) as proxy, traffic.kept(proxy):
        await traffic.arrived()


@fault("tls-other-leaf")
@pytest.mark.parametrize("leaf", ["rsa", "huge"])
async def test_a_leaf_that_is_no_node_key_is_refused(cluster: Cluster, tmp_path: Path, leaf: str) -> None:
    traffic = await Traffic.made(cluster, 3, 0)
    context = foreign(tmp_path, leaf)

    async def serve(stream: ByteStream) -> None:
        try:
            await (await link.accept(stream, context)).receive()
        except (LinkFailed, anyio.EndOfStream, anyio.BrokenResourceError):
            return

    async with proxied(serve) as proxy:
        with pytest.raises(WrongNode, match="is no node"):
            await traffic.laptop.exchange.dial(await proxy.connect(), cluster.store, traffic.gateway.key.public)


def foreign(folder: Path, leaf: str) -> ssl.SSLContext:
    """A web server's certificate, or one of many names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.org")])
    names = [x509.DNSName(f"{n}.example.org") for n in range(500 if leaf == "huge" else 1)]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "leaf.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@fault("name-moves")
async def test_a_gateway_whose_name_leads_elsewhere_is_found_there(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each dial asks for the name anew."""
    traffic = await Traffic.made(cluster, 3, 0)
    where = {"gateway.example": "127.0.0.9"}
    real = socket.getaddrinfo

    def lookup(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real(where.get(name, name), *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    async with proxied(traffic.gateway.exchange.accept) as proxy:

        async def connect(address: str) -> ByteStream:
            return await sockets.dial(f"gateway.example:{proxy.port}")

        monkeypatch.setattr(proxy, "connect", connect)
        async with traffic.kept(proxy):
            await until(lambda: any("nothing listens there" in why for why in traffic.why))
            where["gateway.example"] = "127.0.0.1"
            await traffic.arrived()


@fault("name-unknown")
async def test_a_name_that_nobody_knows_is_told_as_such(monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> None:
    def lookup(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(Temporary, match="not known"):
        await sockets.dial("nowhere.example:1")


# --- floods -----------------------------------------------------------------------------------------------------------


async def flooded(attacker: Attacker, flood: bytes, count: int) -> tuple[str, int]:
    """The reason that the victim gives in the end, and by how much its memory grew at most."""
    tracemalloc.start()
    try:
        async with attacker.running() as talk:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with anyio.move_on_after(20):
                for _ in range(count):
                    try:
                        await talk._stream.send(flood)
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                        break
            grown = tracemalloc.get_traced_memory()[1] - before
            try:
                reason = (await last_word(talk)).reason
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
                reason = attacker.victim.exchange.refusals[-1].reason if attacker.victim.exchange.refusals else ""
    finally:
        tracemalloc.stop()
    return reason, grown


@fault("flood-frames")
@pytest.mark.parametrize(
    "frame",
    [frames.Ping(7), frames.Have(bytes(32), bytes(16), 1), frames.Ask(bytes(32), 0, 1000)],
    ids=["ping", "have", "ask"],
)
async def test_a_peer_that_floods_fills_no_memory(cluster: Cluster, frame: frames.Frame) -> None:
    laptop, gateway = await cluster.two()
    attacker = Attacker(cluster, gateway, laptop.key, until)
    _, grown = await flooded(attacker, frames.pack(frame) * 2000, 30)
    assert grown < 24 << 20
    await until(lambda: not gateway.exchange.peers())
    async with attacker.running():
        pass


@fault("flood-joins", "invitation-guessed")
async def test_guessed_invitations_cost_little_and_open_nothing(cluster: Cluster) -> None:
    laptop, gateway = await cluster.two()
    attacker = Attacker(cluster, gateway, laptop.key, until)
    store = NodeKey(fresh_owner()).public
    for _ in range(1000 if FULL else 100):
        async with attacker.greeted() as (talk, _):
            talk.session.join(attacker.key, store, os.urandom(16))
            await talk.flush()
            word = await last_word(talk)
            assert (word.code, "knows no such invitation" in word.reason) == (3, True)
    await until(lambda: not gateway.exchange.peers())
    assert len(gateway.exchange.refusals) <= 50
    assert not await gateway.exchange.register.all()
    assert not gateway.joined


@fault("flood-sessions")
async def test_many_sessions_of_one_member_hold_up_nobody(cluster: Cluster) -> None:
    laptop, gateway = await cluster.two()
    log = await gateway.begin(cluster.store)
    attacker = Attacker(cluster, gateway, laptop.key, until)
    async with AsyncExitStack() as stack:
        for _ in range(100 if FULL else 30):
            await stack.enter_async_context(attacker.running())
        cluster.connect(laptop, gateway)
        await gateway.write(log, 50, 3000)

        async def arrived() -> bool:
            held = await laptop.journal.head(log.origin)
            return held is not None and held.seq == log.seq

        await until(arrived, 20)
    await until(lambda: len(gateway.exchange.peers()) == 1, 20)


@fault("flood-signals")
async def test_signals_without_end_are_lost_beyond_a_rate_and_fill_no_memory(cluster: Cluster) -> None:
    laptop, gateway = await cluster.two()
    attacker = Attacker(cluster, gateway, laptop.key, until)
    deadline = int(gateway.clock) + 60
    forged = frames.Signal(gateway.key.public, laptop.key.public, bytes(16), 0, deadline, 1, bytes(64), bytes(60_000))
    _, grown = await flooded(attacker, frames.pack(forged) * 4, 300)
    assert grown < 24 << 20
    await until(lambda: not gateway.exchange.peers())
    async with attacker.running():
        pass


@fault("signal-replayed")
async def test_a_signal_that_was_kept_is_heard_once_also_across_a_restart(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, gateway, phone = [await cluster.node(name) for name in ("laptop", "gateway", "phone")]
    cluster.store = cluster.owner.found(
        member(laptop.key, "client"), member(gateway.key, "accept", "exchange"), member(phone.key, "client")
    )
    again = await cluster.node("again", key=phone.key)
    for node in (laptop, gateway, phone, again):
        await node.hold(cluster.owner.documents)
    heard: list[tuple[Node, Any]] = []

    async def pass_on(to: Node, sessions: int) -> None:
        """Once `to` has its session, and has run for long enough to hear what others pass on."""

        async def hear(store: bytes, origin: bytes, value: Any) -> None:
            heard.append((to, value))

        to.exchange.signals.hears["typing"] = hear
        await until(lambda: sum(peer.settled for peer in gateway.exchange.peers()) == sessions)
        await until(lambda: all(peer.settled for peer in to.exchange.peers()))
        for node in (laptop, gateway, phone, again):
            node.clock += AHEAD + 1

    cluster.connect(laptop, gateway)
    wire = cluster.connect(phone, gateway)
    await pass_on(phone, 2)
    switch = gateway.exchange.signals._switches(cluster.store)
    assert switch is not None
    kept: list[frames.Signal] = []
    honest = switch.heard

    def keep_and_pass_on(frame: frames.Signal, via: Any) -> bool:
        kept.append(frame)
        return honest(frame, via)

    monkeypatch.setattr(switch, "heard", keep_and_pass_on)
    laptop.exchange.tell(cluster.store, phone.key.public, "typing", 1)
    await until(lambda: heard)
    switch.send(kept[0])

    await wire.cut()
    await until(lambda: len(gateway.exchange.peers()) == 1)
    cluster.connect(again, gateway)
    await until(lambda: len(gateway.exchange.peers()) == 2)
    switch.send(kept[0])
    await pass_on(again, 2)
    switch.send(kept[0])
    laptop.exchange.tell(cluster.store, phone.key.public, "typing", 2)
    await until(lambda: len(heard) > 1)
    assert heard == [(phone, 1), (again, 2)]


@fault("places-taken")
async def test_who_says_nothing_makes_room_and_a_member_stays(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "GRACE", 0.1)
    laptop, gateway = await cluster.two(PATIENT)
    bound = sockets.bind("127.0.0.1:0")
    address = sockets.named(bound).address
    places = doors.Doors(30, 10)
    strangers: list[socket.socket] = []

    async def serve(stream: ByteStream, peer: doors.Peer) -> None:
        await gateway.exchange.accept(stream, peer.welcome)

    async def knock(count: int) -> None:
        """From addresses of their own, so that each has a full share."""
        for n in range(count):
            made = socket.create_connection(bound[0].getsockname(), 5, (f"127.0.2.{1 + n}", 0))
            made.setblocking(False)
            strangers.append(made)
            await anyio.lowlevel.checkpoint()

    async def dialled() -> None:
        with suppress(LinkFailed):
            stream = await sockets.dial(address)
            await laptop.exchange.dial(stream, cluster.store, gateway.key.public)

    async with anyio.create_task_group() as group:
        group.start_soon(sockets.serve_streams, bound, places, group, serve)
        await knock(30)
        await until(lambda: len(places._inside) == 30)
        await anyio.sleep(0.2)
        group.start_soon(dialled)
        await until(lambda: any(peer.running for peer in gateway.exchange.peers()))
        sessions = set(gateway.exchange._connections)
        await until(lambda: any(peer.known for peer in places._inside))
        for _ in range(3):
            await anyio.sleep(0.2)
            await knock(30)
        log = await laptop.begin(cluster.store)
        await laptop.write(log, 3)
        await until(lambda: gateway.exchange.acked(cluster.store, laptop.key.public))
        assert gateway.exchange._connections == sessions
        assert len(places._inside) <= 30
        group.cancel_scope.cancel()
    for made in strangers:
        made.close()


@fault("tls-downgraded")
async def test_nothing_older_than_tls_1_3_is_spoken(cluster: Cluster) -> None:
    """By neither side: a box in between that takes the newer version out of the hello gets no session at all."""
    traffic = await Traffic.made(cluster, 3, 0)
    for make in (link.client_context, lambda: link.server_context(traffic.gateway.key)):
        older = make()
        older.minimum_version = older.maximum_version = ssl.TLSVersion.TLSv1_2

        async def serve(stream: ByteStream, older: ssl.SSLContext = older) -> None:
            with suppress(LinkFailed):
                await link.accept(stream, older)

        theirs = make is not link.client_context
        async with proxied(serve if theirs else traffic.gateway.exchange.accept) as proxy:
            stream = await proxy.connect()
            with pytest.raises(LinkFailed, match="handshake failed"):
                await link.dial(stream, link.client_context() if theirs else older, traffic.gateway.key.public)
