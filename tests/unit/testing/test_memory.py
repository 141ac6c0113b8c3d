"""The providers in memory are certified by the contracts, as any plugin is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from mesyx_core.api import LoginFailed, Outcome, Temporary
from mesyx_core.testing import (
    AccessContract,
    CommandContract,
    CryptoContract,
    DialerContract,
    EgressContract,
    Fate,
    FilterContract,
    IngressContract,
    Network,
    Offer,
    SimplexContract,
    StandIn,
    mail,
)
from mesyx_core.testing.memory import PostOffice, access, command, crypto, dialer, filter_, stick
from mesyx_core.testing.memory.crypto import HELLO


class TestWords(FilterContract):
    provider = filter_()
    capabilities = frozenset({"rejects", "drops", "holds", "rewrites", "marks", "forwards", "replies", "scripts"})
    examples = {
        "rejects": mail(sender="reject@words.example"),
        "drops": mail(sender="drop@words.example"),
        "holds": mail(sender="hold@words.example"),
        "rewrites": mail(sender="rewrite@words.example"),
        "marks": mail(sender="mark@words.example"),
        "forwards": mail(sender="forward@words.example"),
        "replies": mail(sender="answer@words.example"),
    }
    script = (["bob@example.com"], mail())


class TestOfficeIngress(IngressContract):
    office = PostOffice()
    provider = office.ingress()
    capabilities = frozenset({"lines", "cursor", "recipients", "large", "answers", "controlled"})
    question = ("box", None)
    order = ("count", None)
    expected_failures = {
        "test_an_unknown_recipient_is_refused": "an office has boxes, not recipients that it looks up",
    }

    async def offer(self, context: StandIn, offer: Offer) -> bool:
        return await self.office.post("box", offer.sender, offer.recipient, offer.body)


class TestOfficeEgress(EgressContract):
    office = PostOffice()
    provider = office.egress()
    capabilities = frozenset({"partial", "later", "large", "accounts", "reports"})
    account = {"box": "alice", "password": "open sesame"}

    @asynccontextmanager
    async def network(self, fates: Mapping[str, Fate]) -> AsyncIterator[Network]:
        far = Network()
        self.office.away, self.office.sent = False, []
        self.office.fates = {each: Outcome(word=fate, reason="as asked") for each, fate in fates.items()}
        try:
            yield far
        finally:
            far.received += [(recipient, body) for recipient, _, body in self.office.sent]
            self.office.away = True


class TestStraight(DialerContract):
    provider = dialer()
    capabilities = frozenset({"publishes"})


class TestStick(SimplexContract):
    provider = stick()
    capabilities = frozenset({"full"})


class TestMask(CryptoContract):
    provider = crypto()
    config = {"secret": "word"}
    capabilities = frozenset({"encrypts", "proves", "remembers", "handshakes", "selects"})
    greeting = mail(HELLO)


class TestDesk(AccessContract):
    provider = access()
    capabilities = frozenset({"listens", "reads", "submits"})

    async def login(self, context: StandIn, name: str, password: str) -> None:
        async with self._desk(context, name, password):
            pass

    async def read(self, context: StandIn, name: str, password: str) -> Sequence[bytes]:
        mails: list[bytes] = []
        async with self._desk(context, name, password) as (stream, lines):
            await stream.send(b"read\n")
            while (size := await lines.receive_until(b"\n", 100)) != b"end":
                mails.append(await lines.receive_exactly(int(size)))
        return mails

    async def send(self, context: StandIn, name: str, password: str, body: bytes) -> None:
        async with self._desk(context, name, password) as (stream, lines):
            await stream.send(b"send bob@example.com %d\n" % len(body) + body)
            assert await lines.receive_until(b"\n", 100) == b"ok"

    @asynccontextmanager
    async def _desk(
        self, context: StandIn, name: str, password: str
    ) -> AsyncIterator[tuple[anyio.abc.SocketStream, BufferedByteReceiveStream]]:
        host, _, port = context.bound[0].rpartition(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            lines = BufferedByteReceiveStream(stream)
            await stream.send(f"{name} {password}\n".encode())
            match await lines.receive_until(b"\n", 100):
                case b"no":
                    raise LoginFailed("no")
                case b"later":
                    raise Temporary("later")
            yield stream, lines


class TestCount(CommandContract):
    command = command()
    name = "office"
    capabilities = frozenset({"asks"})
    answers = {"count": [3]}
