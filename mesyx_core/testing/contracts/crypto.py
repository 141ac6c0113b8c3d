"""The contract of an end-to-end protection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, Final

from mesyx_core.api import Bytes, Message, MesyxError, Opened, Outcome
from mesyx_core.testing.context import MemoryState, StandIn
from mesyx_core.testing.contract import holds, lacks
from mesyx_core.testing.contracts.provider import ProviderContract
from mesyx_core.testing.samples import SECRET, line, mail, whole

ALICE: Final = "alice@example.org"
BOB: Final = "bob@example.com"


class CryptoContract(ProviderContract, defines=True):
    """`api.Crypto`: what one side protects the other opens, and what was changed on the way proves nothing."""

    KNOWN = {
        "encrypts": "the protected message cannot be read",
        "proves": "says what was proved of an opened message",
        "remembers": "keeps state that commits with the message",
        "handshakes": "opening a message can give replies to send",
        "selects": "cannot protect for a recipient of whom it knows no key",
    }
    kind = "crypto"
    far: ClassVar[Mapping[str, Any]] = {}
    """The config of the side that opens what `config` protects."""
    stranger: ClassVar[str] = "stranger@example.net"
    """A recipient of whom neither side knows anything."""
    greeting: ClassVar[Message]
    """A message that is answered by a handshake."""

    def message(self) -> Message:
        """What is protected; a network that is not mail has its own."""
        return mail(direction="out", sender=ALICE, recipients=(BOB,))

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Any, Any]]:
        """The side that protects and the side that opens."""
        far = self.provider.config.model_validate({**self.config, **self.far})
        async with self.opened() as (near, _), StandIn(self.provider.name) as context:
            async with self.provider.open(far, context) as role:
                yield near, role

    async def _protected(self, role: Any, state: MemoryState) -> Message:
        made: Mapping[str, Message | Outcome] = await role.protect(self.message(), state)
        found = made[BOB]
        assert isinstance(found, Message), found
        return replace(found, direction="in")

    async def test_every_recipient_gets_a_message_or_an_outcome(self) -> None:
        async with self.opened() as (role, _):
            message = replace(self.message(), recipients=(BOB, self.stranger))
            made = await role.protect(message, MemoryState())
            assert made.keys() == {BOB, self.stranger}
            for each in made.values():
                assert isinstance(each, Message | Outcome)

    async def test_what_is_protected_is_opened_whole(self) -> None:
        async with self.pair() as (near, far):
            sent = await self._protected(near, MemoryState())
            opened = await far.open(sent, MemoryState())
            assert isinstance(opened, Opened)
            assert opened.message is not None
            assert await whole(opened.message.body) == await whole(self.message().body)
            assert opened.message.sender == ALICE

    async def test_what_was_changed_on_the_way_proves_nothing(self) -> None:
        async with self.pair() as (near, far):
            sent = await self._protected(near, MemoryState())
            body, text = await whole(sent.body), await whole(self.message().body)
            for at in (0, len(body) // 2, len(body) - 3):
                damaged = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
                try:
                    opened = await far.open(replace(sent, body=Bytes(damaged)), MemoryState())
                except MesyxError:
                    continue
                if opened.message is not None and await whole(opened.message.body) != text:
                    assert not opened.proof, f"octet {at} was changed, and it says {dict(opened.proof)}"

    async def test_what_was_not_protected_is_opened_as_it_is(self) -> None:
        async with self.pair() as (_, far):
            opened = await far.open(mail(), MemoryState())
            assert opened.message is not None
            assert await whole(opened.message.body) == await whole(mail().body)
            assert not opened.proof

    async def test_the_message_is_left_as_it_is(self) -> None:
        message = self.message()
        async with self.opened() as (role, _):
            await role.protect(message, MemoryState())
        assert message == self.message()

    @holds("encrypts")
    async def test_the_text_cannot_be_read(self) -> None:
        async with self.opened() as (role, _):
            assert SECRET.encode() not in await whole((await self._protected(role, MemoryState())).body)

    @lacks("encrypts")
    async def test_the_text_can_be_read(self) -> None:
        async with self.opened() as (role, _):
            found = await whole((await self._protected(role, MemoryState())).body)
            assert SECRET.encode() in found, 'declare "encrypts"'

    @holds("proves")
    async def test_it_says_what_was_proved(self) -> None:
        async with self.pair() as (near, far):
            opened = await far.open(await self._protected(near, MemoryState()), MemoryState())
            assert opened.proof
            assert all(line(f"{what}{value}", 500) for what, value in opened.proof.items())

    @lacks("proves")
    async def test_it_claims_to_prove_nothing(self) -> None:
        async with self.pair() as (near, far):
            opened = await far.open(await self._protected(near, MemoryState()), MemoryState())
            assert not opened.proof, 'declare "proves"'

    @holds("remembers")
    async def test_what_it_remembers_is_in_the_state_that_commits(self) -> None:
        ours, theirs = MemoryState(), MemoryState()
        async with self.pair() as (near, far):
            for _ in range(3):
                opened = await far.open(await self._protected(near, ours), theirs)
                assert opened.message is not None
        assert ours.kept or theirs.kept, "it keeps no state"
        async with self.pair() as (near, far):
            assert (await far.open(await self._protected(near, ours), theirs)).message is not None

    @lacks("remembers")
    async def test_it_remembers_nothing(self) -> None:
        ours, theirs = MemoryState(), MemoryState()
        async with self.pair() as (near, far):
            await far.open(await self._protected(near, ours), theirs)
        assert not ours.kept, 'declare "remembers"'
        assert not theirs.kept, 'declare "remembers"'

    @holds("handshakes")
    async def test_a_greeting_is_answered(self) -> None:
        async with self.pair() as (_, far):
            opened = await far.open(self.greeting, MemoryState())
            assert opened.replies
            assert all(reply.direction == "out" and reply.recipients for reply in opened.replies)

    @lacks("handshakes")
    async def test_nothing_is_answered(self) -> None:
        async with self.pair() as (near, far):
            assert (await far.open(await self._protected(near, MemoryState()), MemoryState())).replies == ()

    @holds("selects")
    async def test_a_stranger_gets_no_message_but_an_outcome(self) -> None:
        """Never in clear because a key is missing."""
        async with self.opened() as (role, _):
            message = replace(self.message(), recipients=(self.stranger,))
            assert isinstance((await role.protect(message, MemoryState()))[self.stranger], Outcome)

    @lacks("selects")
    async def test_a_stranger_gets_a_message(self) -> None:
        async with self.opened() as (role, _):
            message = replace(self.message(), recipients=(self.stranger,))
            made = (await role.protect(message, MemoryState()))[self.stranger]
            assert isinstance(made, Message), 'declare "selects"'
