"""The way in of a node, in memory: what an ingress delivers, where it fails, and that nothing stays open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio

from mesyx_core.api import ACCEPT, Bytes, Message, Receipt, Verdict

GONE = Verdict(word="reject", reason="no such recipient here")


@dataclass
class Intake:
    """Turn what a node would answer by these fields; read what came in."""

    verdicts: dict[str, Verdict] = field(default_factory=lambda: {"gone@example.org": GONE})
    """What is said of a recipient; whoever is not here is served."""
    word: Verdict = ACCEPT
    """What filters say of every message at commit."""
    fail: dict[str, Exception] = field(default_factory=dict)
    """Raised at "deliver", "recipient", "write", "commit" or "accept"."""
    gate: anyio.Event | None = None
    """What a commit waits for, if anything."""
    at_commit: anyio.Event = field(default_factory=anyio.Event)
    """Set when a commit waits at the gate."""
    kept: list[Message] = field(default_factory=list)
    """What was acknowledged, whole."""
    traces: list[bytes] = field(default_factory=list)
    """The trace headers of each that was delivered."""
    begun: int = 0
    """Deliveries that were begun."""
    open: int = 0
    """Deliveries that are under way."""
    accepted: int = 0
    """Calls of `accept` that were kept."""
    longest: int = 0
    """Bytes of the longest piece of a body that was written at once."""

    async def step(self, name: str) -> None:
        """Fail or wait here where that was asked for."""
        if name in self.fail:
            raise self.fail[name]
        if name in ("commit", "accept") and self.gate is not None:
            self.at_commit.set()
            await self.gate.wait()

    @asynccontextmanager
    async def deliver(self, draft: Message) -> AsyncIterator[MemoryDelivery]:
        await self.step("deliver")
        self.begun += 1
        self.open += 1
        try:
            yield MemoryDelivery(self, draft)
        finally:
            self.open -= 1

    async def accept(
        self, messages: Sequence[Message], state: Mapping[str, bytes] | None, kept: dict[str, bytes]
    ) -> Sequence[Verdict]:
        await self.step("accept")
        if self.word.word != "reject":
            self.kept += messages
        self.accepted += 1
        kept.update(state or {})
        return [self.word] * len(messages)


class MemoryDelivery:
    """Implements `api.Delivery`."""

    def __init__(self, intake: Intake, draft: Message) -> None:
        self._intake = intake
        self._draft = draft
        self._header = b""
        self._parts: list[bytes] = []
        self._recipients: list[str] = []
        self.committed = False

    async def recipient(self, address: str) -> Verdict:
        await self._intake.step("recipient")
        verdict = self._intake.verdicts.get(address, ACCEPT)
        if verdict.word != "reject":
            self._recipients.append(address)
        return verdict

    async def trace(self, header: bytes) -> None:
        assert not self._header, "trace() was called twice"
        assert not self._parts, "trace() was called after write()"
        self._header = header

    async def write(self, chunk: bytes) -> None:
        await self._intake.step("write")
        self._intake.longest = max(self._intake.longest, len(chunk))
        self._parts.append(bytes(chunk))

    async def commit(self) -> Receipt:
        assert not self.committed, "commit() was called twice"
        await self._intake.step("commit")
        self.committed = True
        verdicts = dict.fromkeys(self._recipients, self._intake.word)
        if self._intake.word.word == "reject" or not verdicts:
            return Receipt(verdicts=verdicts)
        body = Bytes(b"".join(self._parts))
        self._intake.kept.append(replace(self._draft, body=body, recipients=tuple(self._recipients)))
        self._intake.traces.append(self._header)
        return Receipt(verdicts=verdicts, trace=f"feed-{len(self._intake.kept)}")
