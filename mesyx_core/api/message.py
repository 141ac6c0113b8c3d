"""A message in memory: what an ingress hears, filters see, the pipeline seals and an access shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["mail", "line", "event", "post"]
Direction: TypeAlias = Literal["in", "out"]
Importance: TypeAlias = Literal["low", "normal", "high"]
Scalar: TypeAlias = str | int | float | bool | bytes | None


class Body(Protocol):
    """Re-readable bytes. Up to 16 KiB they are in memory; above, a sealed blob that is read in chunks."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Chunks of at most 64 KiB that together are bytes [start, stop)."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A Body that is held in memory."""

    data: bytes = b""

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        data = self.data[start:stop]
        for at in range(0, len(data), 65536):
            yield data[at : at + 65536]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sealed (architecture.md, section 2). Times are aware and in UTC."""

    kind: Kind
    time: datetime
    """When this node heard it."""
    body: Body = Bytes()
    network: str = "mail"
    account: str = ""
    conversation: str = ""
    direction: Direction = "in"
    sender: str = ""
    recipients: tuple[str, ...] = ()
    claimed: datetime | None = None
    """When the sender says it was said."""
    network_id: str = ""
    """The network's own id; two messages with the same are the same message."""
    envelope: Mapping[str, Scalar] = field(default_factory=dict)
    """Reverse path, peer, TLS, verdicts: what the network said around the message."""
    tags: Mapping[str, str] = field(default_factory=dict)
    importance: Importance = "normal"
    mailbox: str = ""
    """Name of the mailbox it goes to; empty is INBOX for mail, the conversation for a line."""
    flags: frozenset[str] = frozenset()
