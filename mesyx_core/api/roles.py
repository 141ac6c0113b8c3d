"""What an opened provider can be: roles of one to three methods; optional abilities are Protocols of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from anyio.abc import ByteStream
from pydantic import JsonValue

from mesyx_core.api.context import State
from mesyx_core.api.message import Message
from mesyx_core.api.verdict import Outcome, Verdict

Stage: TypeAlias = Literal["receive", "open", "submit"]


class Ingress(Protocol):
    """Messages from a network, by `Context.deliver` or `Context.accept`."""

    async def run(self) -> None:
        """Bind, report "up", serve until cancelled. An exception means: restart me after a backoff."""


class Access(Protocol):
    """A protocol that people's programs speak, over `Context.login`'s view."""

    async def run(self) -> None:
        """As Ingress.run."""


class Egress(Protocol):
    """Messages to a network."""

    async def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        """Try once; an outcome for every recipient."""


class Physics(NamedTuple):
    """What a transport is like, so that the exchange can choose: typical latency in seconds, cost, whether it hides
    who talks to whom."""

    latency: float = 0.1
    cost: Literal["free", "metered"] = "free"
    anonymous: bool = False


@runtime_checkable
class Duplex(Protocol):
    """A byte stream to another node. Moves bytes; is never trusted."""

    @property
    def schemes(self) -> frozenset[str]:
        """URL schemes of addresses that `connect` takes, like {"https"}."""

    @property
    def address(self) -> str:
        """URL under which others can dial this node; empty when it only dials."""

    @property
    def physics(self) -> Physics:
        """What the way is like."""

    async def connect(self, address: str) -> ByteStream:
        """Raises Temporary when nobody answers, Permanent when the address makes no sense."""

    async def run(self) -> None:
        """Listen, if configured to, and hand each stream to `Context.accept_stream`; until cancelled."""


@runtime_checkable
class Dialer(Protocol):
    """What `via` names: tor, socks, a pluggable transport."""

    async def dial(self, host: str, port: int) -> ByteStream:
        """A stream to host:port, however it gets there; a name is resolved at the far side. Raises Temporary when
        nobody answers."""

    def publish(self, local: str) -> AbstractAsyncContextManager[str]:
        """An outside address, host:port, for a local listener, while the scope is open. Raises Refused where there is
        no such thing."""


class Volume(Protocol):
    """A stick, a folder. What is on it was written by anybody."""

    @property
    def free(self) -> int:
        """Bytes that there is room for."""

    def bundles(self) -> AsyncIterator[ByteStream]:
        """What is on it, each to be read once and closed; only what was written whole."""

    def write(self, size: int) -> AbstractAsyncContextManager[ByteStream]:
        """A bundle of at most `size` bytes, renamed into place on a clean exit, and gone after any other. Raises
        Permanent when there is no room."""


@runtime_checkable
class Simplex(Protocol):
    """Volumes that come and go."""

    def volumes(self) -> AsyncIterator[Volume]:
        """Each volume as it comes, those that are there first; never ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A protected message made readable, and what was proved of it."""

    message: Message | None
    proof: Mapping[str, str] = field(default_factory=dict)
    replies: tuple[Message, ...] = ()


class Crypto(Protocol):
    """End-to-end protection of a network (PGP, OTR, ratchets). `state` commits with the message it belongs to."""

    async def protect(self, message: Message, state: State) -> Mapping[str, Message | Outcome]:
        """For every recipient the message to send to it, or why there is none: never one in clear for want of a
        key."""

    async def open(self, message: Message, state: State) -> Opened:
        """What a message says and what was proved. One that is not protected comes back as it is, without proof; what
        was changed on the way proves nothing. Raises Refused for what cannot be opened."""


class Filter(Protocol):
    """Judges a message in memory, before it is acknowledged. Does no I/O on a gateway's disk."""

    async def judge(self, message: Message, stage: Stage, script: JsonValue = None) -> Verdict:
        """`message.recipients` is the one recipient judged. A raise counts as a temporary reject."""


@runtime_checkable
class Answers(Protocol):
    """Ability: answers requests from clients (WHOIS, NAMES, presence)."""

    def answer(self, name: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        """The values of the answer as they come; it ends. Raises Refused for what it does not know."""


@runtime_checkable
class Controlled(Protocol):
    """Ability: answers its own plugin's commands."""

    def control(self, verb: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        """What the command prints, as it comes; it ends. Raises Refused for a verb it does not know."""


@runtime_checkable
class Reports(Protocol):
    """Ability of an egress: composes the report by which its network tells a sender what became of a message."""

    async def report(self, message: Message, outcomes: Mapping[str, Outcome]) -> Message | None:
        """The network's own report (for mail a delivery status notification, RFC 3464) about those recipients of
        `message` that `outcomes` names: "never" has failed for good, "later" is late and still being tried, "sent" with
        `relayed` was handed over to somebody who tells nothing. The core files it in the sender's store, sealed; it is
        sent to nobody. None when nobody is to be told, as the message's envelope may say. Sends nothing, and raises
        nothing for any message that `send` was given."""
