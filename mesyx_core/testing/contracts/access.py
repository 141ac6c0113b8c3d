"""The contract of an access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import anyio

from mesyx_core.api import LoginFailed, Refused, Temporary
from mesyx_core.testing.context import StandIn
from mesyx_core.testing.contract import MISSING, holds, lacks, refused, yours
from mesyx_core.testing.contracts.running import ListeningContract
from mesyx_core.testing.samples import TEXT, whole
from mesyx_core.testing.view import MemoryView

NAME: Final = "alice"
PASSWORD: Final = "app-password-of-alice"
BOB: Final = "bob@example.com"
REPLY: Final = (
    b"From: Alice <alice@example.org>\r\nTo: bob@example.com\r\nSubject: Re: Lunch\r\n"
    b"Message-ID: <reply@example.org>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\nAt one.\r\n.\r\n"
)


class AccessContract(ListeningContract, defines=True):
    """`api.Access`: people's programs read their store, and only theirs."""

    KNOWN = {"submits": "programs can send messages through it", "reads": "programs can read messages through it"}
    kind = "access"
    mails: ClassVar[Sequence[bytes]] = (
        TEXT,
        b"Subject: two\r\n\r\nsecond\r\n",
        b"Subject: \xc3\xa9\r\n\r\n\x80\xff\r\n",
    )
    """What is in the store's INBOX."""

    @yours("reads")
    async def read(self, context: StandIn, name: str, password: str) -> Sequence[bytes]:
        """As a program: log in, and give the messages of INBOX. Raises LoginFailed when name or password are refused,
        Refused when log-in is not allowed at all, Temporary when it should be tried again later."""
        raise MISSING

    @yours("submits")
    async def send(self, context: StandIn, name: str, password: str, body: bytes) -> None:
        """As a program: log in and send this message of alice's to bob@example.com. Raises as `read` does."""
        raise MISSING

    @yours()
    async def login(self, context: StandIn, name: str, password: str) -> None:
        """As a program: log in and leave. Raises as `read` does."""
        raise MISSING

    def context(self) -> StandIn:
        return self.node()

    def node(self, *, local: bool = True) -> StandIn:
        """A node with alice's store on it."""
        context = StandIn(self.provider.name, local=local)
        self.view = MemoryView(NAME)
        for mail in self.mails:
            self.view.add(mail)
        context.admit(NAME, PASSWORD, self.view)
        return context

    async def test_it_does_something_for_programs(self) -> None:
        assert self.capabilities & {"reads", "submits"}, 'declare "reads" or "submits"'

    async def test_who_knows_the_password_is_let_in(self) -> None:
        async with self.running() as (_, context):
            await self.login(context, NAME, PASSWORD)

    async def test_who_does_not_is_refused(self) -> None:
        async with self.running() as (_, context):
            for name, password in ((NAME, "wrong"), ("bob", PASSWORD), (NAME, PASSWORD + "x")):
                with refused(LoginFailed):
                    await self.login(context, name, password)
            assert not context.welcomed, "call welcome() of the peer only once somebody has logged in"
            await self.login(context, NAME, PASSWORD)
            assert context.welcomed, "call welcome() of the peer: else a log-in makes room for strangers"

    async def test_a_locked_store_is_for_later_and_not_a_wrong_password(self) -> None:
        async with self.running() as (_, context):
            context.locked.add(NAME)
            with refused(Temporary):
                await self.login(context, NAME, PASSWORD)
            context.locked.clear()
            await self.login(context, NAME, PASSWORD)

    async def test_no_password_crosses_a_network_in_clear(self) -> None:
        async with self.running(self.node(local=False)) as (_, context):
            with refused(LoginFailed, Refused):
                await self.login(context, NAME, PASSWORD)

    async def test_several_programs_are_served_at_once(self) -> None:
        async with self.running() as (_, context), anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(self.login, context, NAME, PASSWORD)

    @holds("reads")
    async def test_every_message_is_read_whole(self) -> None:
        async with self.running() as (_, context):
            assert list(await self.read(context, NAME, PASSWORD)) == list(self.mails)

    @holds("reads")
    async def test_a_large_message_is_read_whole(self) -> None:
        body = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 16_000
        async with self.running() as (_, context):
            self.view.add(body)
            assert (await self.read(context, NAME, PASSWORD))[-1] == body

    @lacks("reads")
    async def test_nothing_is_read_through_it(self) -> None:
        assert type(self).read is AccessContract.read, 'it is read through: declare "reads"'

    @holds("submits")
    async def test_a_message_is_submitted_whole(self) -> None:
        async with self.running() as (_, context):
            await self.send(context, NAME, PASSWORD, REPLY)
            (message,) = self.view.submitted
            assert message.direction == "out"
            assert message.recipients == (BOB,)
            assert REPLY in await whole(message.body)

    @lacks("submits")
    async def test_nothing_is_submitted_through_it(self) -> None:
        async with self.running() as (_, context):
            await self.login(context, NAME, PASSWORD)
            assert not self.view.submitted, 'declare "submits"'
        assert type(self).send is AccessContract.send, 'it is sent through: declare "submits"'
