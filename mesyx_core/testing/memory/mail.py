"""A network in memory: what is put in comes in by its ingress, and what its egress sends can be read. With accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
from pydantic import BaseModel, ConfigDict, JsonValue, SecretStr

from mesyx_core.api import Bytes, Context, Message, MesyxError, Outcome, Provider, Refused
from mesyx_core.testing.samples import whole

CURSOR: Final = "seen"


class OfficeConfig(BaseModel):
    """`[ingress.office]` and `[egress.office]`"""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    box: str = "box"
    """Name of the box in the post office; whoever has the same reads it."""


class Subscription(BaseModel):
    """A person's own box."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    box: str
    """Name of the box."""
    password: SecretStr
    """What opens it."""


@dataclass
class Letter:
    """One message on its way in, and what became of it."""

    sender: str
    recipient: str
    body: bytes
    done: anyio.Event = field(default_factory=anyio.Event)
    taken: bool = False


class PostOffice:
    """One network. `post` is its side of the ingress; `sent`, `fates` and `away` are its side of the egress."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message, bytes]] = []
        self.fates: dict[str, Outcome] = {}
        self.away = True
        """Whether nobody answers; `mesyx_core.testing` opens it."""
        self.opened: list[str] = []
        """Names of the boxes that accounts have open,"""
        self.boxes: list[Box] = []
        """and the accounts themselves."""
        self._letters: dict[str, list[Letter]] = {}
        self._waiting: set[anyio.Event] = set()

    async def post(self, box: str, sender: str, recipient: str, body: bytes) -> bool:
        """Whether the ingress took it, this once."""
        letter = Letter(sender, recipient, body)
        self._letters.setdefault(box, []).append(letter)
        self._wake()
        await letter.done.wait()
        return letter.taken

    async def next(self, box: str) -> Letter:
        """The oldest letter."""
        while not self._letters.get(box):
            news = anyio.Event()
            self._waiting.add(news)
            await news.wait()
        return self._letters[box].pop(0)

    def _wake(self) -> None:
        while self._waiting:
            self._waiting.pop().set()

    def ingress(self) -> Provider:
        """Takes in what is posted, as lines with a cursor; it answers what is in its box, and counts on command."""
        summary = "Letters of a post office in memory"
        return Provider(name="office", config=OfficeConfig, open=self._ingress, summary=summary)

    def egress(self) -> Provider:
        """Sends by the office; keeps a person's own boxes open."""
        return Provider(
            name="office",
            config=OfficeConfig,
            open=self._egress,
            account=Subscription,
            open_account=self._account,
            summary="Sends letters by a post office in memory",
        )

    @asynccontextmanager
    async def _ingress(self, config: OfficeConfig, context: Context) -> AsyncIterator[OfficeIngress]:
        yield OfficeIngress(self, config, context)

    @asynccontextmanager
    async def _egress(self, config: OfficeConfig, context: Context) -> AsyncIterator[OfficeEgress]:
        yield OfficeEgress(self)

    @asynccontextmanager
    async def _account(self, role: OfficeEgress, account: Subscription, context: Context) -> AsyncIterator[Box]:
        if account.password.get_secret_value() == "wrong":
            raise Refused("the office knows no such box or password")
        box = Box(account.box, account.password.get_secret_value(), context)
        self.opened.append(account.box)
        self.boxes.append(box)
        try:
            yield box
        finally:
            self.opened.remove(account.box)
            self.boxes.remove(box)


@dataclass(eq=False)
class Box:
    """An account at work. Implements `api.Answers`."""

    name: str
    password: str = field(repr=False)
    context: Context

    async def answer(self, name: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        if name != "box":
            raise Refused(f"a box is not asked for {name}")
        yield self.name
        yield value

    async def take(self, sender: str, body: bytes) -> bool:
        """A letter for the box: whether it was taken in."""
        letter = Message(
            kind="line",
            time=self.context.now(),
            network="office",
            conversation=self.name,
            sender=sender,
            body=Bytes(body),
        )
        (verdict,) = await self.context.accept([letter])
        return verdict.word == "accept"


class OfficeIngress:
    """Implements `api.Ingress`, `api.Answers` and `api.Controlled`."""

    def __init__(self, office: PostOffice, config: OfficeConfig, context: Context) -> None:
        self._office = office
        self._config = config
        self._context = context
        self._count = 0

    async def run(self) -> None:
        self._count = int(await self._context.state.get(CURSOR) or b"0")
        self._context.report("up")
        while True:
            letter = await self._office.next(self._config.box)
            try:
                letter.taken = await self._take(letter)
            except Exception as error:
                if isinstance(error, MesyxError):
                    continue
                self._context.report("retry", "the node failed")
            finally:
                letter.done.set()

    async def _take(self, letter: Letter) -> bool:
        message = Message(
            kind="line",
            time=self._context.now(),
            network="office",
            conversation=self._config.box,
            sender=letter.sender,
            recipients=(letter.recipient,),
            body=Bytes(letter.body),
        )
        (verdict,) = await self._context.accept([message], {CURSOR: b"%d" % (self._count + 1)})
        self._count += 1
        return verdict.word != "reject"

    async def answer(self, name: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        if name != "box":
            raise Refused(f"the office is not asked for {name}")
        yield {"name": self._config.box}
        yield {"taken": self._count}

    async def control(self, verb: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        if verb != "count":
            raise Refused(f"the office has no command {verb}")
        yield self._count


class OfficeEgress:
    """Implements `api.Egress` and `api.Reports`."""

    def __init__(self, office: PostOffice) -> None:
        self._office = office

    async def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        await anyio.lowlevel.checkpoint()
        if self._office.away:
            return dict.fromkeys(recipients, Outcome(word="later", reason="the office is closed"))
        body = await whole(message.body)
        outcomes = {each: self._office.fates.get(each, Outcome(word="sent", remote="office")) for each in recipients}
        for each, outcome in outcomes.items():
            if outcome.word == "sent":
                self._office.sent.append((each, replace(message, recipients=(each,)), body))
        return outcomes

    async def report(self, message: Message, outcomes: Mapping[str, Outcome]) -> Message | None:
        if not message.sender:
            return None
        lines = [f"{address}: {outcome.reason}\r\n" for address, outcome in outcomes.items()]
        body = Bytes("".join(["Subject: not delivered\r\n\r\n", *lines]).encode())
        return replace(message, direction="in", sender="", recipients=(message.sender,), body=body)
