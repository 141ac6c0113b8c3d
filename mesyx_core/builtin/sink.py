"""The memory egress: keeps what it was given, in memory alone, and answers as its config says. To try things out.

People's accounts with it are boxes that are open while the account is, and say again what they are asked to `echo`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr

from mesyx_core.api import Context, Egress, Message, Outcome, Provider, Refused

Word: TypeAlias = Literal["sent", "later", "never"]
KEPT: Final = 10_000
"""Attempts that are remembered."""


class SinkConfig(BaseModel):
    """`[egress.memory]`"""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    answers: Annotated[tuple[Word, ...], Field(min_length=1, examples=[["later", "sent"]])] = ("sent",)
    """What becomes of each recipient at the first attempt, the second …; the last one holds from then on."""


class BoxAccount(BaseModel):
    """An account of `[egress.memory]`, as `mesyx account add` makes one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    box: Annotated[str, Field(min_length=1, max_length=64, examples=["alice"])]
    """Name of the box."""
    password: Annotated[SecretStr, Field(min_length=1)]
    """Any will do but `wrong`."""


class Given(NamedTuple):
    """One attempt."""

    message: Message
    recipients: tuple[str, ...]
    body: bytes


class Sink:
    """Where the egress of this process sends to."""

    def __init__(self) -> None:
        self.given: list[Given] = []

    def provider(self, name: str = "memory", network: str = "mail") -> Provider:
        """The egress that sends here."""
        summary = "Keeps what it is given in memory, and sends nothing"
        return Provider(
            name=name,
            config=SinkConfig,
            open=self._open,
            account=BoxAccount,
            open_account=self._account,
            summary=summary,
            network=network,
        )

    @asynccontextmanager
    async def _open(self, config: SinkConfig, context: Context) -> AsyncIterator[Egress]:
        yield MemoryEgress(self, config)

    @asynccontextmanager
    async def _account(self, role: MemoryEgress, account: BoxAccount, context: Context) -> AsyncIterator[MemoryBox]:
        if account.password.get_secret_value() == "wrong":
            raise Refused("the password of this box is another")
        yield MemoryBox()


class MemoryBox:
    """Implements `api.Answers`."""

    async def answer(self, name: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        if name != "echo":
            raise Refused("a box in memory answers to echo alone")
        yield value


class MemoryEgress:
    """Implements `api.Egress`."""

    def __init__(self, sink: Sink, config: SinkConfig) -> None:
        self._sink = sink
        self._answers = config.answers
        self._attempts: dict[tuple[str, str], int] = {}

    async def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        body = b"".join([chunk async for chunk in message.body.read()])
        self._sink.given.append(Given(message, tuple(recipients), body))
        del self._sink.given[:-KEPT]
        return {each: self._answer(message.network_id, each) for each in recipients}

    def _answer(self, message: str, recipient: str) -> Outcome:
        place = message, recipient
        number = self._attempts[place] = self._attempts.get(place, -1) + 1
        word = self._answers[min(number, len(self._answers) - 1)]
        return Outcome(word=word, reason="" if word == "sent" else "as the config says", remote="memory")
