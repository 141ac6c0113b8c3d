"""A peer that holds a member's key and keeps to the protocol up to a point."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from mesyx_core.builtin.memory import pair
from mesyx_core.exchange import frames, link
from mesyx_core.exchange.compare import Comparison
from mesyx_core.exchange.session import Session
from mesyx_core.exchange.talk import Talk
from mesyx_core.record.checkpoint import Checkpoint, sign
from mesyx_core.record.entry import Header, Origin, chain_over, chain_start, entry_id
from mesyx_core.record.payloads import Start
from mesyx_core.vault import labels


class Attacker:
    """Speaks to `victim` as a member would, up to a point."""

    def __init__(self, cluster: Any, victim: Any, key: Any, until: Callable[..., Any]) -> None:
        self.until = until
        self.cluster = cluster
        self.victim = victim
        self.key = key

    @asynccontextmanager
    async def greeted(self) -> AsyncIterator[tuple[Talk, frames.Hello]]:
        here, there = pair()
        self.cluster.tasks.start_soon(self.victim.exchange.accept, there)
        stream = await link.dial(here, link.client_context(), self.victim.key.public)
        talk = Talk(stream, Session(dialled=True, server=self.victim.key.public), 5)
        try:
            yield talk, await talk.hear(frames.Hello)
        finally:
            await anyio.aclose_forcefully(stream)

    def opening(self, hello: frames.Hello, **changes: Any) -> frames.Open:
        signed = self.key.sign(labels.AUTH, self.victim.key.public, hello.nonce, self.key.public, self.cluster.store)
        heads = self.victim.authorities[self.cluster.store].heads
        opened = frames.Open(1, self.key.public, signed, self.cluster.store, heads, bytes(32))
        return opened._replace(**changes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Talk]:
        async with self.greeted() as (talk, hello):
            talk.session.open(
                self.key, self.cluster.store, self.opening(hello).heads, Comparison(self.cluster.store, [])
            )
            await talk.flush()
            await self.until(lambda: any(peer.running for peer in self.victim.exchange.peers()))
            yield talk


async def last_word(talk: Talk) -> frames.End:
    """What the victim says in the end, whatever it says before."""
    splitter = frames.Splitter()
    splitter.limit = frames.MAX_FRAME
    with anyio.fail_after(5):
        while True:
            for frame in splitter.feed(await talk._stream.receive()):
                if isinstance(frame, frames.End):
                    return frame


class Forged:
    """Entries of a log, made by whoever has a key to sign with."""

    def __init__(self, attacker: Attacker, node: bytes, key: Any, count: int = 3) -> None:
        self.origin = Origin(attacker.cluster.store, node, os.urandom(16))
        payloads = [Start(bytes(32)).encode(), *(os.urandom(100) for _ in range(count - 1))]
        self.entries = tuple((header(n, payload), payload) for n, payload in enumerate(payloads))
        self.chain = chain_over(chain_start(self.origin), (entry_id(header) for header, _ in self.entries))
        self.signed = Checkpoint(self.origin, count, self.chain, bytes(32), 1)
        self.key = key

    def frame(self, **changes: Any) -> bytes:
        checkpoint = sign(self.key, self.signed)
        frame = frames.Entries(*self.origin[1:], 0, self.entries, checkpoint)
        return frames.pack(frame._replace(**changes))


def header(number: int, payload: bytes) -> bytes:
    kind, s = (1, b"") if number == 0 else (3, bytes(32))
    return Header(kind, 0 if number == 0 else 1, number, s, (), len(payload), hashlib.sha256(payload).digest()).encode()
